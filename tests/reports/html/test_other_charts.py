"""Charts of energy, restored gradients, similar gradients, accuracy and inference show the numbers of the rows."""

import csv
import statistics
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from closings import recorded
from energy_records import energy_records

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.energy import PAPERS_MODEL, energies_by_model, energy_j
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record
from revbench.reports.firing_figure import firing_map
from revbench.reports.html.chart import Chart
from revbench.reports.html.energy_charts import NOTHING_FIRES, firing_charts, parts_charts
from revbench.reports.html.energy_summary import energy_summary
from revbench.reports.html.pass_charts import (
    inference_charts,
    learning_chart,
    price_chart,
    reversibility_charts,
    similarity_charts,
    throughput_charts,
)
from revbench.reports.parts_figure import LABELS, mean_parts_j
from revbench.reports.table_formats import csv_text

CASE = Case(model="tiny")
SILENT = Case(model="silent")
MEBIBYTE = 2**20
RecordPass = Callable[..., list[Record]]


def downloaded(chart: Chart) -> list[dict[str, str]]:
    """The rows of the chart's CSV."""
    return list(csv.DictReader(StringIO(csv_text(chart.table))))


@pytest.fixture(scope="module")
def rows() -> list[CaseRow]:
    """Two seeds of one model, another that is silent, and one that failed."""
    peak = Measurement(metric="activation_peak_bytes", value=3 * MEBIBYTE, unit="B", counter="traced")
    return case_rows(
        [
            *energy_records(CASE),
            *energy_records(replace(CASE, seed=1), brightness=0.3),
            *energy_records(SILENT, brightness=-1.0),
            *recorded(Case(model="failed"), "energy", [], "oom"),
            *recorded(CASE, "memory", [peak]),
        ]
    )


def test_the_heat_map_is_that_of_the_figure(rows: list[CaseRow]) -> None:
    """Means over seeds, one scale, crosses where nothing fires, the same numbers in the download."""
    charts = firing_charts(rows)
    models = [model for model in energies_by_model(rows) if model.counted]
    assert [chart.table.title for chart in charts] == ["Firing rates of tiny", "Firing rates of silent"]
    largest = max(float(np.nanmax(firing_map(model))) for model in models)
    for chart, model in zip(charts, models, strict=True):
        (trace,) = chart.traces
        found = firing_map(model)
        drawn = np.array([[np.nan if rate is None else rate for rate in line] for line in trace["z"]])
        np.testing.assert_array_equal(drawn, found)
        assert (trace["zmin"], trace["zmax"]) == (0, largest)
        assert [[mark == NOTHING_FIRES for mark in line] for line in trace["text"]] == (found == 0).tolist()
        stored = [float(row["firing_rate"]) if row["firing_rate"] else np.nan for row in downloaded(chart)]
        np.testing.assert_array_equal(np.array(stored).reshape(found.shape), found)
    assert NOTHING_FIRES in charts[1].traces[0]["text"][0]


def test_light_means_little(rows: list[CaseRow]) -> None:
    """The colours go from light to dark, as those of the figure."""
    shades = firing_charts(rows)[0].traces[0]["colorscale"]
    assert [shade[0] for shade in (shades[0], shades[-1])] == [0, 1]
    brightness = [sum(int(shade[1][i : i + 2], 16) for i in (1, 3, 5)) for shade in shades]
    assert brightness == sorted(brightness, reverse=True)


def test_parts_add_up_as_in_the_figure(rows: list[CaseRow]) -> None:
    """Each bar is the mean over seeds, in µJ."""
    charts = {chart.name: chart for chart in parts_charts(rows)}
    chart = charts["energy-fp32_45nm-on_chip"]
    (model, *_) = energies_by_model(rows)
    expected = mean_parts_j(model, "fp32_45nm", "on_chip")
    drawn = {trace["name"]: dict(zip(trace["y"], trace["x"], strict=True))["tiny"] for trace in chart.traces}
    assert drawn == {LABELS[part]: pytest.approx(1e6 * joules) for part, joules in expected.items()}
    stored = {row["part"]: float(row["energy_j"]) for row in downloaded(chart) if row["model"] == "tiny"}
    assert stored == expected
    assert not any("int32" in name for name in charts)


def test_the_summary_of_energies(rows: list[CaseRow]) -> None:
    """Means over seeds, exact in the values; a model that failed is its word in every column."""
    models = energies_by_model(rows)
    table = energy_summary(models)
    assert table is not None
    by_name = {column.name: column.cells for column in table.columns}
    assert [cell.text for cell in by_name["model"]] == ["tiny", "silent", "failed"]
    seeds = [row for row in rows if row.case.model == "tiny"]
    assert by_name["sops"][0].value == statistics.fmean(row.sops or 0 for row in seeds)
    on_chip = statistics.fmean(energy_j(row, PAPERS_MODEL, "on_chip") or 0 for row in seeds)
    assert by_name["on_chip_j"][0].value == on_chip > by_name["neurons_j"][0].value > 0
    assert {cells[2].text for name, cells in by_name.items() if name != "model"} == {"oom"}
    assert energy_summary([]) is None


def test_the_price(rows: list[CaseRow]) -> None:
    """Memory against operations, one mark for all seeds; nothing where one of both is unknown."""
    chart = price_chart(rows)
    assert chart is not None
    (trace,) = chart.traces
    assert (trace["x"], trace["y"]) == ([3], [rows[0].training_macs / 1e6])
    assert downloaded(chart)[0]["activation_peak_bytes_per_image"] == str(3.0 * MEBIBYTE)
    assert price_chart(rows[1:]) is None


def measured(record_pass: RecordPass, case: Case, pass_name: str, values: dict[str, float]) -> list[Record]:
    """A pass that found these metrics."""
    return record_pass(
        case, pass_name, [Measurement(metric=name, value=value, unit="1") for name, value in values.items()]
    )


def test_restored_gradients(record_pass: RecordPass) -> None:
    """Along depth, protected and not; a case without a number is its word."""
    records = []
    for depth, cosine in ((1, 1.0), (4, 0.5)):
        values = {
            "gradient_cosine": cosine,
            "flipped_spike_share": 0.01 * depth,
            "unprotected_gradient_cosine": cosine / 2,
            "unprotected_flipped_spike_share": 0.1,
        }
        records += measured(record_pass, Case(model="m", depth=depth), "reversibility", values)
    records += record_pass(Case(model="m", depth=8), "reversibility", status="oom")
    cosines, flipped = reversibility_charts(case_rows(records))
    assert [(trace["x"], trace["y"]) for trace in cosines.traces] == [([1, 4], [1.0, 0.5]), ([1, 4], [0.5, 0.25])]
    assert [trace["y"] for trace in flipped.traces] == [[1, 4], [10, 10]]
    assert downloaded(cosines)[2]["gradient_cosine"] == "oom"
    assert [row["flipped_spike_share"] for row in downloaded(flipped)[:2]] == ["0.01", "0.04"]


def test_similar_gradients(record_pass: RecordPass) -> None:
    """Over the epochs and over the layers."""
    values = {
        "similarity_nowhere_epoch_0": 0.25,
        "similarity_nowhere_epoch_1": 0.5,
        "similarity_nowhere_epoch_1_layer_3": 0.75,
    }
    charts = similarity_charts(case_rows(measured(record_pass, Case(model="m"), "similarity", values)))
    found = {chart.name: chart.traces[0] for chart in charts}
    assert (found["similarity-epochs-1"]["x"], found["similarity-epochs-1"]["y"]) == ([0, 1], [0.25, 0.5])
    assert (found["similarity-layers-1"]["x"], found["similarity-layers-1"]["y"]) == ([3], [0.75])


def test_accuracy(record_pass: RecordPass) -> None:
    """Against memory; a case that failed is a word in the table."""
    case, other = Case(model="m"), Case(model="n")
    peak = Measurement(metric="activation_peak_bytes", value=2 * MEBIBYTE, unit="B", counter="traced")
    records = [
        *record_pass(case, "memory", [peak]),
        *measured(record_pass, case, "learning", {"test_accuracy": 0.975}),
        *record_pass(other, "learning", status="error", detail="diverged"),
    ]
    chart = learning_chart(case_rows(records))
    assert (chart.traces[0]["x"], chart.traces[0]["y"]) == ([2], [97.5])
    assert [row["test_accuracy"] for row in downloaded(chart)] == ["0.975", "error"]


def test_inference(record_pass: RecordPass) -> None:
    """Operations along T, in all and for each parameter."""
    records = [
        each
        for timesteps in (1, 2)
        for each in measured(
            record_pass,
            Case(model="m", timesteps=timesteps),
            "operations",
            {"dense_macs": 8e6 * timesteps, "num_parameters": 1000},
        )
    ]
    whole, for_each = inference_charts(case_rows(records))
    assert (whole.traces[0]["x"], whole.traces[0]["y"]) == ([1, 2], [8, 16])
    assert for_each.traces[0]["y"] == [8000, 16000]


def test_throughput(record_pass: RecordPass) -> None:
    """Along the axis that varies, in percent and images per second; a step that did not fit is its word."""
    records = []
    for batch_size in (1, 2, 4):
        case = Case(model="m", batch_size=batch_size, activations="stored")
        again = replace(case, activations="recomputed")
        for each in (case, again):
            images = {"inference_images_per_s": 100.0 * batch_size}
            records += measured(record_pass, each, "inference_time", images)
        if batch_size == 4:
            records += record_pass(case, "time", status="oom")
        else:
            records += measured(record_pass, case, "time", {"step_s": 0.1, "images_per_s": 10.0 * batch_size})
    charts = {chart.name: chart for chart in throughput_charts(case_rows(records))}
    training, inference = (charts[f"throughput-{name}images_per_s-batch_size"] for name in ("", "inference_"))
    assert [(trace["x"], trace["y"]) for trace in training.traces] == [([1, 2], [10, 20])]
    assert [row["images_per_s"] for row in downloaded(training)] == ["10.0", "20.0", "oom"]
    assert [(trace["x"], trace["y"]) for trace in inference.traces] == [([1, 2, 4], [100, 200, 400])]
    assert training.table.title == "training (images/s), T=4"
