"""How the memory of an image grows along depth or timesteps, as lines.

A case that failed is an open marker at the upper edge, with its status: how much it needed was not measured.
"""

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.reports.drawing import AXIS_LABELS, draw_open_marker, write
from revbench.reports.growth_lines import GrowthLine, growth_lines
from revbench.reports.style import (
    GREY,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    POINTS_PER_INCH,
    STYLE,
    new_figure,
    spread,
)

MOST_NAMED_LINES = 4
MOST_LETTERS_OF_NAMED_LINES = 20
MOST_LETTERS_IN_TWO_COLUMNS = 26
ACTIVATION_PEAK = "activation_peak_bytes_per_image"
STEP_PEAK = "peak_bytes_per_image"


def growth_figure(rows: Sequence[CaseRow], suite_title: str, axis: Axis) -> Figure:
    """Memory per image along the axis, one line for each group of cases that differ on the axis alone.

    The upper panel holds what a batch costs beyond the model, the lower one the peak of the whole step with weights,
    gradients and optimizer state. Cases without a value on the axis are not drawn.
    """
    rows = [row for row in rows if getattr(row.case, axis) is not None]
    lines = growth_lines(rows, axis)
    longest = max(len(line.name) for line in lines)
    can_be_named = longest <= MOST_LETTERS_OF_NAMED_LINES and all(line.points(ACTIVATION_PEAK) for line in lines)
    has_legend = len(lines) > MOST_NAMED_LINES or not can_be_named
    legend_columns = 2 if longest <= MOST_LETTERS_IN_TWO_COLUMNS else 1
    with rc_context(STYLE):
        legend_in = LEGEND_ROW_IN * -(-len(lines) // legend_columns) if has_legend else 0
        figure = new_figure(rows, suite_title, 3.4 + legend_in)
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_panel(upper, lines, ACTIVATION_PEAK, "activation peak\n(MiB per image)")
        _draw_panel(lower, lines, STEP_PEAK, "whole step peak\n(MiB per image)")
        places = sorted({getattr(row.case, axis) for row in rows})
        lower.set_xticks(places)
        lower.set_xlim(0, 1.01 * places[-1])
        lower.set_xlabel(AXIS_LABELS[axis])
        figure.align_ylabels([upper, lower])
        if has_legend:
            handles = upper.get_legend_handles_labels()
            figure.legend(*handles, loc="outside lower center", ncols=legend_columns, frameon=False)
        else:
            _name_lines(figure, upper, lines)
    return figure


def _draw_panel(axes: Axes, lines: Sequence[GrowthLine], metric: str, label: str) -> None:
    """Draws the measured points from zero, and the failed cases at the upper edge."""
    for line in lines:
        places, values = zip(*points, strict=True) if (points := line.points(metric)) else ((), ())
        # A line without points has a box at the origin of the figure, which would ruin the layout.
        axes.plot(places, values, label=line.name, clip_on=False, in_layout=False, zorder=3, **line.look.line())
    highest = max((value for line in lines for _, value in line.points(metric)), default=1)
    axes.set_ylim(0, (1.18 if any(line.failures() for line in lines) else 1.08) * highest)
    axes.set_ylabel(label)
    _draw_failures(axes, lines)


def _draw_failures(axes: Axes, lines: Sequence[GrowthLine]) -> None:
    """At each place on the axis a row of markers for each status, the status to the left of them."""
    failed: dict[int, dict[str, list[GrowthLine]]] = {}
    for line in lines:
        for place, status in line.failures():
            failed.setdefault(place, {}).setdefault(status, []).append(line)
    for place, by_status in failed.items():
        for level, (status, failed_lines) in enumerate(by_status.items()):
            down = -9 * level
            for index, line in enumerate(failed_lines):
                draw_open_marker(axes, line.look, place, 1, -7 * index, down)
            left = 2 - 7 * len(failed_lines)
            write(axes, status, (place, 1), (left, down), GREY, ha="right", xycoords=axes.get_xaxis_transform())


def _name_lines(figure: Figure, axes: Axes, lines: Sequence[GrowthLine]) -> None:
    """Writes name and layers at the end of each line; heights on paper are known once the figure is laid out."""
    ends = [(line, line.points(ACTIVATION_PEAK)[-1]) for line in lines if line.points(ACTIVATION_PEAK)]
    figure.draw_without_rendering()
    heights = [float(axes.transData.transform(end)[1]) * POINTS_PER_INCH / figure.dpi for _, end in ends]
    for (line, end), height, moved in zip(ends, heights, spread(heights, 2.5 * LABEL_SIZE), strict=True):
        write(axes, f"{line.name}\n{line.layers()}".strip(), end, (6, moved - height), line.look.colour)
