"""A report: the same rows as CSV, as figures, and as a table and sentences in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from revbench.bench.analysis.case_rows import NOT_MEASURED, CaseRow, case_rows
from revbench.bench.analysis.growth import Axis
from revbench.bench.records import Record
from revbench.bench.store import writing
from revbench.reports.comparisons import comparison_sentences
from revbench.reports.growth_figure import growth_figure
from revbench.reports.learning_figure import learning_figure
from revbench.reports.models_figure import models_figure
from revbench.reports.reversibility_figure import reversibility_figure
from revbench.reports.rules_figure import MEMORY, TIME, rules_figure
from revbench.reports.similarity_figure import similarity_figure
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
    """The figures that show all rows of which the pass that they draw came to an end, by file name without suffix.

    Memory is drawn against depth where that varies, else against timesteps where those do; rows that are not on that
    axis are bars. The first figure bears the name of the suite.
    """
    drawn: list[tuple[str, Figure]] = []
    with_memory = [row for row in rows if row.pass_status("memory") != NOT_MEASURED]
    axis = _axis(with_memory)
    along = [row for row in with_memory if axis is not None and getattr(row.case, axis) is not None]
    if axis == "timesteps" and _compares_rules(along):
        drawn.append(("growth", rules_figure(along, suite_title, MEMORY)))
        if any(row.step_s is not None for row in along):
            drawn.append(("time", rules_figure(along, suite_title, TIME)))
    elif axis is not None:
        drawn.append(("growth", growth_figure(along, suite_title, axis)))
    if others := [row for row in with_memory if row not in along]:
        drawn.append(("models", models_figure(others, suite_title)))
    if restored := [row for row in rows if row.pass_status("reversibility") != NOT_MEASURED]:
        drawn.append(("reversibility", reversibility_figure(restored, suite_title)))
    if compared := [row for row in rows if row.pass_status("similarity") != NOT_MEASURED]:
        drawn.append(("similarity", similarity_figure(compared, suite_title)))
    if learnt := [row for row in rows if row.pass_status("learning") != NOT_MEASURED]:
        drawn.append(("accuracy", learning_figure(learnt, suite_title)))
    return {f"{suite_name}-{kind}" if index else suite_name: figure for index, (kind, figure) in enumerate(drawn)}


def _compares_rules(rows: Sequence[CaseRow]) -> bool:
    """Whether several rules train several models, which makes more lines than one panel holds."""
    return len({row.case.rule for row in rows}) > 1 and len({row.case.model for row in rows}) > 1


def _axis(rows: Sequence[CaseRow]) -> Axis | None:
    """Along which axis the rows grow: depth, failing that timesteps; None where neither varies."""
    axes: tuple[Axis, ...] = ("depth", "timesteps")
    return next((axis for axis in axes if len({getattr(row.case, axis) for row in rows} - {None}) > 1), None)


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
    for sentence in growth_sentences(rows, _axis(rows) or "timesteps"):
        console.print(Text(sentence))
    for sentence in comparison_sentences(rows, counterparts or {}):
        console.print(Text(sentence))
