"""Figures of what an image of the batch costs: lines against depth, or bars by model.

A case that failed is an open marker at the upper edge, with its status: how much it needed was not measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from revbench.bench.analysis.case_rows import CaseRow, depths_of, grouped, varying_fields
from revbench.reports.style import (
    COLOURS,
    GREY,
    HATCHES,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    LINE_STYLES,
    MARKERS,
    POINTS_PER_INCH,
    STYLE,
    new_figure,
    spread,
)
from revbench.reports.units import mebibytes, mebibytes_text
from revbench.reports.wording import describe

MOST_NAMED_LINES = 4
ACTIVATION_PEAK = "activation_peak_bytes_per_image"
STEP_PEAK = "peak_bytes_per_image"


@dataclass(frozen=True, slots=True)
class _Line:
    """Cases that differ in depth alone, what names them, and how they are drawn."""

    rows: list[CaseRow]
    name: str
    colour: str
    marker: str
    line_style: str

    def points(self, metric: str) -> list[tuple[int, float]]:
        """(depth, MiB) of the cases that have a number."""
        values = ((row.case.depth, getattr(row, metric)) for row in self.rows)
        return [(depth, mebibytes(value)) for depth, value in values if depth is not None and value is not None]

    def layers(self) -> str:
        """The layer counts from the first to the last case that has one: `10 to 66 layers`."""
        counts = [str(row.num_layers) for row in self.rows if row.num_layers is not None]
        return f"{' to '.join(dict.fromkeys((counts[0], counts[-1])))} layers" if counts else ""

    def failures(self) -> list[tuple[int, str]]:
        """(depth, status) of the cases of which the memory pass failed."""
        failed = ((row.case.depth, row.pass_status("memory")) for row in self.rows if row.failed("memory"))
        return [(depth, status) for depth, status in failed if depth is not None]


def depth_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """Memory per image against depth, one line for each group of cases that differ in depth alone.

    The upper panel holds what a batch costs beyond the model, the lower one the peak of the whole step with weights,
    gradients and optimizer state. Cases without a depth are not drawn.
    """
    rows = [row for row in rows if row.case.depth is not None]
    lines = _lines(rows)
    has_legend = len(lines) > MOST_NAMED_LINES or not all(line.points(ACTIVATION_PEAK) for line in lines)
    with rc_context(STYLE):
        figure = new_figure(rows, suite_title, 3.4 + (LEGEND_ROW_IN * -(-len(lines) // 2) if has_legend else 0))
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_panel(upper, lines, ACTIVATION_PEAK, "activation peak\n(MiB per image)")
        _draw_panel(lower, lines, STEP_PEAK, "whole step peak\n(MiB per image)")
        depths = depths_of(rows)
        lower.set_xticks(depths)
        lower.set_xlim(0, 1.01 * depths[-1])
        lower.set_xlabel("depth (blocks per stage)")
        figure.align_ylabels([upper, lower])
        if has_legend:
            figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        else:
            _name_lines(figure, upper, lines)
    return figure


def models_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The activation peak per image as bars, grouped by model, with one bar for each variant of the case."""
    naming = [name for name in varying_fields(rows) if name != "model"]
    models = list(dict.fromkeys(row.case.model for row in rows))
    variants = list(dict.fromkeys(describe(row.case, naming) for row in rows))
    has_legend = len(variants) > 1
    with rc_context(STYLE):
        height_in = 0.5 + len(models) * max(0.24, 0.15 * len(variants)) + LEGEND_ROW_IN * has_legend
        figure = new_figure(rows, suite_title, height_in)
        axes = figure.subplots()
        for index, variant in enumerate(variants):
            cases = [row for row in rows if describe(row.case, naming) == variant]
            _draw_bars(axes, cases, variant, models, index=index, thickness=0.8 / len(variants))
        axes.set_xlim(0, 1.2 * axes.dataLim.x1 if any(row.activation_peak_bytes for row in rows) else 1)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_yticks(range(len(models)), models)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("activation peak (MiB per image)")
        if has_legend:
            figure.legend(loc="outside lower center", ncols=min(3, len(variants)), frameon=False)
    return figure


def _lines(rows: Sequence[CaseRow]) -> list[_Line]:
    """The groups in order of appearance.

    Where several models come in several variants, colour and marker tell the model and the line style the variant.
    """
    groups = grouped(rows, "depth")
    naming = [name for name in varying_fields(rows) if name not in ("model", "depth")]
    models = list(dict.fromkeys(group[0].case.model for group in groups))
    variants = list(dict.fromkeys(describe(group[0].case, naming) for group in groups))
    by_model = 1 < len(models) < len(groups)
    lines = []
    for index, group in enumerate(groups):
        case = group[0].case
        look = models.index(case.model) if by_model else index
        stroke = variants.index(describe(case, naming)) if by_model else index
        line = _Line(
            rows=group,
            name=describe(case, ["model", *naming]),
            colour=COLOURS[look % len(COLOURS)],
            marker=MARKERS[look % len(MARKERS)],
            line_style=LINE_STYLES[stroke % len(LINE_STYLES)],
        )
        lines.append(line)
    return lines


def _draw_panel(axes: Axes, lines: Sequence[_Line], metric: str, label: str) -> None:
    """Draws the measured points from zero, and the failed cases at the upper edge."""
    for line in lines:
        depths, values = zip(*points, strict=True) if (points := line.points(metric)) else ((), ())
        look: dict[str, Any] = {"color": line.colour, "marker": line.marker, "linestyle": line.line_style}
        # A line without points has a box at the origin of the figure, which would ruin the layout.
        axes.plot(depths, values, label=line.name, clip_on=False, in_layout=False, zorder=3, **look)
    highest = max((value for line in lines for _, value in line.points(metric)), default=1)
    axes.set_ylim(0, (1.18 if any(line.failures() for line in lines) else 1.08) * highest)
    axes.set_ylabel(label)
    _draw_failures(axes, lines)


def _draw_failures(axes: Axes, lines: Sequence[_Line]) -> None:
    """At each depth a row of markers for each status, the status to the left of them."""
    failed: dict[int, dict[str, list[_Line]]] = {}
    for line in lines:
        for depth, status in line.failures():
            failed.setdefault(depth, {}).setdefault(status, []).append(line)
    for depth, by_status in failed.items():
        for level, (status, failed_lines) in enumerate(by_status.items()):
            down = -9 * level
            for place, line in enumerate(failed_lines):
                _draw_open_marker(axes, line, depth, -7 * place, down)
            left = 2 - 7 * len(failed_lines)
            _write(axes, status, (depth, 1), (left, down), GREY, ha="right", xycoords=axes.get_xaxis_transform())


def _draw_open_marker(axes: Axes, line: _Line, depth: int, right_points: float, up_points: float) -> None:
    inches = axes.figure.dpi_scale_trans
    offset = ScaledTranslation(right_points / POINTS_PER_INCH, up_points / POINTS_PER_INCH, inches)
    look: dict[str, Any] = {
        "color": line.colour,
        "marker": line.marker,
        "markerfacecolor": "white",
        "linestyle": "none",
    }
    axes.plot([depth], [1], transform=axes.get_xaxis_transform() + offset, clip_on=False, zorder=4, **look)


def _name_lines(figure: Figure, axes: Axes, lines: Sequence[_Line]) -> None:
    """Writes name and layers at the end of each line; heights on paper are known once the figure is laid out."""
    ends = [(line, line.points(ACTIVATION_PEAK)[-1]) for line in lines if line.points(ACTIVATION_PEAK)]
    figure.draw_without_rendering()
    heights = [float(axes.transData.transform(end)[1]) * POINTS_PER_INCH / figure.dpi for _, end in ends]
    for (line, end), height, moved in zip(ends, heights, spread(heights, 2.5 * LABEL_SIZE), strict=True):
        _write(axes, f"{line.name}\n{line.layers()}".strip(), end, (6, moved - height), line.colour)


def _draw_bars(
    axes: Axes, rows: Sequence[CaseRow], variant: str, models: Sequence[str], *, index: int, thickness: float
) -> None:
    """Draws the bars of one variant, each with its number, or its status where there is no number."""
    look: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "hatch": HATCHES[index % len(HATCHES)]}
    places = [models.index(row.case.model) - 0.4 + thickness * (index + 0.5) for row in rows]
    measured = [
        (place, row.activation_peak_bytes_per_image)
        for place, row in zip(places, rows, strict=True)
        if row.activation_peak_bytes_per_image is not None
    ]
    axes.barh(
        [place for place, _ in measured],
        [mebibytes(value) for _, value in measured],
        height=thickness,
        edgecolor="white",
        linewidth=0.5,
        label=variant,
        **look,
    )
    for place, value in measured:
        _write(axes, mebibytes_text(value), (mebibytes(value), place), (3, 0), "0")
    for place, row in zip(places, rows, strict=True):
        if row.failed("memory"):
            _write(axes, row.pass_status("memory"), (0, place), (3, 0), GREY)


def _write(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset_points: tuple[float, float],
    colour: str,
    *,
    ha: Literal["left", "right"] = "left",
    xycoords: Any = "data",
) -> None:
    """Writes a text beside a point."""
    axes.annotate(
        text,
        at,
        offset_points,
        xycoords=xycoords,
        textcoords="offset points",
        ha=ha,
        va="center",
        fontsize=LABEL_SIZE,
        color=colour,
        annotation_clip=False,
    )
