from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record
from revbench.reports.report import figures
from revbench.reports.throughput_figure import throughput_figure

pytestmark = pytest.mark.filterwarnings("error")
POINTS = [(1, 4, 1), (2, 4, 1), (4, 4, 1), (2, 8, 1), (2, 4, 2)]
"""Batch size, T and depth of three sweeps through (2, 4, 1)."""


def timed(case: Case, recorded: Callable[..., list[Record]]) -> Iterator[Record]:
    """A step of 20 ms an image and block, half as much again where activations are recomputed; and an inference."""
    step_s = 0.02 * case.batch_size * (case.depth or 1) * (1.5 if case.activations == "recomputed" else 1)
    for name, prefix, seconds in (("time", "", step_s), ("inference_time", "inference_", 0.01 * case.batch_size)):
        if (case.activations, case.timesteps) == ("stored", 8) and name == "time":
            yield from recorded(case, name, status="oom", detail="too large")
            continue
        values = {("inference_s" if prefix else "step_s"): seconds, f"{prefix}images_per_s": case.batch_size / seconds}
        yield from recorded(case, name, [Measurement(metric=k, value=v, unit="s") for k, v in values.items()])


@pytest.fixture
def rows(record_pass: Callable[..., list[Record]]) -> list[CaseRow]:
    """A plain model under two rules, and a reversible one that recomputes or stores, of which one step did not fit."""
    variants = [
        {"model": "msresnet"},
        {"model": "msresnet", "rule": "sltt"},
        {"model": "revsresnet", "activations": "recomputed"},
        {"model": "revsresnet", "activations": "stored"},
    ]
    return case_rows(
        record
        for variant in variants
        for batch_size, timesteps, depth in POINTS
        for record in timed(
            Case(**variant, batch_size=batch_size, timesteps=timesteps, depth=depth),  # type: ignore[arg-type]
            record_pass,
        )
    )


def lines(axes: Axes) -> list[list[list[float]]]:
    """The points of each line."""
    drawn = [line for line in axes.lines if line.get_markerfacecolor() != "white"]
    return [np.round(np.asarray(line.get_xydata(), dtype=float), 3).tolist() for line in drawn]


def drawn(rows: list[CaseRow]) -> Figure:
    """The figure, which there must be."""
    figure = throughput_figure(rows, "Images per second")
    assert figure is not None
    return figure


def test_each_axis_has_a_column_and_each_quantity_a_row_of_panels(rows: list[CaseRow]) -> None:
    """Against batch size, T and depth, at the point that the sweeps share."""
    axes = drawn(rows).axes
    assert len(axes) == 9
    assert [panel.get_title() for panel in axes[:3]] == ["T=4, depth 1", "batch 2, depth 1", "batch 2, T=4"]
    assert [panel.get_xlabel() for panel in axes[6:]] == ["batch size", "timesteps T", "depth (blocks per stage)"]
    assert [axes[i].get_ylabel().split("\n")[0] for i in (0, 3, 6)] == ["training", "inference", "recomputation"]
    recomputed = [[1, 33.333], [2, 33.333], [4, 33.333]]
    plain = [[1, 50], [2, 50], [4, 50]]
    assert lines(axes[0]) == [plain, plain, recomputed, plain]
    assert lines(axes[2]) == [[[1, 50], [2, 25]]] * 2 + [[[1, 33.333], [2, 16.667]], [[1, 50], [2, 25]]]


def test_an_inference_is_drawn_once_for_all_rules_and_activations(rows: list[CaseRow]) -> None:
    """It does not depend on them; the line is that of the first."""
    panels = drawn(rows).axes
    assert lines(panels[3]) == [[[1, 100], [2, 100], [4, 100]]] * 2
    assert panels[3].lines[0].get_color() == panels[0].lines[0].get_color()
    assert panels[3].lines[1].get_color() == panels[0].lines[2].get_color()


def test_the_share_of_recomputation(rows: list[CaseRow]) -> None:
    """Of the recomputing model alone, in percent; where the stored twin did not fit there is none."""
    panels = drawn(rows).axes
    assert lines(panels[6]) == [[[1, 33.333], [2, 33.333], [4, 33.333]]]
    assert lines(panels[7]) == [[[4, 33.333]]]


def test_a_failure_is_an_open_marker_at_the_lower_edge(rows: list[CaseRow]) -> None:
    """Where it happened, in the panels of the pass that failed."""
    panels = drawn(rows).axes
    opened = [[line for line in panel.lines if line.get_markerfacecolor() == "white"] for panel in panels]
    assert [len(markers) for markers in opened] == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert list(opened[1][0].get_xdata()) == [8]
    assert list(opened[1][0].get_ydata()) == [0]


def test_axes_that_do_not_vary_have_no_panels(rows: list[CaseRow]) -> None:
    """Of one point nothing is drawn; of one axis a column."""
    along_depth = [row for row in rows if (row.case.batch_size, row.case.timesteps) == (2, 4)]
    assert len(drawn(along_depth).axes) == 3
    assert throughput_figure(along_depth[:1], "One") is None
    assert throughput_figure([CaseRow(case=row.case) for row in rows], "Nothing timed") is None


def test_a_report_has_the_figure_where_inference_was_timed(rows: list[CaseRow], depth_records: list[Record]) -> None:
    """Under a name of its own beside others, and only there."""
    assert list(figures(rows, "speed", "Speed")) == ["speed"]
    assert list(figures([*case_rows(depth_records), *rows], "speed", "Speed")) == ["speed", "speed-throughput"]
    assert list(figures(case_rows(depth_records), "memory", "Memory")) == ["memory"]
