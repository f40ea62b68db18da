from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.reports.growth_figure import growth_figure
from revbench.reports.growth_lines import growth_lines

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
    upper, lower = growth_figure(case_rows(depth_records), "Memory against depth", "depth").axes
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
        growth_figure(rows, "", "depth").axes, ("activation_peak_bytes_per_image", "peak_bytes_per_image"), strict=True
    ):
        drawn = {str(line.get_label()): points(line) for line in measured_lines(axes)}
        expected: dict[str, list[list[float]]] = {"msresnet": [], "revsresnet": []}
        for row in rows:
            if (value := getattr(row, metric)) is not None and row.case.depth is not None:
                expected[row.case.model].append([row.case.depth, value / MEBIBYTE])
        assert drawn == expected


def test_a_failure_is_an_open_marker_at_the_upper_edge(depth_records: list[Record]) -> None:
    """The case that ran out of memory keeps its depth, colour and marker, has its status, and is not on the line."""
    for axes in growth_figure(case_rows(depth_records), "", "depth").axes:
        (failure,) = failures(axes)
        line = measured_lines(axes)[0]
        assert points(failure) == [[8, 1]]
        assert (failure.get_color(), failure.get_marker()) == (line.get_color(), line.get_marker())
        assert texts(axes).count("oom") == 1


def test_a_failed_time_pass_is_no_failure_of_memory(depth_records: list[Record]) -> None:
    """The case of which only the time is missing is drawn like any other."""
    upper, _ = growth_figure(case_rows(depth_records), "", "depth").axes
    assert points(measured_lines(upper)[1])[-1] == [8, 13]
    assert "timeout" not in texts(upper)


def test_lines_are_named_at_their_ends(depth_records: list[Record]) -> None:
    """Few lines are named where they end, with their layers, in their colour, and need no legend."""
    figure = growth_figure(case_rows(depth_records), "", "depth")
    upper, _ = figure.axes
    assert {"msresnet\n10 to 34 layers", "revsresnet\n13 to 69 layers"} <= set(texts(upper))
    assert figure.legends == []


def test_lines_differ_without_colour(depth_records: list[Record]) -> None:
    """Each line has its own marker and line style beside its own colour."""
    upper, _ = growth_figure(case_rows(depth_records), "", "depth").axes
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
    figure = growth_figure(deep_rows(models=3, timesteps=(4, 8)), "", "depth")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["model0, T=4", "model0, T=8"]
    first, second = measured_lines(figure.axes[0])[:2]
    assert (first.get_color(), first.get_marker()) == (second.get_color(), second.get_marker())
    assert first.get_linestyle() != second.get_linestyle()


def test_more_variants_than_line_styles_differ_in_colour() -> None:
    """Two rules of one model never look the same."""
    rules = ("bptt", "ottt_a", "ottt_o", "sltt", "sltt-1")
    rows = [
        CaseRow(case=Case(model=model, rule=rule, depth=depth), activation_peak_bytes=depth, peak_bytes=depth)
        for model, rule in [("revsresnet", "bptt"), *(("msresnet", rule) for rule in rules)]
        for depth in (1, 2)
    ]
    drawn = measured_lines(growth_figure(rows, "", "depth").axes[0])
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn}) == len(drawn) == 6


def test_a_line_without_points_is_in_the_legend(depth_records: list[Record]) -> None:
    """A model that failed at every depth cannot be named at the end of a line."""
    rows = [row for row in case_rows(depth_records) if row.case.depth == 8]
    figure = growth_figure(rows, "", "depth")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["msresnet", "revsresnet"]


def test_failures_do_not_hide_each_other(record_pass: Callable[..., list[Record]]) -> None:
    """Failures at one depth stand side by side, and those of another status one level below."""
    statuses = {"model0": "oom", "model1": "oom", "model2": "timeout"}
    records = [
        record
        for model, status in statuses.items()
        for record in record_pass(Case(model=model, depth=2), "memory", (), status)
    ]
    figure = growth_figure([*deep_rows(1, (4,))[:1], *case_rows(records)], "", "depth")
    upper, _ = figure.axes
    figure.draw_without_rendering()
    places = {tuple(failure.get_transform().transform([2, 1]).round()) for failure in failures(upper)}
    assert len(places) == 3
    assert len({height for _, height in places}) == 2
    assert [text for text in texts(upper) if text in ("oom", "timeout")] == ["oom", "timeout"]


def test_memory_can_be_drawn_against_timesteps(models_records: list[Record]) -> None:
    """The axis is T, its points are the rows, and the case that failed is at its T."""
    upper, lower = growth_figure(case_rows(models_records), "", "timesteps").axes
    assert lower.get_xlabel() == "timesteps T"
    assert list(lower.get_xticks()) == [4, 8]
    drawn = {str(line.get_label()): points(line) for line in measured_lines(upper)}
    assert drawn == {"msresnet18": [[4, 12]], "revsresnet21": [[4, 8], [8, 16]]}
    assert [points(failure) for failure in failures(upper)] == [[[8, 1]]]
    assert "error" in texts(upper)


def test_long_names_have_a_legend_in_one_column() -> None:
    """Names as long as the panel is wide would leave no room for it at its side."""
    ways = ("stored", "coded")
    rows = [
        CaseRow(case=Case(model="model", activations="recomputed", states=way, timesteps=t), activation_peak_bytes=t)
        for way in ways
        for t in (1, 2)
    ]
    rows += [replace(row, case=replace(row.case, activations="stored", states=None)) for row in rows[:2]]
    figure = growth_figure(rows, "", "timesteps")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "model, recomputed activations, stored states",
        "model, recomputed activations, coded states",
        "model, stored activations",
    ]
    assert texts(figure.axes[0]) == []
    figure.draw_without_rendering()
    assert legend.get_window_extent().width < figure.bbox.width
    assert figure.axes[0].get_window_extent().width > figure.bbox.width / 2


def test_of_several_sweeps_the_one_along_the_axis_is_drawn() -> None:
    """Points of sweeps along other axes are none of its lines, and neither are other seeds."""
    points = [(1, 4, 1, 0), (2, 4, 1, 0), (2, 8, 1, 0), (2, 4, 3, 0), (2, 4, 3, 7)]
    rows = [
        CaseRow(
            case=Case(model=model, batch_size=batch_size, timesteps=timesteps, depth=depth, seed=seed),
            activation_peak_bytes=batch_size * depth * 2**20,
        )
        for model in ("msresnet", "revsresnet")
        for batch_size, timesteps, depth, seed in points
    ]
    found = growth_lines(rows, "depth")
    assert [(line.name, line.points("activation_peak_bytes_per_image")) for line in found] == [
        ("msresnet", [(1, 1.0), (3, 3.0)]),
        ("revsresnet", [(1, 1.0), (3, 3.0)]),
    ]
    single = [row for row in rows if row.case.depth == 1]
    of_single = [line.points("activation_peak_bytes_per_image") for line in growth_lines(single, "depth")]
    assert of_single == [[(1, 1.0)]] * 6
