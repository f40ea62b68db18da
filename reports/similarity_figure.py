"""How alike the gradient stays to the full one where only some neurons pass gradients on through time.

Of seeds there is the mean, and a band from the lowest to the highest. The scale is logarithmic in the distance from 1,
where most cosines lie. A case without numbers is a panel with the word that says why.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import of_all_seeds, varying_fields
from revbench.bench.similarity.metric import KEPT, Kept
from revbench.reports.drawing import Look, write
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
from revbench.reports.wording import describe

LABELS: dict[Kept, str] = {
    "stage_ends": "temporal gradients at the stage ends alone",
    "elsewhere": "everywhere but there",
    "nowhere": "nowhere",
}
LOOKS = {
    kept: Look(colour=colour, marker=marker, line_style=style)
    for kept, colour, marker, style in zip(KEPT, COLOURS, MARKERS, LINE_STYLES, strict=False)
}
ROW_IN = 1.05
NEAREST_TO_1 = 1e-4
"""Cosines that are nearer to 1 stand at the upper edge."""
TICKS = {0: "0", 0.9: "0.9", 0.99: "0.99", 0.999: "0.999", 1 - NEAREST_TO_1: "1"}
MARKER_SIZE = 3
FloatArray = npt.NDArray[np.float64]
Points = dict[Kept, list[tuple[int, float]]]
Bands = dict[Kept, dict[int, list[float]]]
"""The values of all seeds at each place."""


def similarity_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """Cosines to the full gradient: of all parameters over the epochs, and of each layer's weight at the end.

    There is a row of panels for each case, seeds together, all on one scale, and a line for each choice of the neurons
    that keep their temporal gradients.
    """
    naming = ["model", *(name for name in varying_fields(rows) if name != "model")]
    groups = of_all_seeds(rows)
    with rc_context(STYLE):
        height_in = ROW_IN * len(groups) + 0.35 + LEGEND_ROW_IN
        figure = new_figure(rows, suite_title, height_in, DOUBLE_WIDTH_IN, leaving_out=())
        grid = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(1, 1.7))
        drawn = [(_bands(map(over_epochs, group)), _bands(map(over_layers, group))) for group in groups]
        found = [
            value
            for panels in drawn
            for bands in panels
            for line in bands.values()
            for values in line.values()
            for value in values
        ]
        for (left, right), group, panels in zip(grid, groups, drawn, strict=True):
            left.set_title(_name(group, naming), loc="left")
            left.set_ylabel("gradient cosine")
            for axes, bands in zip((left, right), panels, strict=True):
                _draw(axes, bands, _status(group))
                _scale(axes, min([*found, 0.8]))
                axes.tick_params(labelleft=axes is left)
        grid[-1][0].set_xlabel("epochs of training")
        grid[-1][1].set_xlabel("convolution or linear layer, in the network's order, at the end of training")
        handles = [Line2D([], [], label=LABELS[kept], markersize=MARKER_SIZE, **LOOKS[kept].line()) for kept in KEPT]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(KEPT), frameon=False)
    return figure


def over_epochs(row: CaseRow) -> Points:
    """(epoch, cosine of all parameters), in order."""
    return {
        kept: sorted(
            (metric.epoch, value)
            for metric, value in row.similarities
            if metric.kept == kept and metric.layer is None and value is not None
        )
        for kept in KEPT
    }


def over_layers(row: CaseRow) -> Points:
    """(layer, cosine of its weight) after the last epoch, in order."""
    last = max((metric.epoch for metric, _ in row.similarities), default=0)
    return {
        kept: sorted(
            (metric.layer, value)
            for metric, value in row.similarities
            if metric.kept == kept and metric.epoch == last and metric.layer is not None and value is not None
        )
        for kept in KEPT
    }


def _name(group: Sequence[CaseRow], naming: Sequence[str]) -> str:
    """What names a row of panels: the case, of how many seeds this is the mean, and what became of the others."""
    if len(group) == 1:
        return describe(group[0].case, naming)
    name = describe(group[0].case, [name for name in naming if name != "seed"])
    missing = [f"seed {row.case.seed}: {row.pass_status('similarity')}" for row in group if not row.similarities]
    if len(missing) == len(group):
        return name
    return ", ".join([name, f"mean of {len(group) - len(missing)} seeds", *missing])


def _status(group: Sequence[CaseRow]) -> str:
    return ", ".join(dict.fromkeys(row.pass_status("similarity") for row in group))


def _bands(of_seeds: Iterable[Points]) -> Bands:
    bands: Bands = {kept: {} for kept in KEPT}
    for points in of_seeds:
        for kept, line in points.items():
            for place, value in line:
                bands[kept].setdefault(place, []).append(value)
    return {kept: dict(sorted(line.items())) for kept, line in bands.items()}


def _scale(axes: Axes, lowest: float) -> None:
    axes.set_yscale("function", functions=(nines, of_nines))
    axes.set_yticks(list(TICKS), list(TICKS.values()))
    axes.set_ylim(lowest - 0.05, 1 - NEAREST_TO_1 / 2)


def nines(cosine: FloatArray) -> FloatArray:
    r"""$-\log_{10}(1 - c)$: 1 of 0.9, 2 of 0.99, and 4 of all that is nearer to 1 than 0.9999."""
    return -np.log10(np.maximum(1 - cosine, NEAREST_TO_1))


def of_nines(place: FloatArray) -> FloatArray:
    """The inverse of `nines`."""
    return 1 - 10.0**-place


def _draw(axes: Axes, bands: Bands, status: str) -> None:
    for kept, line in bands.items():
        # A line without points has a box at the origin of the figure, which would ruin the layout.
        axes.plot(
            list(line),
            [fmean(values) for values in line.values()],
            clip_on=False,
            in_layout=False,
            markersize=MARKER_SIZE,
            zorder=3,
            **LOOKS[kept].line(),
        )
        if any(len(values) > 1 for values in line.values()):
            low, high = ([end(values) for values in line.values()] for end in (min, max))
            axes.fill_between(list(line), low, high, color=LOOKS[kept].colour, alpha=0.2, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not any(bands.values()):
        axes.set_xticks([])
        write(axes, status, (0.5, 0.5), (0, 0), GREY, ha="center", xycoords="axes fraction")
