"""The page of an explanation: who holds the bytes of a training step, over its course and at the peak."""

from collections.abc import Callable, Sequence
from pathlib import Path

from revbench.bench.memory.explain import Explanation
from revbench.bench.memory.places import Cell as PlacedBytes
from revbench.reports.html.memory_charts import overlay_chart, peak_treemap, timeline_charts
from revbench.reports.html.page import Page, Section, write_page
from revbench.reports.live_bytes import LOOKS, Step
from revbench.reports.table_data import Cell, Column, TableData, number_cell, text_cell
from revbench.reports.units import mebibytes_text
from revbench.reports.wording import distinguishing_names

NAME = "explanation"
NOTE = "MiB = 2^20 bytes. The rows add up to the peak, to the byte."
BY_KIND = ("kind",)
BY_CELL = ("layer", "timestep", "kind", "born in")

Key = tuple[str, ...]


def write_explanation_page(explanations: Sequence[Explanation], headlines: Sequence[str], folder: Path) -> Path:
    """Writes `explanation.html`, which holds all that it needs.

    Args:
        explanations: of one case or two.
        headlines: what is to be said first, a sentence a case.
        folder: is there already.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / f"{NAME}.html"
    write_page(explanation_page(explanations, headlines), path)
    return path


def explanation_page(explanations: Sequence[Explanation], headlines: Sequence[str]) -> Page:
    """The page; see `write_explanation_page`."""
    names = distinguishing_names([each.case for each in explanations])
    steps = [Step(case=each.case, attribution=each.attribution) for each in explanations]
    overlay = [overlay_chart(steps, names)] if len(steps) > 1 else []
    named = zip(explanations, names, strict=True)
    peaks = [peak_treemap(each, name, index) for index, (each, name) in enumerate(named, start=1)]
    by_kind = cells_table("The peak by kind", BY_KIND, explanations, names, lambda cell: (LOOKS[cell.kind].name,))
    by_cell = cells_table("The peak by layer, timestep, kind and phase", BY_CELL, explanations, names, _place)
    return Page(
        name=NAME,
        title=f"Who holds the memory: {' against '.join(names)}",
        facts=(),
        sections=(
            Section(name="peak", title="At the peak", sentences=headlines, charts=peaks, tables=[("kinds", by_kind)]),
            Section(
                name="course",
                title="Over the training step",
                sentences=["At each place along the step stands the instant of the most bytes."],
                charts=[*overlay, *timeline_charts(steps, names)],
            ),
            Section(name="cells", title="Cells", tables=[("cells", by_cell)]),
        ),
    )


def cells_table(
    title: str,
    headers: Sequence[str],
    explanations: Sequence[Explanation],
    names: Sequence[str],
    key: Callable[[PlacedBytes], Key],
) -> TableData:
    """The bytes at the peak by the words of a key, a column a case, the largest first; of two cases their difference.

    Args:
        title: of the table.
        headers: of the words.
        explanations: of one case or two.
        names: what tells the cases apart.
        key: the words of some bytes.
    """
    amounts = [_summed(each.blocks, key) for each in explanations]
    keys = sorted({words for each in amounts for words in each}, key=lambda words: -_most(words, amounts))
    columns = [
        Column(header, header, tuple(text_cell(words[index]) for words in keys), "left")
        for index, header in enumerate(headers)
    ]
    for index, (name, found) in enumerate(zip(names, amounts, strict=True), start=1):
        cells = tuple(number_cell(found.get(words), mebibytes_text) for words in keys)
        columns.append(Column(f"bytes_{index}" if len(names) > 1 else "bytes", f"{name}\nMiB", cells))
    if len(amounts) == 2:
        differences = tuple(_difference(amounts[1].get(words, 0) - amounts[0].get(words, 0)) for words in keys)
        columns.append(Column("difference_bytes", "difference\nMiB", differences))
    return TableData(title, NOTE, tuple(columns))


def _place(cell: PlacedBytes) -> Key:
    return cell.place.layer, cell.place.timesteps, LOOKS[cell.kind].name, cell.place.phase


def _summed(cells: Sequence[PlacedBytes], key: Callable[[PlacedBytes], Key]) -> dict[Key, int]:
    amounts: dict[Key, int] = {}
    for cell in cells:
        amounts[key(cell)] = amounts.get(key(cell), 0) + cell.num_bytes
    return amounts


def _most(words: Key, amounts: Sequence[dict[Key, int]]) -> int:
    """By how much two cases differ, or what one holds."""
    return abs(amounts[1].get(words, 0) - amounts[0].get(words, 0)) if len(amounts) == 2 else amounts[0][words]


def _difference(num_bytes: int) -> Cell:
    return number_cell(num_bytes, lambda number: f"{'+' if number > 0 else ''}{mebibytes_text(number)}")
