"""How figures look: one or two columns of a paper wide, legible in grey and to the colour-blind.

Things are told apart by colour (Okabe and Ito's palette) and by marker, line style or hatch together, so that a print
in grey loses nothing. Text stays text in SVG and PDF.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from revbench.bench.analysis.case_row import CaseRow
from revbench.reports.wording import common_description

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", "--", "-.", ":")
HATCHES = ("", "///", "...", "xxx")
GREY = "0.35"
FONT_SIZE = 8
LABEL_SIZE = 7
COLUMN_WIDTH_IN = 3.4
DOUBLE_WIDTH_IN = 7.0
LEGEND_ROW_IN = 0.17
POINTS_PER_INCH = 72
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "xtick.labelsize": LABEL_SIZE,
    "ytick.labelsize": LABEL_SIZE,
    "legend.fontsize": LABEL_SIZE,
    "legend.handlelength": 2.8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "revbench",
    "pdf.fonttype": 42,
}
WITHOUT_DATE: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def new_figure(
    rows: Sequence[CaseRow],
    suite_title: str,
    height_in: float,
    width_in: float = COLUMN_WIDTH_IN,
    *,
    leaving_out: Sequence[str] = ("seed",),
) -> Figure:
    """An empty figure of that height, below the title of the suite and, in grey, what all its cases have in common.

    Left out are the fields on which no number in the figure depends, as bytes do not on the seed.
    """
    columns = width_in / COLUMN_WIDTH_IN
    title = wrap(suite_title, int(52 * columns))
    common = wrap(common_description(rows, leaving_out), int(62 * columns))
    title_in = 1.3 * FONT_SIZE * len(title) / POINTS_PER_INCH
    header_in = title_in + (1.3 * LABEL_SIZE * len(common) + FONT_SIZE) / POINTS_PER_INCH
    total_in = height_in + header_in
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height_in / total_in))
    figure = Figure(figsize=(width_in, total_in), layout=layout)
    left, top = 0.015 / columns, 1 - 3 / POINTS_PER_INCH / total_in
    figure.text(left, top, "\n".join(title), va="top", fontweight="bold")
    figure.text(left, top - title_in / total_in, "\n".join(common), va="top", fontsize=LABEL_SIZE, color=GREY)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the suffix, PNG, SVG or PDF; the same figure gives the same bytes."""
    with rc_context(STYLE):
        figure.savefig(path, dpi=300, metadata=WITHOUT_DATE[path.suffix.removeprefix(".")])


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Moves positions apart to both sides until any two neighbours are at least a gap apart; their order stays."""
    ascending = sorted(range(len(positions)), key=positions.__getitem__)
    up, down = list(positions), list(positions)
    for below, above in pairwise(ascending):
        up[above] = max(up[above], up[below] + gap)
    for above, below in pairwise(reversed(ascending)):
        down[below] = min(down[below], down[above] - gap)
    # Each of the two keeps the gap, and so does their mean.
    return [(high + low) / 2 for high, low in zip(up, down, strict=True)]
