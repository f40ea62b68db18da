"""What figures have in common: looks, axes that a cost grows along, texts and open markers.

An open marker stands for a case without a number, beside the word that says why.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from revbench.bench.analysis.growth import Axis
from revbench.reports.style import COLOURS, LABEL_SIZE, LEGEND_ROW_IN, LINE_STYLES, MARKERS, POINTS_PER_INCH

WIDE_SPAN = 6
OPEN_MARKERS_APART_POINTS = 6
AXIS_LABELS: dict[Axis, str] = {"depth": "depth (blocks per stage)", "timesteps": "timesteps T"}


@dataclass(frozen=True, slots=True)
class Look:
    """How a line is told from the others, in colour and without."""

    colour: str
    marker: str
    line_style: str

    def line(self) -> dict[str, Any]:
        """For a line through measured points."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.line_style}

    def open_marker(self) -> dict[str, Any]:
        """For a case of that line without a number."""
        return {"color": self.colour, "marker": self.marker, "markerfacecolor": "white", "linestyle": "none"}


def looks() -> Iterator[Look]:
    """One look after the other, without end: colour, marker and line style each begin anew after their last."""
    return (Look(*look) for look in zip(cycle(COLOURS), cycle(MARKERS), cycle(LINE_STYLES), strict=False))


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, in order."""
    return dict(zip(dict.fromkeys(names), looks(), strict=False))


def legend_height_in(num_entries: int, columns: int) -> float:
    """Inches of a legend of so many entries in so many columns."""
    return LEGEND_ROW_IN * -(-num_entries // columns)


def legend_below(figure: Figure, looks: Mapping[str, Look], columns: int) -> None:
    """Draws the legend of lines below the figure."""
    handles = [Line2D([], [], label=name, **look.line()) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def scale_by_twos(axes: Axes, places: Sequence[int]) -> None:
    """Makes the horizontal axis logarithmic, with a mark at each place."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_locator(NullLocator())


def moved(axes: Axes, transform: Transform, right_points: float, up_points: float = 0) -> Transform:
    """The transform, moved on paper by so many points."""
    inches = axes.figure.dpi_scale_trans
    return transform + ScaledTranslation(right_points / POINTS_PER_INCH, up_points / POINTS_PER_INCH, inches)


def draw_open_marker(
    axes: Axes, look: Look, x: float, edge: Literal[0, 1], right_points: float, up_points: float
) -> None:
    """Draws an open marker at x, at the lower (0) or upper (1) edge of the axes."""
    transform = moved(axes, axes.get_xaxis_transform(), right_points, up_points)
    axes.plot([x], [edge], transform=transform, clip_on=False, zorder=4, **look.open_marker())


def draw_open_markers(axes: Axes, failed: Iterable[tuple[Look, float]], edge: Literal[0, 1]) -> None:
    """Draws open markers of (look, x) at an edge, those of one place beside each other, to the left."""
    num_at: Counter[float] = Counter()
    for look, x in failed:
        draw_open_marker(axes, look, x, edge, -OPEN_MARKERS_APART_POINTS * num_at[x], 0)
        num_at[x] += 1


def draw_line(axes: Axes, look: Look, points: Sequence[tuple[float, float]]) -> None:
    """Draws a line through its points over all else; a line without any would have a box that ruins the layout."""
    if points:
        axes.plot(*zip(*points, strict=True), clip_on=False, zorder=3, **look.line())


def mark_upwards(axes: Axes) -> None:
    """Marks some round numbers along a logarithmic vertical axis, whose span may be far less than a factor of ten."""
    lowest, highest = axes.get_ylim()
    subs = (1, 2, 5) if highest / lowest > WIDE_SPAN else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=6))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def write(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset_points: tuple[float, float],
    colour: str,
    *,
    ha: Literal["left", "center", "right"] = "left",
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
