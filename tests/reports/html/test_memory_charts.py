"""Charts of live bytes add up to the peak, to the byte, and show what the figures show."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from revbench.bench.cases import Case
from revbench.bench.memory.explain import Explanation
from revbench.bench.memory.places import Attribution, Place, cells_at_peak
from revbench.bench.memory.timeline import KINDS, Mark, StorageKind, Timeline
from revbench.bench.records import Measurement, Record
from revbench.reports.html.chart import Chart
from revbench.reports.html.explanation import explanation_page
from revbench.reports.html.memory_charts import overlay_chart, peak_treemap, peaks_chart, timeline_charts
from revbench.reports.live_bytes import LOOKS, Step
from revbench.reports.table_formats import csv_text

MEBIBYTE = 2**20
CASE = Case(model="msresnet34", batch_size=2, device="fake")
OTHER = replace(CASE, model="revsresnet37")
Birth = tuple[StorageKind, str, str, str, int]
BIRTHS: list[Birth] = [
    ("parameters", "a.0.conv", "all", "before", 2 * MEBIBYTE),
    ("saved", "a.0.conv", "1", "forward", 3 * MEBIBYTE),
    ("saved", "a.0.norm", "1", "forward", MEBIBYTE + 1),
    ("saved", "a.0.norm", "2", "forward", 7),
    ("neuron_state", "a.1", "2", "forward", MEBIBYTE // 2),
]


def explained(case: Case, births: Sequence[Birth], frees_last: bool = True) -> Explanation:
    """Storages born in order, the last of which dies in the backward pass; layers are shown by two parts of a path."""
    order = [*range(len(births)), *([len(births) - 1] if frees_last else [])]
    sizes = [birth[-1] for birth in births]
    timeline = Timeline(
        storage_of=np.array(order),
        delta_bytes=np.array([*sizes, *([-sizes[-1]] if frees_last else [])]),
        kind_of=np.array([KINDS.index(birth[0]) for birth in births]),
        phase_ends=(Mark(phase="forward", num_changes=len(births)), Mark(phase="backward", num_changes=len(order))),
    )
    places = tuple(Place(*birth[1:4]) for birth in births)
    found = Attribution(timeline=timeline, place_of=np.arange(len(births)), places=places)
    layers = {birth[1]: ".".join(birth[1].split(".")[:2]) for birth in births}
    return Explanation(case=case, attribution=found, cells=cells_at_peak(found), layers=layers)


ONE = explained(CASE, BIRTHS)
TWO = explained(OTHER, [BIRTHS[0], BIRTHS[1]])
PEAK_BYTES = sum(birth[-1] for birth in BIRTHS)


def step(explanation: Explanation) -> Step:
    """What the timeline is drawn from."""
    return Step(case=explanation.case, attribution=explanation.attribution)


def downloaded(chart: Chart) -> list[dict[str, str]]:
    """The rows of the chart's CSV."""
    return list(csv.DictReader(StringIO(csv_text(chart.table))))


def test_the_treemap_adds_up_to_the_peak() -> None:
    """Every area is the sum of those within it: kind, then layer, then timestep."""
    chart = peak_treemap(ONE, "msresnet34", 1)
    (trace,) = chart.traces
    values = dict(zip(trace["ids"], trace["values"], strict=True))
    within: dict[str, int] = {}
    for own, parent in zip(trace["ids"], trace["parents"], strict=True):
        within[parent] = within.get(parent, 0) + values[own]
    assert within.pop("") == PEAK_BYTES == ONE.peak_bytes
    assert all(values[parent] == total for parent, total in within.items())
    labels = dict(zip(trace["ids"], trace["labels"], strict=True))
    parents = dict(zip(trace["ids"], trace["parents"], strict=True))
    leaf = next(own for own in trace["ids"] if values[own] == 7)
    path = [labels[leaf]]
    while leaf := parents[leaf]:
        path.append(labels[leaf])
    assert path == ["timestep 2", "a.0", "saved for backward", "peak of msresnet34"]


def test_the_download_of_the_treemap_adds_up_too() -> None:
    """Its rows are the cells."""
    rows = downloaded(peak_treemap(ONE, "msresnet34", 1))
    assert sum(int(row["bytes"]) for row in rows) == PEAK_BYTES
    assert {"kind": "saved", "layer": "a.0", "timesteps": "1", "bytes": str(4 * MEBIBYTE + 1)} in rows


def test_the_timeline_is_stacked_to_the_live_bytes() -> None:
    """At every place the kinds add up; the peak is among the places, and marked; what is drawn is what is stored."""
    (chart,) = timeline_charts([step(ONE)], ["msresnet34"])
    rows = downloaded(chart)
    kinds = [trace["name"] for trace in chart.traces]
    assert set(kinds) == {"parameters", "saved for backward", "neuron state"}
    columns = [kind for kind in KINDS if LOOKS[kind].name in kinds]
    for row in rows:
        assert sum(int(row[f"{kind}_bytes"]) for kind in columns) == int(row["live_bytes"])
    assert max(int(row["live_bytes"]) for row in rows) == PEAK_BYTES
    for kind in columns:
        (trace,) = (trace for trace in chart.traces if trace["name"] == LOOKS[kind].name)
        assert [round(y * MEBIBYTE) for y in trace["y"]] == [int(row[f"{kind}_bytes"]) for row in rows]
        assert trace["x"] == [float(row["place"]) for row in rows]
    assert chart.layout["annotations"][0]["y"] == PEAK_BYTES / MEBIBYTE
    assert chart.layout["xaxis"]["ticktext"] == ["forward", "backward"]


def test_the_overlay_has_both_cases() -> None:
    """Each with its own peak."""
    chart = overlay_chart([step(ONE), step(TWO)], ["one", "two"])
    assert [trace["name"] for trace in chart.traces] == ["one", "two"]
    assert [max(trace["y"]) * MEBIBYTE for trace in chart.traces] == [ONE.peak_bytes, TWO.peak_bytes]
    assert [note["y"] * MEBIBYTE for note in chart.layout["annotations"]] == [ONE.peak_bytes, TWO.peak_bytes]
    stored = [
        max(int(row["live_bytes"]) for row in downloaded(chart) if row["case"] == name) for name in ("one", "two")
    ]
    assert stored == [ONE.peak_bytes, TWO.peak_bytes]


def test_other_phases_share_only_begin_and_end() -> None:
    """There are no borders then."""
    timeline = ONE.attribution.timeline
    online = replace(
        timeline,
        phase_ends=(
            Mark(phase="forward", num_changes=2),
            *timeline.phase_ends[1:],
            Mark(phase="optimizer", num_changes=6),
        ),
    )
    other = replace(step(TWO), attribution=replace(ONE.attribution, timeline=online))
    chart = overlay_chart([step(ONE), other], ["one", "two"])
    assert chart.layout["shapes"] == []
    assert chart.layout["xaxis"]["tickvals"] == []


@pytest.mark.parametrize("explanations", [[ONE], [ONE, TWO]])
def test_the_tables_add_up(explanations: list[Explanation]) -> None:
    """By kind and by cell, for each case; the difference is that of the two."""
    page = explanation_page(explanations, ["headline"])
    tables = {name: table for section in page.sections for name, table in section.tables}
    assert list(tables) == ["kinds", "cells"]
    for table in tables.values():
        for explanation, name in zip(
            explanations, ("bytes_1", "bytes_2") if len(explanations) == 2 else ("bytes",), strict=True
        ):
            (column,) = (column for column in table.columns if column.name == name)
            assert sum(cell.value or 0 for cell in column.cells) == explanation.peak_bytes
        if len(explanations) == 2:
            assert sum(cell.value for cell in table.columns[-1].cells) == TWO.peak_bytes - ONE.peak_bytes
    charts = [chart.name for section in page.sections for chart in section.charts]
    assert charts == (
        ["peak-1", "timeline-1"]
        if len(explanations) == 1
        else ["peak-1", "peak-2", "overlay", "timeline-1", "timeline-2"]
    )


def test_peaks_of_a_run(record_pass: Callable[..., list[Record]], depth_records: list[Record]) -> None:
    """Case, within it the kind; what is 0 has no area, and without any record there is no chart."""
    parts = {"parameters": 5, "saved": 30, "inputs": 0}
    found = [
        Measurement(metric=f"peak_{kind}_bytes", value=value, unit="B", counter="traced")
        for kind, value in parts.items()
    ]
    records = [*record_pass(CASE, "memory", found), *record_pass(OTHER, "memory", found)]
    chart = peaks_chart(records)
    assert chart is not None
    (trace,) = chart.traces
    assert trace["values"][0] == 70
    assert trace["labels"].count("saved for backward") == 2
    assert CASE.label() in trace["labels"]
    assert "30.00 MiB" not in trace["text"]
    assert [row["peak_bytes"] for row in downloaded(chart)] == ["5", "30", "5", "30"]
    assert any(text.endswith("85.71 %") for text in trace["text"])
    assert peaks_chart(depth_records) is None
