"""The figures of energies show the numbers of the rows, read back from what was drawn; no text lies on another."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from closings import recorded
from energy_records import WORK, energy_records
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.energy import PAPERS_MODEL, energies_by_model, parts_j
from revbench.bench.cases import Case
from revbench.bench.energy.metric import HIERARCHIES
from revbench.bench.records import Measurement, Record
from revbench.reports.firing_figure import firing_figure, firing_map
from revbench.reports.inference_cost import cost_sentences, inference_cost_figure
from revbench.reports.parts_figure import LOOKS, parts_figure
from revbench.reports.price_figure import price_figure
from revbench.reports.report import figures

CASE = Case(model="tiny")
MEBIBYTE = 2**20


def memory(case: Case, activation_peak_bytes: int) -> list[Record]:
    """What a memory pass leaves, in short."""
    peak = Measurement(metric="activation_peak_bytes", value=activation_peak_bytes, unit="B", counter="traced")
    return recorded(case, "memory", [peak])


@pytest.fixture(scope="module")
def rows() -> list[CaseRow]:
    """Two seeds of one model, another that is silent, and one that failed."""
    other = Case(model="a_model_with_a_long_name")
    return case_rows(
        [
            *energy_records(CASE),
            *energy_records(replace(CASE, seed=1), brightness=0.3),
            *energy_records(other, brightness=-1.0),
            *recorded(Case(model="failed"), "energy", [], "oom"),
            *memory(CASE, 3 * MEBIBYTE),
            *memory(other, 2 * MEBIBYTE),
        ]
    )


def texts(figure: Figure) -> list[Text]:
    """All that is written; matplotlib also holds labels of ticks beyond the end of an axis."""
    FigureCanvasAgg(figure).draw()
    hidden = {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in found if text not in hidden]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other, or reach out of the figure."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    outside = [(name, "edge") for name, box in boxes if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1]
    pairs = combinations(boxes, 2)
    return outside + [
        (a, b) for (a, box_a), (b, box_b) in pairs if box_a.shrunk(0.9, 0.8).overlaps(box_b.shrunk(0.9, 0.8))
    ]


def titles(figure: Figure) -> list[str]:
    """Those at the left of the panels."""
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_firing_rates_are_a_map(rows: list[CaseRow]) -> None:
    """Layers down, timesteps across, means over seeds, one scale for all."""
    figure = firing_figure(rows, "Energy")
    assert titles(figure)[:3] == ["tiny", "a_model_with_a_long_name", "failed"]
    first, second = (axes.images[0] for axes in figure.axes[:2])
    by_seed = [np.array([rate.rate for rate in row.energy.rates]).reshape(2, 4) for row in rows[:2]]
    assert np.allclose(first.get_array(), np.mean(by_seed, axis=0))
    assert by_seed[0].sum() > by_seed[1].sum() > 0
    assert first.get_clim() == second.get_clim() == (0, np.mean(by_seed, axis=0).max())
    assert [text.get_text() for text in figure.axes[2].texts] == ["oom"]
    assert not figure.axes[2].images


def test_silent_cells_are_crossed(rows: list[CaseRow]) -> None:
    """Every one of them, and no other."""
    figure = firing_figure(rows, "Energy")
    for axes, model in zip(figure.axes, energies_by_model(rows)[:2], strict=False):
        layers, steps = np.nonzero(firing_map(model) == 0)
        (crosses,) = axes.lines
        assert [tuple(point) for point in crosses.get_xydata()] == [
            (step + 1, layer + 1) for step, layer in zip(steps, layers, strict=True)
        ]
    assert len(figure.axes[1].lines[0].get_xydata()) > 0


def test_a_layer_without_a_timestep_fills_its_row(rows: list[CaseRow]) -> None:
    """As one that is computed once, or that belongs to one timestep alone."""
    row = rows[0]
    once = replace(row.energy.rates[0], timestep=None, rate=0.25)
    alone = [replace(row, energy=replace(row.energy, rates=(once,)))]
    (model,) = energies_by_model(alone)
    assert firing_map(model).tolist() == [[0.25] * 4]
    assert firing_figure(alone, "Energy").axes[0].images[0].get_clim() == (0, 0.25)


def test_parts_are_shares(rows: list[CaseRow]) -> None:
    """Bars that add up to 100 %, in the order and colours of the parts, with the sum beside them."""
    figure = parts_figure(rows, "Energy")
    axes = figure.axes[HIERARCHIES.index("sram_dram")]
    parts = [parts_j(row, PAPERS_MODEL, "sram_dram") for row in rows[:2]]
    means = {part: sum(found[part] for found in parts) / 2 for part in parts[0]}
    total = sum(means.values())
    bars = [bar for bar in axes.patches if abs(bar.get_y() + bar.get_height() / 2) < 0.1]
    assert [bar.get_width() for bar in bars] == pytest.approx([100 * joules / total for joules in means.values()])
    assert [bar.get_hatch() or "" for bar in bars] == [LOOKS[part][1] for part in means]
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(100)
    assert [text.get_text() for text in axes.texts][:3] == [
        f"{1e6 * total:.4f} µJ",
        f"{1e6 * sum(parts_j(rows[2], PAPERS_MODEL, 'sram_dram').values()):.5f} µJ",
        "oom",
    ]
    assert "7 nm, int8†" in titles(figure)
    assert not any("int32" in title for title in titles(figure))


def test_memory_stands_beside_its_price(rows: list[CaseRow]) -> None:
    """One mark a model with both, and below it what is recomputed."""
    figure = price_figure(rows, "Energy")
    (axes,) = figure.axes
    marks = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() not in ("_", "None")]
    assert marks == [(3, WORK.macs / 1e6), (2, WORK.macs / 1e6)]
    lines = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) == 2]
    assert lines[0] == [[3, (WORK.macs - WORK.recomputed_macs) / 1e6], [3, WORK.macs / 1e6]]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "recomputed"


def growing(metrics: dict[str, Sequence[float]], model: str = "net") -> list[Record]:
    """Operations at T = 1, 2 and 4."""
    return [
        record
        for index, T in enumerate((1, 2, 4))
        for record in recorded(
            Case(model=model, timesteps=T),
            "operations",
            [Measurement(metric=m, value=values[index], unit="1") for m, values in metrics.items()],
        )
    ]


def test_costs_against_timesteps() -> None:
    """Dense operations, and those of a parameter; columns that nobody counted are no panels."""
    records = growing({"dense_macs": (2e6, 3e6, 5e6), "num_parameters": (10, 20, 40)})
    records += growing({"dense_macs": (1e6, 2e6, 4e6), "num_parameters": (10, 10, 10)}, "other")
    figure = inference_cost_figure(case_rows(records), "Cost")
    assert titles(figure) == ["dense MACs (million)", "dense MACs a parameter"]
    whole, shared = (axes.lines for axes in figure.axes)
    assert whole[0].get_xydata().tolist() == [[1, 2], [2, 3], [4, 5]]
    assert shared[0].get_xydata().tolist() == [[1, 2e5], [2, 1.5e5], [4, 1.25e5]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["net", "other"]
    assert not overlapping(figure)


@pytest.mark.parametrize(
    ("macs", "law"),
    [
        (
            (130, 230, 430),
            "30 + 100 per timestep, exact over T=1 to 4 (3 points); 13.0 a parameter at T=1, 43.0 at T=4.",
        ),
        ((70, 70, 70), "flat in T: 70 at each of 3 points, T=1 to 4; 7.00 a parameter at T=1, 7.00 at T=4."),
        (
            (100, 200, 500),
            "-50 + 135 per timestep by least squares over T=1 to 4 (3 points; 100 to 150 between neighbours); "
            "10.0 a parameter at T=1, 50.0 at T=4.",
        ),
    ],
)
def test_costs_in_words(macs: Sequence[float], law: str) -> None:
    """An exact law, none, or a description; and what a parameter costs."""
    rows = case_rows(growing({"dense_macs": macs, "num_parameters": (10, 10, 10)}))
    assert cost_sentences(rows) == [f"net: dense MACs of an inference {law}"]


def test_each_figure_has_its_place(rows: list[CaseRow]) -> None:
    """Rates first; memory only where it was measured, and not as bars besides; costs where T varies."""
    assert list(figures(rows, "energy", "Energy")) == ["energy", "energy-parts", "energy-price"]
    alone = [replace(row, activation_peak_bytes=None) for row in rows]
    assert list(figures(alone, "energy", "Energy")) == ["energy", "energy-parts"]
    varied = [rows[0], replace(rows[1], case=replace(CASE, timesteps=8))]
    assert list(figures(varied, "cost", "Cost")) == ["cost"]
    assert figures(varied, "cost", "Cost")["cost"].axes[-1].get_title(loc="left") == "operations (µJ, 45 nm)"


def test_no_text_lies_on_another(rows: list[CaseRow]) -> None:
    """In any of the figures, nor beyond the edge."""
    for draw in (firing_figure, parts_figure, price_figure):
        assert overlapping(draw(rows, "Energy of an inference")) == []
