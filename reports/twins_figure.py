"""Twins in training: the losses of networks that recompute beside the same with stored activations."""

from collections.abc import Sequence
from itertools import groupby

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.benchmarks.twins import Twins
from revbench.reports.style import COLOURS, DOUBLE_WIDTH_IN, LINE_STYLES, STYLE, new_figure
from revbench.reports.wording import describe

HEIGHT_IN = 3.3
SMALLEST = 1e-17
"""Where differences of exactly 0 are drawn, below all that float64 can tell apart."""


def twins_figure(pairs: Sequence[Twins], title: str) -> Figure:
    """A column for each network: losses of both twins above (in its first precision), differences below (in all)."""
    groups = [list(group) for _, group in groupby(pairs, key=_name)]
    with rc_context(STYLE):
        rows = [CaseRow(case=twins.case) for twins in pairs]
        figure = new_figure(rows, title, HEIGHT_IN, DOUBLE_WIDTH_IN)
        grid = figure.subplots(2, len(groups), squeeze=False, sharex="col")
        for (upper, lower), group in zip(grid.T, groups, strict=True):
            upper.set_title(_name(group[0]), loc="left")
            _draw_losses(upper, group[0])
            _draw_differences(lower, group)
            lower.tick_params(labelleft=lower is grid[1][0])
            lower.set_xlabel("training step")
        grid[0][0].set_ylabel(f"loss ({pairs[0].case.dtype})")
        grid[1][0].set_ylabel("relative difference\nof the losses")
        for axes in grid[:, 0]:
            axes.legend(frameon=False)
        figure.align_ylabels(grid[:, 0])
    return figure


def _name(twins: Twins) -> str:
    return describe(twins.case, ["model", "width", "timesteps"])


def _draw_losses(axes: Axes, twins: Twins) -> None:
    """The twin with stored activations as a broad pale line, so that both are seen where they are one."""
    recomputed, stored = zip(*twins.losses, strict=True)
    steps = range(1, len(stored) + 1)
    axes.plot(steps, stored, color=COLOURS[4], linewidth=2.4, label="stored")
    axes.plot(steps, recomputed, color=COLOURS[0], linewidth=0.7, label="recomputed")
    axes.set_ylim(bottom=0)


def _draw_differences(axes: Axes, group: Sequence[Twins]) -> None:
    for index, twins in enumerate(group):
        differences = [max(difference, SMALLEST) for difference in twins.differences]
        steps = range(1, len(differences) + 1)
        label = twins.case.dtype
        axes.plot(steps, differences, color=COLOURS[index], linestyle=LINE_STYLES[index], linewidth=0.8, label=label)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST / 3, 3)
    axes.set_yticks([SMALLEST, *(10.0**exponent for exponent in (-15, -12, -9, -6, -3, 0))])
    axes.set_yticklabels(["0", *(f"$10^{{{exponent}}}$" for exponent in (-15, -12, -9, -6, -3, 0))])
