"""The tables of a report, and their files: one of Markdown, one of LaTeX, and CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from revbench.bench.analysis.case_row import CaseRow
from revbench.reports.accuracy_table import accuracy_table
from revbench.reports.cases_table import cases_table
from revbench.reports.complexity import complexity_table
from revbench.reports.latex import latex
from revbench.reports.published_table import published_table
from revbench.reports.table_data import TableData
from revbench.reports.table_formats import csv_text, markdown

CASES = "cases"
LEFT_OUT = {
    "complexity": (
        *("unit", "reason", "claim_method", "claim_provenance"),
        *("log_log_slope_in_depth", "log_log_slope_in_timesteps"),
    ),
    "published": ("place",),
}
"""Columns that a page of a paper or a terminal has no room for."""


def report_tables(rows: Sequence[CaseRow], suite_title: str, gpu: str | None = None) -> dict[str, TableData]:
    """The tables that there is something to show in, by name: `cases`, `accuracy`, `complexity`, `published`.

    Args:
        rows: the cases.
        suite_title: stands above the first.
        gpu: name of the device that measured them; None for a CPU.
    """
    tables = {
        CASES: cases_table(rows, suite_title),
        "accuracy": accuracy_table(rows),
        "complexity": complexity_table(rows),
        "published": published_table(rows, gpu),
    }
    return {name: table for name, table in tables.items() if table is not None}


def narrowed(tables: Mapping[str, TableData]) -> dict[str, TableData]:
    """The tables without what fits no page."""
    return {name: table.without(*LEFT_OUT.get(name, ())) for name, table in tables.items()}


def write_tables(tables: Mapping[str, TableData], suite_name: str, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes the tables.

    CSV is always written, but of the cases, of which there is a wider one; `md` and `latex` where they are asked for.

    Returns:
        The files, in the order in which they were written.
    """
    texts = {f"{suite_name}-{name}.csv": csv_text(table) for name, table in tables.items() if name != CASES}
    if "md" in formats:
        texts[f"{suite_name}.md"] = "\n".join(markdown(table) for table in tables.values())
    if "latex" in formats:
        texts[f"{suite_name}.tex"] = "\n".join(latex(table) for table in narrowed(tables).values())
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return [folder / name for name in texts]
