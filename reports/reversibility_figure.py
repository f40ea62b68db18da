"""What reversible models restore in each precision: gradients beside those of plain autograd, and spikes that flip.

A case without a number is an open marker at the edge of the worst, with the word that says why.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.bench.analysis.row_groups import varying_fields
from revbench.reports.drawing import AXIS_LABELS, Look, draw_open_marker, moved, write
from revbench.reports.restoration import Metric, restored
from revbench.reports.style import (
    COLOURS,
    DOUBLE_WIDTH_IN,
    GREY,
    LEGEND_ROW_IN,
    LINE_STYLES,
    MARKERS,
    STYLE,
    new_figure,
)
from revbench.reports.wording import describe, field_phrase

PRECISIONS = ("float64", "float32", "bfloat16", "float16")
PROTECTED = "protected: residual streams in float32, guarded inversion"
UNPROTECTED = "unprotected: streams in half precision, inversion without a guard"
ROW_IN = 1.25
DODGE_POINTS = 3.5
MARKER_ROW_POINTS = 18


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a column of panels shows, and what is worst in it: the lower (0) or the upper (1) end."""

    metric: Metric
    label: str
    factor: float
    worst: Callable[[Iterable[float]], float]
    worst_edge: Literal[0, 1]


COSINE = Quantity("gradient_cosine", "gradient cosine", 1, min, 0)
FLIPPED = Quantity("flipped_spike_share", "flipped spikes (%)", 100, max, 1)


def reversibility_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """Gradient cosine and flipped spikes, against depth and against timesteps, whichever of them varies.

    There is a row of panels for each model, or variant of one, and a line for each precision, solid with the engine's
    protections and dashed without. A point is the worst of all cases at its place: against timesteps, those of every
    depth.
    """
    naming = [name for name in varying_fields(rows) if name not in ("model", "dtype", "depth", "timesteps", "seed")]
    panels: dict[str, list[CaseRow]] = {}
    for row in rows:
        panels.setdefault(describe(row.case, ["model", *naming]), []).append(row)
    columns = [(quantity, axis) for quantity in (COSINE, FLIPPED) for axis in _axes(rows)]
    num_axes = len(columns) // 2
    dtypes = [dtype for dtype in PRECISIONS if any(row.case.dtype == dtype for row in rows)]
    with rc_context(STYLE):
        height_in = ROW_IN * len(panels) + 0.6 + 2 * LEGEND_ROW_IN
        figure = new_figure(rows, suite_title, height_in, DOUBLE_WIDTH_IN, leaving_out=())
        grid = figure.subplots(len(panels), len(columns), squeeze=False)
        for row_of_axes, (name, cases) in zip(grid, panels.items(), strict=True):
            row_of_axes[0].set_title(name, loc="left")
            for index, (axes, (quantity, axis)) in enumerate(zip(row_of_axes, columns, strict=True)):
                _scale_across(axes, rows, axis)
                _scale_upwards(axes, rows, quantity)
                _draw_lines(axes, cases, quantity, axis, dtypes)
                if index % num_axes == 0:
                    axes.set_ylabel(quantity.label)
                axes.tick_params(labelleft=index % num_axes == 0, labelbottom=axes in grid[-1])
        for axes, (_, axis) in zip(grid[-1], columns, strict=True):
            axes.set_xlabel(f"{AXIS_LABELS[axis]}{_worst_of(rows, axis)}")
        for first in grid.T[::num_axes]:
            figure.align_ylabels(first)
        _draw_legend(figure, dtypes)
    return figure


def _axes(rows: Sequence[CaseRow]) -> list[Axis]:
    """The axes that vary; timesteps, which every case has, where depth would not show all of them."""
    depths = {row.case.depth for row in rows}
    axes: list[Axis] = ["depth"] if len(depths - {None}) > 1 else []
    if "timesteps" in varying_fields(rows) or None in depths or not axes:
        axes.append("timesteps")
    return axes


def _worst_of(rows: Sequence[CaseRow], axis: Axis) -> str:
    """Of which cases a point is the worst, in lines of their own: `worst of T=4, 8, 16`."""
    others = []
    for name in ("depth", "timesteps", "seed"):
        values = sorted({value for row in rows if (value := getattr(row.case, name)) is not None})
        if name != axis and len(values) > 1:
            others.append(", ".join([field_phrase(name, values[0]), *(str(value) for value in values[1:])]))
    return "\nworst of " + ",\n".join(others) if others else ""


def _scale_across(axes: Axes, rows: Sequence[CaseRow], axis: Axis) -> None:
    places = sorted({value for row in rows if (value := getattr(row.case, axis)) is not None})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(places[0] / math.sqrt(2), places[-1] * math.sqrt(2))


def _scale_upwards(axes: Axes, rows: Sequence[CaseRow], quantity: Quantity) -> None:
    """The same scale in all panels of a quantity, with room for open markers where there will be some."""
    found = [restored(row, quantity.metric, protected=protected) for row in rows for protected in (True, False)]
    values = [quantity.factor * value for value in found if isinstance(value, int | float)]
    has_words = any(isinstance(value, str) for value in found)
    if quantity is COSINE:
        axes.set_ylim(min([0, *values]) - (0.45 if has_words else 0.08), 1.08)
        axes.set_yticks([0, 0.5, 1])
        return
    exponents = [math.floor(math.log10(value)) for value in values if value]
    lowest, highest = min(exponents, default=-1), max(exponents, default=-1) + 1
    ticks = [0, *(10.0**exponent for exponent in range(lowest, highest + 1, 2))]
    axes.set_yscale("symlog", linthresh=10.0**lowest, linscale=0.6)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.25 * 10.0**lowest, 10.0 ** (highest + (3 if has_words else 0.5)))


def _draw_lines(axes: Axes, rows: Sequence[CaseRow], quantity: Quantity, axis: Axis, dtypes: Sequence[str]) -> None:
    """Draws the line of each precision, those of different ones a little aside, and what has no number."""
    without_number: dict[str, list[tuple[int, Look, float]]] = {}
    for index, dtype in enumerate(dtypes):
        cases = [row for row in rows if row.case.dtype == dtype and getattr(row.case, axis) is not None]
        aside = DODGE_POINTS * (index - (len(dtypes) - 1) / 2)
        for protected in (True, False):
            look = _look(dtype, protected=protected)
            points = _worst_points(cases, quantity, axis, protected=protected)
            places, values = zip(*points, strict=True) if points else ((), ())
            transform = moved(axes, axes.transData, aside)
            axes.plot(places, values, transform=transform, clip_on=False, in_layout=False, zorder=3, **look.line())
        for place, word in _words(cases, quantity, axis):
            without_number.setdefault(word, []).append((place, _look(dtype, protected=True), aside))
    inwards = 1 if quantity.worst_edge == 0 else -1
    for level, (word, markers) in enumerate(without_number.items()):
        up = inwards * (5 + MARKER_ROW_POINTS * level)
        for place, look, aside in markers:
            draw_open_marker(axes, look, place, quantity.worst_edge, aside, up)
        place, _, aside = markers[(len(markers) - 1) // 2]
        at = (place, quantity.worst_edge)
        above = up + 8 * inwards
        write(axes, word, at, (aside, above), GREY, ha="center", xycoords=axes.get_xaxis_transform())


def _worst_points(
    rows: Sequence[CaseRow], quantity: Quantity, axis: Axis, *, protected: bool
) -> list[tuple[int, float]]:
    """At each place on the axis the worst of the numbers."""
    found: dict[int, list[float]] = {}
    for row in rows:
        value = restored(row, quantity.metric, protected=protected)
        if isinstance(value, int | float):
            found.setdefault(getattr(row.case, axis), []).append(quantity.factor * value)
    return sorted((place, quantity.worst(values)) for place, values in found.items())


def _words(rows: Sequence[CaseRow], quantity: Quantity, axis: Axis) -> list[tuple[int, str]]:
    """At which places on the axis a number is missing, and why."""
    words: set[tuple[int, str]] = set()
    for row in rows:
        protected, unprotected = (restored(row, quantity.metric, protected=protected) for protected in (True, False))
        if isinstance(protected, str):
            words.add((getattr(row.case, axis), protected))
        elif isinstance(unprotected, str):
            words.add((getattr(row.case, axis), f"unprotected: {unprotected}"))
    return sorted(words)


def _look(dtype: str, *, protected: bool) -> Look:
    index = PRECISIONS.index(dtype)
    return Look(colour=COLOURS[index], marker=MARKERS[index], line_style=LINE_STYLES[0 if protected else 1])


def _draw_legend(figure: Figure, dtypes: Sequence[str]) -> None:
    """Names precisions by colour and marker, and protections by line style."""
    precisions = [Line2D([], [], label=dtype, **_look(dtype, protected=True).line()) for dtype in dtypes]
    strokes = [
        Line2D([], [], label=label, **Look(colour=GREY, marker="", line_style=style).line())
        for label, style in zip((PROTECTED, UNPROTECTED), LINE_STYLES, strict=False)
    ]
    columns = -(-len(precisions) // 2) + 1
    figure.legend(handles=[*precisions, *strokes], loc="outside lower center", ncols=columns, frameon=False)
