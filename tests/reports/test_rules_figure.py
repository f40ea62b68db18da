from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record
from revbench.reports.report import figures
from revbench.reports.rules_figure import MEMORY, TIME, rules_figure

MEBIBYTE = 2**20
TIMESTEPS = (1, 2, 4)
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows(
    record_memory: Callable[[Case, int, int], list[Record]], record_pass: Callable[..., list[Record]]
) -> list[CaseRow]:
    """Two models; one rule grows, one is flat, does not apply to the second model, and ran out of memory once."""
    records = []
    for model in ("msresnet", "trevsnn"):
        for timesteps in TIMESTEPS:
            grows = Case(model=model, depth=1, timesteps=timesteps, batch_size=2)
            flat = Case(model=model, depth=1, timesteps=timesteps, batch_size=2, rule="sltt")
            records += record_memory(grows, 10, 6 * timesteps * MEBIBYTE)
            records += record_pass(grows, "time", [Measurement(metric="step_s", value=0.01 * timesteps, unit="s")])
            if model == "trevsnn":
                records += record_pass(flat, "memory", status="unsupported", detail="has weights of its own")
            elif timesteps == 4:
                records += record_pass(flat, "memory", status="oom", detail="too large")
            else:
                records += record_memory(flat, 10, 6 * MEBIBYTE)
    return case_rows(records)


def lines(axes: Axes) -> dict[str, list[list[float]]]:
    """The points of each line, by its colour."""
    drawn = [line for line in axes.lines if line.get_markerfacecolor() != "white"]
    return {str(line.get_color()): np.asarray(line.get_xydata()).tolist() for line in drawn}


def test_each_model_has_a_panel_and_each_rule_a_line(rows: list[CaseRow]) -> None:
    """Through MiB per image against T, the same colour for a rule everywhere; no line where a rule does not apply."""
    figure = rules_figure(rows, "Memory against timesteps", MEMORY)
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["msresnet", "trevsnn"]
    assert first.get_ylabel() == "MiB per image"
    bptt, sltt = lines(first).values()
    assert bptt == [[1, 3], [2, 6], [4, 12]]
    assert sltt == [[1, 3], [2, 3]]
    assert list(lines(second).values()) == [bptt]
    assert next(iter(lines(first))) == next(iter(lines(second)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bptt", "sltt"]


def test_a_failure_is_an_open_marker_where_it_happened(rows: list[CaseRow]) -> None:
    """In the colour of its rule; that a rule does not apply is no failure."""
    first, second = rules_figure(rows, "", MEMORY).axes
    (marker,) = [line for line in first.lines if line.get_markerfacecolor() == "white"]
    assert np.asarray(marker.get_xydata()).tolist() == [[4, 1]]
    assert marker.get_color() == list(lines(first))[1]
    assert not [line for line in second.lines if line.get_markerfacecolor() == "white"]


def test_time_is_in_milliseconds(rows: list[CaseRow]) -> None:
    """From seconds; a case whose time was not taken is neither a point nor a failure."""
    first, _ = rules_figure(rows, "", TIME).axes
    assert first.get_ylabel() == "step (ms)"
    assert next(iter(lines(first).values())) == [[1, 10], [2, 20], [4, 40]]
    assert not [line for line in first.lines if line.get_markerfacecolor() == "white"]


def test_a_suite_of_rules_and_models_is_drawn_this_way(rows: list[CaseRow]) -> None:
    """With the step times in a second figure; a single rule or model keeps one panel for all."""
    drawn = figures(rows, "timestep-scaling", "Title")
    assert list(drawn) == ["timestep-scaling", "timestep-scaling-time"]
    assert [len(figure.axes) for figure in drawn.values()] == [2, 2]
    one_model = [row for row in rows if row.case.model == "msresnet"]
    assert list(figures(one_model, "one", "Title")) == ["one"]
