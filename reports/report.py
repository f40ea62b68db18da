"""A report: the same rows as CSV, as figures, and as a table and sentences in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from revbench.bench.analysis.case_rows import NOT_MEASURED, CaseRow, case_rows
from revbench.bench.analysis.complexity import complexities, on_edge, outside_grids
from revbench.bench.analysis.growth import Axis
from revbench.bench.analysis.inference_cost import cost_growth
from revbench.bench.records import Record
from revbench.bench.store import writing
from revbench.bench.terminal import FORMATS
from revbench.reports.comparisons import comparison_sentences
from revbench.reports.complexity import DEFINITIONS, verdict_sentences
from revbench.reports.energy_csv import write_energy_csv, write_firing_csv
from revbench.reports.energy_table import print_energy
from revbench.reports.firing_figure import firing_figure
from revbench.reports.growth_figure import growth_figure
from revbench.reports.inference_cost import cost_sentences, inference_cost_figure
from revbench.reports.learning_figure import learning_figure
from revbench.reports.models_figure import models_figure
from revbench.reports.parts_figure import parts_figure
from revbench.reports.price_figure import price_figure
from revbench.reports.report_tables import CASES, narrowed, report_tables, write_tables
from revbench.reports.reversibility_figure import reversibility_figure
from revbench.reports.rules_figure import MEMORY, TIME, rules_figure
from revbench.reports.similarity_figure import similarity_figure
from revbench.reports.style import save_figure
from revbench.reports.table_formats import terminal
from revbench.reports.tables import print_whole, terminal_table, write_cases_csv, write_records_csv
from revbench.reports.wording import growth_sentences


def write_report(
    records: Sequence[Record],
    suite_name: str,
    suite_title: str,
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
    gpu: str | None = None,
) -> list[Path]:
    """Writes `records.csv`, `<suite>.csv`, tables of energies and firing rates where there are any, and the figures.

    Where there is something to show in them, tables of complexity and of published numbers come as CSV too.

    Args:
        records: all that is known.
        suite_name: names the files.
        suite_title: stands above the figures.
        folder: is created where there is none; files of an earlier report are replaced.
        formats: of the figures, of `png`, `svg` and `pdf`; of the tables, of `md` and `latex`.
        gpu: name of the device that measured; None for a CPU.

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
        if any(row.energy.parts for row in rows):
            written += [folder / f"{suite_name}-energy.csv", folder / f"{suite_name}-firing.csv"]
            write_energy_csv(rows, written[-2])
            write_firing_csv(rows, written[-1])
        written += write_tables(report_tables(rows, suite_title, gpu), suite_name, folder, formats)
        drawn = [name for name in formats if name in FORMATS]
        for name, figure in figures(rows, suite_name, suite_title).items() if drawn else ():
            for suffix in drawn:
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
    if complexities(with_memory):
        drawn.append(("growth", growth_figure(on_edge(along, "depth"), suite_title, "depth")))
        drawn.append(("timesteps", growth_figure(on_edge(along, "timesteps"), suite_title, "timesteps")))
    elif axis == "timesteps" and _compares_rules(along):
        drawn.append(("growth", rules_figure(along, suite_title, MEMORY)))
        if any(row.step_s is not None for row in along):
            drawn.append(("time", rules_figure(along, suite_title, TIME)))
    elif axis is not None:
        drawn.append(("growth", growth_figure(along, suite_title, axis)))
    # The price figure shows the memory of rows whose energy is known.
    if others := [row for row in with_memory if row not in along and row.pass_status("energy") == NOT_MEASURED]:
        drawn.append(("models", models_figure(others, suite_title)))
    if restored := [row for row in rows if row.pass_status("reversibility") != NOT_MEASURED]:
        drawn.append(("reversibility", reversibility_figure(restored, suite_title)))
    if compared := [row for row in rows if row.pass_status("similarity") != NOT_MEASURED]:
        drawn.append(("similarity", similarity_figure(compared, suite_title)))
    if learnt := [row for row in rows if row.pass_status("learning") != NOT_MEASURED]:
        drawn.append(("accuracy", learning_figure(learnt, suite_title)))
    counted = [row for row in rows if row.pass_status("energy") != NOT_MEASURED]
    # The complexity table tells the cost of an inference, which is the same under every rule.
    if cost_growth(along_timesteps := outside_grids(rows), "dense_macs"):
        drawn.append(("inference", inference_cost_figure(along_timesteps, suite_title)))
    elif counted:
        drawn.append(("firing", firing_figure(counted, suite_title)))
        drawn.append(("parts", parts_figure(counted, suite_title)))
        if any(row.activation_peak_bytes and row.training_macs for row in counted):
            drawn.append(("price", price_figure(counted, suite_title)))
    return {f"{suite_name}-{kind}" if index else suite_name: figure for index, (kind, figure) in enumerate(drawn)}


def _compares_rules(rows: Sequence[CaseRow]) -> bool:
    """Whether several rules train several models, which makes more lines than one panel holds."""
    return len({row.case.rule for row in rows}) > 1 and len({row.case.model for row in rows}) > 1


def _axis(rows: Sequence[CaseRow]) -> Axis | None:
    """Along which axis the rows grow: depth, failing that timesteps; None where neither varies."""
    axes: tuple[Axis, ...] = ("depth", "timesteps")
    return next((axis for axis in axes if len({getattr(row.case, axis) for row in rows} - {None}) > 1), None)


def print_report(
    console: Console,
    records: Sequence[Record],
    suite_title: str,
    counterparts: Mapping[str, str] | None = None,
    gpu: str | None = None,
) -> None:
    """Prints the table of the cases, why cases failed, and how memory grows along depth or, failing that, along T.

    Of methods over depth and T that is at the longest T; the complexity table and published numbers come last.

    Args:
        console: where to.
        records: all that is known.
        suite_title: stands above the table.
        counterparts: the model that each is compared with; where both were measured, the ratios are printed.
        gpu: name of the device that measured; None for a CPU.
    """
    rows = case_rows(records)
    console.print(terminal_table(rows, suite_title, width=console.width))
    console.print()
    print_energy(console, rows)
    for sentence in cost_sentences(outside_grids(rows)):
        console.print(Text(sentence))
    for row in rows:
        if row.status not in ("ok", NOT_MEASURED):
            console.print(Text.assemble(f"{row.case.label()}: ", (row.status, "bold red"), f", {row.detail}"))
    for sentence in growth_sentences(on_edge(rows, "depth"), _axis(rows) or "timesteps"):
        console.print(Text(sentence))
    stepped = [row for row in rows if {row.pass_status("memory"), row.pass_status("time")} != {NOT_MEASURED}]
    for sentence in comparison_sentences(stepped, counterparts or {}):
        console.print(Text(sentence))
    _print_tables(console, rows, suite_title, gpu)


def _print_tables(console: Console, rows: Sequence[CaseRow], suite_title: str, gpu: str | None) -> None:
    """Prints the tables but that of the cases, and what the verdicts rest on."""
    tables = narrowed(report_tables(rows, suite_title, gpu))
    for name, table in tables.items():
        if name != CASES:
            console.print()
            print_whole(terminal(table, console.width), console)
    for sentence in verdict_sentences(rows):
        console.print(Text(sentence))
    if "complexity" in tables:
        console.print(Text(DEFINITIONS, style="dim"))
