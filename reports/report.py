"""A report: the same rows as CSV, as figures, and as a table and sentences in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.complexity import complexities, on_edge, outside_grids
from revbench.bench.analysis.inference_cost import cost_growth
from revbench.bench.records import Record
from revbench.bench.store import writing
from revbench.bench.terminal import FORMATS
from revbench.reports.complexity import DEFINITIONS, verdict_sentences
from revbench.reports.energy_csv import write_energy_csv, write_firing_csv
from revbench.reports.energy_table import print_energy
from revbench.reports.findings import compares_rules, failed_rows, finding_sentences, growth_axis
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
from revbench.reports.throughput_figure import throughput_figure


def write_report(
    records: Sequence[Record],
    suite_name: str,
    suite_title: str,
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
    gpu: str | None = None,
    epoch_images: int | None = None,
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
        epoch_images: images of an epoch, to which throughput is extrapolated; None for no epochs.

    Returns:
        The files, in the order in which they were written.

    Raises:
        OutputError: a file cannot be written.
    """
    rows = case_rows(records, epoch_images)
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
    axis = growth_axis(with_memory)
    along = [row for row in with_memory if axis is not None and getattr(row.case, axis) is not None]
    if complexities(with_memory):
        drawn.append(("growth", growth_figure(on_edge(along, "depth"), suite_title, "depth")))
        drawn.append(("timesteps", growth_figure(on_edge(along, "timesteps"), suite_title, "timesteps")))
    elif axis == "timesteps" and compares_rules(along):
        drawn.append(("growth", rules_figure(along, suite_title, MEMORY)))
        if any(row.step_s is not None for row in along):
            drawn.append(("time", rules_figure(along, suite_title, TIME)))
    elif axis is not None:
        drawn.append(("growth", growth_figure(along, suite_title, axis)))
    # The price figure shows the memory of rows whose energy is known.
    if others := [row for row in with_memory if row not in along and row.pass_status("energy") == NOT_MEASURED]:
        drawn.append(("models", models_figure(others, suite_title)))
    timed = [row for row in rows if row.pass_status("inference_time") != NOT_MEASURED]
    if timed and (figure := throughput_figure(timed, suite_title)):
        drawn.append(("throughput", figure))
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


def print_report(
    console: Console,
    records: Sequence[Record],
    suite_title: str,
    counterparts: Mapping[str, str] | None = None,
    gpu: str | None = None,
    epoch_images: int | None = None,
) -> None:
    """Prints the table of the cases, why cases failed, and how memory grows along depth or, failing that, along T.

    Of methods over depth and T that is at the longest T; the complexity table and published numbers come last.

    Args:
        console: where to.
        records: all that is known.
        suite_title: stands above the table.
        counterparts: the model that each is compared with; where both were measured, the ratios are printed.
        gpu: name of the device that measured; None for a CPU.
        epoch_images: images of an epoch, to which throughput is extrapolated; None for no epochs.
    """
    rows = case_rows(records, epoch_images)
    console.print(terminal_table(rows, suite_title, width=console.width))
    console.print()
    print_energy(console, rows)
    for sentence in cost_sentences(outside_grids(rows)):
        console.print(Text(sentence))
    for row in failed_rows(rows):
        console.print(Text.assemble(f"{row.case.label()}: ", (row.status, "bold red"), f", {row.detail}"))
    for sentence in finding_sentences(rows, counterparts or {}):
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
