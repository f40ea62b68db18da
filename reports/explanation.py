"""Who holds the bytes at the peak, as tables, as CSV and as figures; one case, or two side by side."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.cases import CASE_FIELDS, Case
from revbench.bench.memory.explain import Explanation
from revbench.bench.memory.places import Cell
from revbench.bench.memory.timeline import KINDS
from revbench.bench.terminal import FORMATS, PAGE
from revbench.reports.html.explanation import write_explanation_page
from revbench.reports.live_bytes import Step
from revbench.reports.live_bytes_figure import kinds_figure, overlay_figure
from revbench.reports.style import save_figure
from revbench.reports.tables import broken_at_dots, print_whole
from revbench.reports.units import MISSING, bytes_text, mebibytes_text, share_text
from revbench.reports.wording import describe, distinguishing_names

CSV_NAME = "peak-cells.csv"
CSV_HEADER = ("case_id", "case", "layer", "block", "timesteps", "kind", "phase", "bytes")
CELL_HEADERS = ("layer", "timestep", "kind", "born in")

Key = tuple[str, ...]
Amounts = Sequence[Mapping[Key, int]]


def print_explanations(explanations: Sequence[Explanation], console: Console, *, num_rows: int) -> None:
    """Prints the peak of one case or two by kind, and by layer x timestep x kind x phase."""
    names = distinguishing_names([explanation.case for explanation in explanations])
    for name, explanation in zip(names, explanations, strict=True):
        console.print(Text(_headline(name, explanation)), soft_wrap=True)
    console.print()
    print_whole(_table(["kind"], names, _by_kind(explanations), explanations, num_rows=len(KINDS)), console)
    console.print()
    print_whole(_table(CELL_HEADERS, names, _by_cell(explanations), explanations, num_rows=num_rows), console)
    console.print()
    console.print(Text("MiB = 2^20 bytes. The rows of each table add up to the peak, to the byte."))


def write_explanations(explanations: Sequence[Explanation], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Writes every cell as CSV, the live bytes over the step as figures, and the page; returns the files."""
    with (folder / CSV_NAME).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([CSV_HEADER, *_csv_rows(explanations)])
    steps = [Step(case=each.case, attribution=each.attribution) for each in explanations]
    figures = {"live-bytes": kinds_figure(steps)}
    if len(steps) > 1:
        figures["overlay"] = overlay_figure(steps)
    paths = [folder / f"{name}.{suffix}" for name in figures for suffix in formats if suffix in FORMATS]
    for path in paths:
        save_figure(figures[path.stem], path)
    if PAGE in formats:
        names = distinguishing_names([explanation.case for explanation in explanations])
        headlines = [_headline(name, explanation) for name, explanation in zip(names, explanations, strict=True)]
        paths.append(write_explanation_page(explanations, headlines, folder))
    return [folder / CSV_NAME, *paths]


def _headline(name: str, explanation: Explanation) -> str:
    case = explanation.case
    told = [field for field in CASE_FIELDS if field not in ("model", "seed")]
    phase = _phase_of_peak(explanation)
    told_input = [f"input {explanation.input_shape}"] if explanation.input_shape else []
    return (
        f"{name}: peak {bytes_text(explanation.peak_bytes)} = {mebibytes_text(explanation.peak_bytes)} MiB, "
        f"{mebibytes_text(explanation.peak_bytes / case.batch_size)} per image, in the {phase} pass"
        f" ({', '.join([case.model] * (name != case.model) + [describe(case, told)] + told_input)})"
    ).replace("optimizer pass", "optimizer's step")


def _phase_of_peak(explanation: Explanation) -> str:
    """The phase in which the peak falls; what is between two phases counts to the later one."""
    timeline = explanation.attribution.timeline
    instant = int(timeline.live_bytes().argmax())
    ends = timeline.phase_ends
    return next((mark.phase for mark in ends if instant < mark.num_changes), ends[-1].phase)


def _by_kind(explanations: Sequence[Explanation]) -> list[dict[Key, int]]:
    return [_summed(each.cells, lambda cell: (cell.kind,)) for each in explanations]


def _by_cell(explanations: Sequence[Explanation]) -> list[dict[Key, int]]:
    return [_summed(each.blocks, _cell_key) for each in explanations]


def _cell_key(cell: Cell) -> Key:
    return cell.place.layer, cell.place.timesteps, cell.kind, cell.place.phase


def _summed(cells: Sequence[Cell], key: Any) -> dict[Key, int]:
    amounts: dict[Key, int] = {}
    for cell in cells:
        amounts[key(cell)] = amounts.get(key(cell), 0) + cell.num_bytes
    return amounts


def _table(
    headers: Sequence[str],
    names: Sequence[str],
    amounts: Amounts,
    explanations: Sequence[Explanation],
    *,
    num_rows: int,
) -> Table:
    """The largest rows, those left out as one, and the peak; of two cases those with the largest differences."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        table.add_column(header, no_wrap=True)
    two = len(names) == 2
    for name in [f"{names[0]}\nMiB", f"{names[1]}\nMiB", "difference\nMiB"] if two else ["MiB", "share"]:
        table.add_column(name, justify="right", no_wrap=True)
    keys = sorted(
        {key for each in amounts for key in each}, key=lambda key: _rank([each.get(key, 0) for each in amounts])
    )
    peaks = [explanation.peak_bytes for explanation in explanations]
    shown, rest = keys[:num_rows], keys[num_rows:]
    for key in shown:
        words = (broken_at_dots(_readable(word)) for word in key)
        table.add_row(*words, *_numbers([each.get(key) for each in amounts], peaks))
    blank = [""] * (len(headers) - 1)
    if rest:
        smaller = [sum(each.get(key, 0) for key in rest) for each in amounts]
        table.add_row(f"{len(rest)} rows more", *blank, *_numbers(smaller, peaks))
    total = [sum(each.values()) for each in amounts]
    assert total == peaks
    table.add_section()
    table.add_row("peak", *blank, *_numbers(total, peaks), style="bold")
    return table


def _rank(values: Sequence[int]) -> tuple[int, int]:
    """The largest difference first, then the most bytes; of one case the most bytes."""
    return (-abs(values[1] - values[0]), -values[0]) if len(values) == 2 else (-values[0], 0)


def _numbers(values: Sequence[int | None], peaks: Sequence[int]) -> list[str]:
    if len(values) == 1:
        return [mebibytes_text(values[0]), share_text((values[0] or 0) / peaks[0])]
    difference = (values[1] or 0) - (values[0] or 0)
    told = f"{'+' if difference > 0 else ''}{mebibytes_text(difference)}" if difference else "0"
    return [*(MISSING if value is None else mebibytes_text(value) for value in values), told]


def _readable(word: str) -> str:
    return word.replace("_", " ") if word in KINDS else word


def _csv_rows(explanations: Sequence[Explanation]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for each in explanations:
        case: Case = each.case
        for cell in each.cells:
            place = cell.place
            block = each.layers.get(place.layer, place.layer)
            rows.append(
                (case.id, case.label(), place.layer, block, place.timesteps, cell.kind, place.phase, cell.num_bytes)
            )
    return rows
