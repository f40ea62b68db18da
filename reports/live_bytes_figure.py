"""The live bytes of a training step from its first operator to its last: by kind, and two cases over each other."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from revbench.bench.analysis.case_row import CaseRow
from revbench.reports.drawing import write
from revbench.reports.live_bytes import (
    KINDS_FROM_BELOW,
    LOOKS,
    MOST_NAMED_PHASES,
    Curve,
    Step,
    live_curve,
    overlaid,
    phase_widths,
)
from revbench.reports.style import (
    COLOURS,
    COLUMN_WIDTH_IN,
    DOUBLE_WIDTH_IN,
    GREY,
    LABEL_SIZE,
    LEGEND_ROW_IN,
    LINE_STYLES,
    STYLE,
    new_figure,
)
from revbench.reports.units import BYTES_PER_MEBIBYTE, mebibytes, mebibytes_text
from revbench.reports.wording import distinguishing_names

HEIGHT_IN = 2.3
SMALLEST_NAMED = 0.005
"""Kinds that never reach this share of the highest peak are drawn, and not in the legend."""
NOT_TOLD = ("seed",)


def kinds_figure(steps: Sequence[Step]) -> Figure:
    """The live bytes stacked by kind, a panel for each case, with the same axis of bytes."""
    names = distinguishing_names([step.case for step in steps])
    widths = phase_widths(steps)
    curves = [live_curve(step, width) for step, width in zip(steps, widths, strict=True)]
    shown = [
        index for index, kind in enumerate(KINDS_FROM_BELOW) if any(curve.by_kind[index].any() for curve in curves)
    ]
    highest = max(curve.total.max() for curve in curves)
    with rc_context(STYLE):
        named = [index for index in shown if max(c.by_kind[index].max() for c in curves) > SMALLEST_NAMED * highest]
        legend_rows = -(-len(named) // 4)
        height_in = HEIGHT_IN + legend_rows * LEGEND_ROW_IN
        figure = _new_figure(steps, f"Live bytes in a training step: {' and '.join(names)}", height_in, DOUBLE_WIDTH_IN)
        panels = figure.subplots(1, len(steps), squeeze=False, sharey=True)[0]
        for axes, step, name, width, curve in zip(panels, steps, names, widths, curves, strict=True):
            axes.stackplot(
                curve.places,
                [_mebibytes(curve.by_kind[index]) for index in shown],
                labels=[LOOKS[KINDS_FROM_BELOW[index]].name if index in named else "_" for index in shown],
                colors=[LOOKS[KINDS_FROM_BELOW[index]].colour for index in shown],
                hatch=[LOOKS[KINDS_FROM_BELOW[index]].hatch for index in shown],
                step="post",
                linewidth=0,
                edgecolor="0.25",
            )
            _draw_frame(axes, step.phases, width, float(highest))
            _write_peak(axes, curve, "black")
            if len(steps) > 1:
                axes.set_title(name, loc="left", pad=3)
        panels[0].set_ylabel("live bytes (MiB)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False)
    return figure


def overlay_figure(steps: Sequence[Step]) -> Figure:
    """The live bytes of two cases as lines over each other; phase over phase where both have the same."""
    names = distinguishing_names([step.case for step in steps])
    curves, widths = overlaid(steps)
    with rc_context(STYLE):
        height_in = HEIGHT_IN + LEGEND_ROW_IN
        figure = _new_figure(
            steps, f"Live bytes in a training step: {' against '.join(names)}", height_in, COLUMN_WIDTH_IN
        )
        axes = figure.subplots()
        for index, (name, curve) in enumerate(zip(names, curves, strict=True)):
            colour = COLOURS[index]
            total = _mebibytes(curve.total)
            axes.fill_between(curve.places, total, step="post", color=colour, alpha=0.15, linewidth=0)
            axes.step(
                curve.places, total, where="post", color=colour, linestyle=LINE_STYLES[index], linewidth=1, label=name
            )
            _write_peak(axes, curve, colour)
        axes.set_ylabel("live bytes (MiB)")
        highest = float(max(curve.total.max() for curve in curves))
        if widths is not None:
            _draw_frame(axes, steps[0].phases, widths, highest)
        else:
            _draw_frame(axes, [], np.array([1.0]), highest)
            axes.set_xlabel("training step, from its first operator to its last")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _new_figure(steps: Sequence[Step], title: str, height_in: float, width_in: float) -> Figure:
    """Below the title, which names the model where there is only one, and what the cases have in common."""
    models = {step.case.model for step in steps}
    named = title if len(models) > 1 or len(steps) == 1 else title.replace(": ", f" of {models.pop()}: ", 1)
    rows = [CaseRow(case=step.case) for step in steps]
    return new_figure(rows, named, height_in, width_in, leaving_out=NOT_TOLD)


def _mebibytes(num_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bytes in MiB."""
    return num_bytes / BYTES_PER_MEBIBYTE


def _draw_frame(axes: Axes, phases: Sequence[str], widths: NDArray[np.float64], highest: float) -> None:
    """Limits, and the phases between dotted lines, by name if they are few."""
    borders = np.concatenate([[0.0], np.cumsum(widths)])
    for border in borders[1:-1]:
        axes.axvline(border, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_xticks([])
    if 0 < len(phases) <= MOST_NAMED_PHASES:
        axes.set_xticks((borders[:-1] + borders[1:]) / 2, phases)
    elif phases:
        distinct = list(dict.fromkeys(phases))
        axes.set_xlabel(f"{len(phases)} phases of {', '.join(distinct[:-1])} and {distinct[-1]}")
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.15 * highest / BYTES_PER_MEBIBYTE)


def _write_peak(axes: Axes, curve: Curve, colour: str) -> None:
    instant = int(curve.total.argmax())
    place, peak = float(curve.places[instant]), int(curve.total[instant])
    axes.plot([place], [mebibytes(peak)], marker="o", markersize=3, color=colour, clip_on=False, zorder=5)
    side: Literal["left", "right"] = "left" if place < 0.4 else "right"
    write(axes, f"peak {mebibytes_text(peak)} MiB", (place, mebibytes(peak)), (0, LABEL_SIZE), colour, ha=side)
    axes.texts[-1].set_path_effects([withStroke(linewidth=2, foreground="white")])
