"""What figures have in common: looks, axes that a cost grows along, texts and open markers.

An open marker stands for a case without a number, beside the word that says why.
"""

from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation, Transform

from revbench.bench.analysis.growth import Axis
from revbench.reports.style import LABEL_SIZE, POINTS_PER_INCH

WIDE_SPAN = 6
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
