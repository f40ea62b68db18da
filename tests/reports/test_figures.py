from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from revbench.bench.analysis.case_rows import CaseRow, case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.reports.figures import depth_figure, models_figure
from revbench.reports.style import save_figure, spread

MEBIBYTE = 2**20
pytestmark = pytest.mark.filterwarnings("error")


def measured_lines(axes: Axes) -> list[Line2D]:
    """The lines through measured points."""
    return [line for line in axes.lines if line.get_linestyle() != "None"]


def failures(axes: Axes) -> list[Line2D]:
    """The open markers."""
    return [line for line in axes.lines if line.get_markerfacecolor() == "white"]


def points(line: Line2D) -> list[list[float]]:
    """The points of a line as they were given."""
    found: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return found


def texts(axes: Axes) -> list[str]:
    """All that is written into the axes."""
    return [text.get_text() for text in axes.texts]


def test_the_panels_say_what_they_show(depth_records: list[Record]) -> None:
    """Both panels have quantity and unit, both axes start at zero, and every measured depth has a tick."""
    upper, lower = depth_figure(case_rows(depth_records), "Memory against depth").axes
    assert upper.get_ylabel() == "activation peak\n(MiB per image)"
    assert lower.get_ylabel() == "whole step peak\n(MiB per image)"
    assert lower.get_xlabel() == "depth (blocks per stage)"
    assert list(lower.get_xticks()) == [1, 2, 4, 8]
    assert [axes.get_xlim()[0] for axes in (upper, lower)] == [0, 0]
    assert [axes.get_ylim()[0] for axes in (upper, lower)] == [0, 0]


def test_the_points_drawn_are_the_rows(depth_records: list[Record]) -> None:
    """One line a model, through the rows' numbers in MiB per image and no other point."""
    rows = case_rows(depth_records)
    for axes, metric in zip(
        depth_figure(rows, "").axes, ("activation_peak_bytes_per_image", "peak_bytes_per_image"), strict=True
    ):
        drawn = {str(line.get_label()): points(line) for line in measured_lines(axes)}
        expected: dict[str, list[list[float]]] = {"msresnet": [], "revsresnet": []}
        for row in rows:
            if (value := getattr(row, metric)) is not None and row.case.depth is not None:
                expected[row.case.model].append([row.case.depth, value / MEBIBYTE])
        assert drawn == expected


def test_a_failure_is_an_open_marker_at_the_upper_edge(depth_records: list[Record]) -> None:
    """The case that ran out of memory keeps its depth, colour and marker, has its status, and is not on the line."""
    for axes in depth_figure(case_rows(depth_records), "").axes:
        (failure,) = failures(axes)
        line = measured_lines(axes)[0]
        assert points(failure) == [[8, 1]]
        assert (failure.get_color(), failure.get_marker()) == (line.get_color(), line.get_marker())
        assert texts(axes).count("oom") == 1


def test_a_failed_time_pass_is_no_failure_of_memory(depth_records: list[Record]) -> None:
    """The case of which only the time is missing is drawn like any other."""
    upper, _ = depth_figure(case_rows(depth_records), "").axes
    assert points(measured_lines(upper)[1])[-1] == [8, 13]
    assert "timeout" not in texts(upper)


def test_lines_are_named_at_their_ends(depth_records: list[Record]) -> None:
    """Few lines are named where they end, with their layers, in their colour, and need no legend."""
    figure = depth_figure(case_rows(depth_records), "")
    upper, _ = figure.axes
    assert {"msresnet\n10 to 34 layers", "revsresnet\n13 to 69 layers"} <= set(texts(upper))
    assert figure.legends == []


def test_lines_differ_without_colour(depth_records: list[Record]) -> None:
    """Each line has its own marker and line style beside its own colour."""
    upper, _ = depth_figure(case_rows(depth_records), "").axes
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in measured_lines(upper)]
    assert all(len(set(column)) == len(looks) for column in zip(*looks, strict=True))


def deep_rows(models: int, timesteps: tuple[int, ...]) -> list[CaseRow]:
    """Rows of several models, in several variants, at two depths."""
    return [
        CaseRow(case=Case(model=f"model{model}", depth=depth, timesteps=length), activation_peak_bytes=MEBIBYTE * depth)
        for model in range(models)
        for length in timesteps
        for depth in (1, 2)
    ]


def test_many_lines_have_a_legend() -> None:
    """Colour and marker tell the model and the line style tells T; a legend names them all."""
    figure = depth_figure(deep_rows(models=3, timesteps=(4, 8)), "")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["model0, T=4", "model0, T=8"]
    first, second = measured_lines(figure.axes[0])[:2]
    assert (first.get_color(), first.get_marker()) == (second.get_color(), second.get_marker())
    assert first.get_linestyle() != second.get_linestyle()


def test_a_line_without_points_is_in_the_legend(depth_records: list[Record]) -> None:
    """A model that failed at every depth cannot be named at the end of a line."""
    rows = [row for row in case_rows(depth_records) if row.case.depth == 8]
    figure = depth_figure(rows, "")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["msresnet", "revsresnet"]


def test_failures_do_not_hide_each_other(record_pass: Callable[..., list[Record]]) -> None:
    """Failures at one depth stand side by side, and those of another status one level below."""
    statuses = {"model0": "oom", "model1": "oom", "model2": "timeout"}
    records = [
        record
        for model, status in statuses.items()
        for record in record_pass(Case(model=model, depth=2), "memory", None, status)
    ]
    figure = depth_figure([*deep_rows(1, (4,))[:1], *case_rows(records)], "")
    upper, _ = figure.axes
    figure.draw_without_rendering()
    places = {tuple(failure.get_transform().transform([2, 1]).round()) for failure in failures(upper)}
    assert len(places) == 3
    assert len({height for _, height in places}) == 2
    assert [text for text in texts(upper) if text in ("oom", "timeout")] == ["oom", "timeout"]


def bar_widths(figure: Figure) -> list[float]:
    """The lengths of all bars, in order of drawing."""
    patches = [patch for container in figure.axes[0].containers for patch in container]
    return [patch.get_width() for patch in patches if isinstance(patch, Rectangle)]


def test_bars_are_the_rows(models_records: list[Record]) -> None:
    """One bar a measured case, in MiB per image, with its number, and the status of the case that failed."""
    figure = models_figure(case_rows(models_records), "Models")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "activation peak (MiB per image)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["msresnet18", "revsresnet21"]
    assert bar_widths(figure) == [12, 8, 16]
    assert sorted(texts(axes)) == ["12.00", "16.00", "8.00", "error"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["T=4", "T=8"]


def test_one_variant_needs_no_legend(models_records: list[Record]) -> None:
    """Where only the model varies the bars have one colour and no legend."""
    figure = models_figure(case_rows(models_records)[:2], "Models")
    assert figure.legends == []
    assert bar_widths(figure) == [12, 8]


def test_the_figure_is_a_column_wide(depth_records: list[Record], models_records: list[Record]) -> None:
    """Whatever it shows, a figure is as wide as a column, and its header says what all cases share."""
    for figure in (
        depth_figure(case_rows(depth_records), "A title " * 12),
        models_figure(case_rows(models_records), "Models"),
    ):
        assert figure.get_figwidth() == 3.4
        assert any("batch" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_rows_give_the_same_bytes(depth_records: list[Record], tmp_path: Path, suffix: str) -> None:
    """A figure that is drawn again is the same file, without a date."""
    paths = [tmp_path / f"{index}.{suffix}" for index in range(2)]
    for path in paths:
        save_figure(depth_figure(case_rows(depth_records), "Memory against depth"), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"CreationDate" not in first
    assert b"<dc:date>" not in first


def test_text_stays_text(depth_records: list[Record], tmp_path: Path) -> None:
    """The words of an SVG can be searched and edited."""
    save_figure(depth_figure(case_rows(depth_records), "Memory against depth"), tmp_path / "figure.svg")
    assert "depth (blocks per stage)</text>" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


@given(st.lists(st.floats(-1000, 1000), max_size=8), st.floats(0.1, 50))
def test_spread_keeps_gap_and_order(positions: list[float], gap: float) -> None:
    """Spread positions are a gap apart in the order in which they were; those that were apart have not moved."""
    moved = spread(positions, gap)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    in_order = [moved[index] for index in order]
    assert all(high - low >= gap - 1e-6 for low, high in pairwise(in_order))
    ascending = sorted(positions)
    if all(high - low >= gap for low, high in pairwise(ascending)):
        assert moved == pytest.approx(positions)
