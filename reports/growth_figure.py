"""How the memory of an image grows along depth or timesteps, as lines.

A case that failed is an open marker at the upper edge, with its status: how much it needed was not measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_rows import CaseRow, grouped, varying_fields
from revbench.bench.analysis.growth import Axis
from revbench.reports.drawing import AXIS_LABELS, Look, draw_open_marker, write
from revbench.reports.style import (
    COLOURS,
    GREY,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    LINE_STYLES,
    MARKERS,
    POINTS_PER_INCH,
    STYLE,
    new_figure,
    spread,
)
from revbench.reports.units import mebibytes
from revbench.reports.wording import describe

MOST_NAMED_LINES = 4
MOST_LETTERS_OF_NAMED_LINES = 20
MOST_LETTERS_IN_TWO_COLUMNS = 26
ACTIVATION_PEAK = "activation_peak_bytes_per_image"
STEP_PEAK = "peak_bytes_per_image"


@dataclass(frozen=True, slots=True)
class _Line:
    """Cases that differ on the axis alone, what names them, and how they are drawn."""

    axis: Axis
    rows: list[CaseRow]
    name: str
    look: Look

    def points(self, metric: str) -> list[tuple[int, float]]:
        """(place on the axis, MiB) of the cases that have a number."""
        values = ((self._place(row), getattr(row, metric)) for row in self.rows)
        return [(place, mebibytes(value)) for place, value in values if value is not None]

    def layers(self) -> str:
        """The layer counts from the first to the last case that has one: `10 to 66 layers`."""
        counts = [str(row.num_layers) for row in self.rows if row.num_layers is not None]
        return f"{' to '.join(dict.fromkeys((counts[0], counts[-1])))} layers" if counts else ""

    def failures(self) -> list[tuple[int, str]]:
        """(place on the axis, status) of the cases of which the memory pass failed."""
        return [(self._place(row), row.pass_status("memory")) for row in self.rows if row.failed("memory")]

    def _place(self, row: CaseRow) -> int:
        return int(getattr(row.case, self.axis))


def growth_figure(rows: Sequence[CaseRow], suite_title: str, axis: Axis) -> Figure:
    """Memory per image along the axis, one line for each group of cases that differ on the axis alone.

    The upper panel holds what a batch costs beyond the model, the lower one the peak of the whole step with weights,
    gradients and optimizer state. Cases without a value on the axis are not drawn.
    """
    rows = [row for row in rows if getattr(row.case, axis) is not None]
    lines = _lines(rows, axis)
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


def _lines(rows: Sequence[CaseRow], axis: Axis) -> list[_Line]:
    """The groups in order of appearance.

    Where several models come in several variants, colour and marker tell the model and the line style the variant, if
    there are line styles enough.
    """
    groups = grouped(rows, axis)
    naming = [name for name in varying_fields(rows) if name not in ("model", axis)]
    models = list(dict.fromkeys(group[0].case.model for group in groups))
    variants = list(dict.fromkeys(describe(group[0].case, naming) for group in groups))
    by_model = 1 < len(models) < len(groups) and len(variants) <= len(LINE_STYLES)
    lines = []
    for index, group in enumerate(groups):
        case = group[0].case
        look = models.index(case.model) if by_model else index
        stroke = variants.index(describe(case, naming)) if by_model else index
        line = _Line(
            axis=axis,
            rows=group,
            name=describe(case, ["model", *naming]),
            look=Look(
                colour=COLOURS[look % len(COLOURS)],
                marker=MARKERS[look % len(MARKERS)],
                line_style=LINE_STYLES[stroke % len(LINE_STYLES)],
            ),
        )
        lines.append(line)
    return lines


def _draw_panel(axes: Axes, lines: Sequence[_Line], metric: str, label: str) -> None:
    """Draws the measured points from zero, and the failed cases at the upper edge."""
    for line in lines:
        places, values = zip(*points, strict=True) if (points := line.points(metric)) else ((), ())
        # A line without points has a box at the origin of the figure, which would ruin the layout.
        axes.plot(places, values, label=line.name, clip_on=False, in_layout=False, zorder=3, **line.look.line())
    highest = max((value for line in lines for _, value in line.points(metric)), default=1)
    axes.set_ylim(0, (1.18 if any(line.failures() for line in lines) else 1.08) * highest)
    axes.set_ylabel(label)
    _draw_failures(axes, lines)


def _draw_failures(axes: Axes, lines: Sequence[_Line]) -> None:
    """At each place on the axis a row of markers for each status, the status to the left of them."""
    failed: dict[int, dict[str, list[_Line]]] = {}
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


def _name_lines(figure: Figure, axes: Axes, lines: Sequence[_Line]) -> None:
    """Writes name and layers at the end of each line; heights on paper are known once the figure is laid out."""
    ends = [(line, line.points(ACTIVATION_PEAK)[-1]) for line in lines if line.points(ACTIVATION_PEAK)]
    figure.draw_without_rendering()
    heights = [float(axes.transData.transform(end)[1]) * POINTS_PER_INCH / figure.dpi for _, end in ends]
    for (line, end), height, moved in zip(ends, heights, spread(heights, 2.5 * LABEL_SIZE), strict=True):
        write(axes, f"{line.name}\n{line.layers()}".strip(), end, (6, moved - height), line.look.colour)
