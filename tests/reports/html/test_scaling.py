"""Scaling charts show the numbers of the rows: the same in the drawing and in the download."""

import csv
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.reports.html.chart import Chart
from revbench.reports.html.model_charts import model_charts
from revbench.reports.html.published_series import published_series
from revbench.reports.html.scaling_charts import scaling_charts
from revbench.reports.published import published_numbers
from revbench.reports.table_formats import csv_text

MEBIBYTE = 2**20
ACTIVATIONS = "activation_peak_bytes_per_image"


def downloaded(chart: Chart) -> list[dict[str, str]]:
    """The rows of the chart's CSV."""
    return list(csv.DictReader(StringIO(csv_text(chart.table))))


def traces(chart: Chart, mode: str) -> dict[str, Any]:
    """The traces drawn in some mode, by name."""
    return {trace["name"]: trace for trace in chart.traces if trace["mode"] == mode}


def test_a_chart_for_each_quantity(depth_records: list[Record]) -> None:
    """Memory of activations and of the step, and time."""
    charts = scaling_charts(case_rows(depth_records), "depth")
    assert [chart.name for chart in charts] == [
        "activation_peak_bytes_per_image-depth",
        "peak_bytes_per_image-depth",
        "step_s-depth",
    ]
    assert charts[0].table.title == "Activation peak against depth (blocks per stage)"
    only_time = [record for record in depth_records if record.pass_name == "time"]
    assert [chart.name for chart in scaling_charts(case_rows(only_time), "depth")] == ["step_s-depth"]


def test_drawn_and_downloaded_points_are_those_of_the_rows(depth_records: list[Record]) -> None:
    """To the last digit, in all three charts."""
    rows = case_rows(depth_records)
    for chart, unit in zip(scaling_charts(rows, "depth"), (MEBIBYTE, MEBIBYTE, 0.001), strict=True):
        metric = chart.name.removesuffix("-depth")
        found = {(row.case.model, row.case.depth): value for row in rows if (value := getattr(row, metric)) is not None}
        assert len(found) in (6, 7)
        drawn = {
            (name, x): y
            for name, trace in {**traces(chart, "markers"), **traces(chart, "lines+markers")}.items()
            for x, y in zip(trace["x"], trace["y"], strict=True)
            if not name.startswith("revsnn")
        }
        assert drawn == {place: value / unit for place, value in found.items()}
        told = {
            (line["line"], int(line["depth"])): float(line[metric])
            for line in downloaded(chart)
            if line["source"] == "measured" and line[metric] not in ("oom", "timeout")
        }
        assert told == found


def test_the_curve_goes_through_an_exact_law(depth_records: list[Record]) -> None:
    """Both lines obey laws; drawn, downloaded and told."""
    chart = scaling_charts(case_rows(depth_records), "depth")[0]
    curves = traces(chart, "lines")
    affine, flat = curves["msresnet, fit"], curves["revsresnet, fit"]
    assert (affine["x"], affine["y"]) == ([1, 4], [19 / 2, 40 / 2])
    assert (flat["x"], flat["y"]) == ([1, 8], [13, 13])
    lines = [line for line in downloaded(chart) if line["source"] == "measured" and line[ACTIVATIONS] != "oom"]
    assert all(line[ACTIVATIONS] == line[f"fitted_{ACTIVATIONS}"].removesuffix(".0") + ".0" for line in lines)
    assert len(lines) == 7
    assert chart.remarks[0] == "msresnet: 6.00 + 3.50 depth, exact over depth 1 to 4 (MiB per image)."


def test_failures_are_open_markers_above_all_points(depth_records: list[Record]) -> None:
    """With their word, and with no number."""
    memory, _, time = scaling_charts(case_rows(depth_records), "depth")
    failed = traces(memory, "markers+text")
    assert list(failed) == ["msresnet"]
    trace = failed["msresnet"]
    assert (trace["x"], trace["text"], trace["marker"]["symbol"]) == ([8], ["oom"], "circle-open")
    assert trace["customdata"] == [["msresnet", "oom", "60 MiB were asked for, 12 MiB were free"]]
    assert trace["y"][0] > max(y for each in memory.traces if each is not trace for y in each["y"])
    words = [line["step_s"] for line in downloaded(time) if line["depth"] == "8"]
    assert words == ["oom", "timeout"]
    heights = {y for each in traces(time, "markers+text").values() for y in each["y"]}
    assert len(heights) == 2


def published(chart: Chart) -> list[dict[str, Any]]:
    """The traces of published numbers."""
    return [trace for trace in chart.traces if "diamond" in str(trace.get("marker", {}).get("symbol"))]


def test_published_points_are_open_where_they_do_not_compare(record_memory: Callable[..., list[Record]]) -> None:
    """Those of a family in the depth chart are; each says why."""
    records = [
        each
        for depth in (1, 2, 4)
        for each in record_memory(Case(model="revsresnet", depth=depth, batch_size=2), 10, 26 * MEBIBYTE)
    ]
    chart = scaling_charts(case_rows(records), "depth")[0]
    (trace,) = published(chart)
    number = next(each for each in published_numbers() if each.method == "RevSResNet" and each.depth == 4)
    assert trace["name"] == "revsnn: RevSResNet"
    assert dict(zip(trace["x"], trace["y"], strict=True))[4] == number.value
    assert set(trace["marker"]["symbol"]) == {"diamond-open"}
    assert "width not told" in trace["customdata"][0][2]
    lines = [line for line in downloaded(chart) if line["source"] == "published"]
    assert [float(line[ACTIVATIONS]) / MEBIBYTE for line in lines] == trace["y"]
    assert all(line["remark"].startswith("not comparable: ") for line in lines)
    assert "16" in chart.layout["xaxis"]["ticktext"]


def measured_row(model: str = "revsresnet37_published", **choices: Any) -> CaseRow:
    """A row beside a published number of the same model."""
    return CaseRow(case=Case(model=model, **choices), activation_peak_bytes=64 * MEBIBYTE, peak_bytes=99 * MEBIBYTE)


def test_a_published_number_that_compares_is_filled() -> None:
    """With the same counter, unit, T, precision and batch there is no reason left, with another batch there is."""
    same, other = (model_charts([measured_row(batch_size=batch)])[0] for batch in (32, 16))
    place = "revsnn: code, memory of a training step"
    (filled,), (empty,) = ([trace for trace in published(chart) if trace["name"] == place] for chart in (same, other))
    assert (filled["marker"]["symbol"], filled["x"], filled["y"]) == (["diamond"], [28.3], ["revsresnet37_published"])
    assert empty["marker"]["symbol"] == ["diamond-open"]
    assert "batch: 32, not 16" in empty["customdata"][0][2]
    assert filled["customdata"][0][:2] == [f"{place}, RevSResNet37", "28.30 MiB per image"]


def test_numbers_at_another_place_are_not_drawn() -> None:
    """Numbers at depth 1 to 16 are not those of another depth along T, nor at another T."""
    rows = [replace(measured_row("revsresnet", timesteps=t, depth=3), closings=()) for t in (1, 2, 4)]
    assert published_series(rows, ACTIVATIONS, "timesteps") == []
    assert published_series(rows, ACTIVATIONS, "depth") != []
    assert published_series([row for row in rows if row.case.timesteps != 4], ACTIVATIONS, "depth") == []
    assert published_series([measured_row("revsresnet", depth=3, rule="sltt")], ACTIVATIONS, "depth") == []
    assert published_series([measured_row("nobody", depth=3)], ACTIVATIONS, "depth") == []


def test_memory_of_a_batch_is_drawn_for_an_image() -> None:
    """The published number is divided by its own batch."""
    number = next(
        each
        for each in published_numbers()
        if each.quantity == "memory" and each.unit == "B" and each.model and each.batch_size
    )
    (series, *_) = [
        series
        for series in published_series(
            [measured_row(number.model, rule=number.rule or "bptt", timesteps=number.timesteps)],
            "peak_bytes_per_image",
            None,
        )
        if any(point.value == number.value / number.batch_size for point in series.points)
    ]
    assert series.points[0].row.case.model == number.model


def test_bars_of_models(models_records: list[Record]) -> None:
    """A bar a case, the word of a failure in place of its bar, and the same in the download."""
    chart = model_charts(case_rows(models_records))[0]
    bars = {
        trace["name"]: dict(zip(trace["y"], trace["x"], strict=True))
        for trace in chart.traces
        if trace["type"] == "bar"
    }
    assert bars == {"T=4": {"msresnet18": 12, "revsresnet21": 8}, "T=8": {"revsresnet21": 16}}
    (words,) = (trace for trace in chart.traces if trace["mode" if "mode" in trace else "type"] == "text")
    assert (words["y"], words["text"]) == (["msresnet18"], ["T=8 error"])
    measured = [line for line in downloaded(chart) if line["source"] == "measured"]
    assert [line[ACTIVATIONS] for line in measured] == ["12582912.0", "8388608.0", "error", "16777216.0"]
    assert measured[2]["remark"] == "no such operator"


@pytest.mark.parametrize("status", ["oom", "timeout", "error", "unsupported"])
def test_cases_that_all_failed_have_a_chart(status: str, record_pass: Callable[..., list[Record]]) -> None:
    """Of words alone."""
    records = [
        record for depth in (1, 2) for record in record_pass(Case(model="m", depth=depth), "memory", status=status)
    ]
    chart = scaling_charts(case_rows(records), "depth")[0]
    assert traces(chart, "markers+text")["m"]["x"] == [1, 2]
    assert traces(chart, "markers+text")["m"]["showlegend"]
    assert [line[ACTIVATIONS] for line in downloaded(chart)] == [status, status]
