"""A report: the same rows as CSV, as figures, and as a table and sentences in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from revbench.bench.analysis.case_rows import NOT_MEASURED, CaseRow, case_rows, depths_of
from revbench.bench.records import Record
from revbench.bench.store import writing
from revbench.reports.comparisons import comparison_sentences
from revbench.reports.figures import depth_figure, models_figure
from revbench.reports.style import save_figure
from revbench.reports.tables import terminal_table, write_cases_csv, write_records_csv
from revbench.reports.wording import growth_sentences


def write_report(
    records: Sequence[Record],
    suite_name: str,
    suite_title: str,
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Writes `records.csv`, `<suite>.csv` and the figures of a suite.

    Args:
        records: all that is known.
        suite_name: names the files.
        suite_title: stands above the figures.
        folder: is created where there is none; files of an earlier report are replaced.
        formats: of the figures, of `png`, `svg` and `pdf`.

    Returns:
        The files, in the order in which they were written.

    Raises:
        OutputError: a file cannot be written.
    """
    rows = case_rows(records)
    written = [folder / "records.csv", folder / f"{suite_name}.csv"]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_records_csv(records, written[0])
        write_cases_csv(rows, written[1])
        for name, figure in figures(rows, suite_name, suite_title).items():
            for suffix in formats:
                written.append(folder / f"{name}.{suffix}")
                save_figure(figure, written[-1])
    return written


def figures(rows: Sequence[CaseRow], suite_name: str, suite_title: str) -> dict[str, Figure]:
    """The figures that show all rows of which the memory pass came to an end, by file name without suffix.

    Rows of several depths are drawn against depth, all others as bars.
    """
    rows = [row for row in rows if row.pass_status("memory") != NOT_MEASURED]
    deep = [row for row in rows if row.case.depth is not None] if len(depths_of(rows)) > 1 else []
    others = [row for row in rows if row not in deep]
    drawn = {suite_name: depth_figure(deep, suite_title)} if deep else {}
    if others:
        drawn[f"{suite_name}-models" if deep else suite_name] = models_figure(others, suite_title)
    return drawn


def print_report(
    console: Console, records: Sequence[Record], suite_title: str, counterparts: Mapping[str, str] | None = None
) -> None:
    """Prints the table of the cases, why cases failed, and how memory grows along depth or, failing that, along T.

    Args:
        console: where to.
        records: all that is known.
        suite_title: stands above the table.
        counterparts: the model that each is compared with; where both were measured, the ratios are printed.
    """
    rows = case_rows(records)
    console.print(terminal_table(rows, suite_title, width=console.width))
    console.print()
    for row in rows:
        if row.status not in ("ok", NOT_MEASURED):
            console.print(Text.assemble(f"{row.case.label()}: ", (row.status, "bold red"), f", {row.detail}"))
    for sentence in growth_sentences(rows, "depth" if len(depths_of(rows)) > 1 else "timesteps"):
        console.print(Text(sentence))
    for sentence in comparison_sentences(rows, counterparts or {}):
        console.print(Text(sentence))
