"""The live bytes of a training step from its first operator to its last: by kind, and two cases over each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from revbench.bench.analysis.case_rows import CaseRow
from revbench.bench.cases import Case
from revbench.bench.memory.places import Attribution
from revbench.bench.memory.timeline import KINDS, StorageKind, Timeline
from revbench.reports.drawing import write
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
NUM_POINTS = 400
"""Instants that are drawn; of those that fall on one point, the one with the most bytes."""
NARROWEST_PHASE = 0.1
"""Share of the width that a phase has at least, so that there is room for its name."""
SMALLEST_NAMED = 0.005
"""Kinds that never reach this share of the highest peak are drawn, and not in the legend."""
MOST_NAMED_PHASES = 4
NOT_TOLD = ("seed",)


@dataclass(frozen=True, slots=True)
class _Look:
    colour: str
    hatch: str
    name: str


LOOKS: dict[StorageKind, _Look] = {
    "parameters": _Look("0.50", "", "parameters"),
    "optimizer_state": _Look("0.65", "", "optimizer state"),
    "gradients": _Look("0.80", "", "gradients"),
    "buffers": _Look("0.35", "", "buffers"),
    "inputs": _Look("0.92", "", "inputs"),
    "neuron_state": _Look(COLOURS[2], "...", "neuron state"),
    "saved": _Look(COLOURS[5], "", "saved for backward"),
    "recomputation": _Look(COLOURS[1], "///", "recomputation"),
    "temporaries": _Look(COLOURS[4], "xxx", "temporaries"),
}
"""Greys are what a model costs whatever the batch, colours what the batch costs; from below in the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A case and the live bytes of its training step."""

    case: Case
    attribution: Attribution

    @property
    def timeline(self) -> Timeline:
        """The live bytes."""
        return self.attribution.timeline

    @property
    def phases(self) -> list[str]:
        """In order; what follows on the same phase belongs to it."""
        return [phase for phase, _ in groupby(mark.phase for mark in self.timeline.phase_ends)]

    @property
    def borders(self) -> NDArray[np.int64]:
        """`[num_phases + 1]`, the number of changes where the first phase begins and where each ends."""
        marks = self.timeline.phase_ends
        first = [index for index, place in enumerate(self.attribution.places) if place.phase == marks[0].phase]
        begins = int(np.isin(self.attribution.place_of[self.timeline.storage_of], first).argmax())
        ends = [list(group)[-1].num_changes for _, group in groupby(marks, key=lambda mark: mark.phase)]
        return np.array([min(begins, ends[0]), *ends])


@dataclass(frozen=True, slots=True)
class _Curve:
    """`[num_points]` places along the step from 0 to 1, and `[num_kinds, num_points]` live bytes there."""

    places: NDArray[np.float64]
    by_kind: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        return self.by_kind.sum(0)  # type: ignore[no-any-return]


def kinds_figure(steps: Sequence[Step]) -> Figure:
    """The live bytes stacked by kind, a panel for each case, with the same axis of bytes."""
    names = distinguishing_names([step.case for step in steps])
    widths = _phase_widths(steps)
    curves = [_curve(step, width) for step, width in zip(steps, widths, strict=True)]
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
    same_phases = len({tuple(step.phases) for step in steps}) == 1
    widths = _phase_widths(steps) if same_phases else [_shares(step) for step in steps]
    curves = [_curve(step, width) for step, width in zip(steps, widths, strict=True)]
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
        if same_phases:
            _draw_frame(axes, steps[0].phases, widths[0], highest)
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


KINDS_FROM_BELOW: tuple[StorageKind, ...] = tuple(LOOKS)
assert set(KINDS_FROM_BELOW) == set(KINDS)


def _mebibytes(num_bytes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bytes in MiB."""
    return num_bytes / BYTES_PER_MEBIBYTE


def _phase_widths(steps: Sequence[Step]) -> list[NDArray[np.float64]]:
    """The share of the width of each phase, for each step; they add up to 1.

    It is the phase's share of all births and deaths, and the mean share where the steps have the same phases, so that
    the phases of one stand over those of the other.
    """
    shares = [_wide_enough(_shares(step)) for step in steps]
    same = len({tuple(step.phases) for step in steps}) == 1
    return [np.mean(shares, axis=0)] * len(steps) if same else shares


def _shares(step: Step) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.diff(step.borders) / (step.borders[-1] - step.borders[0])
    return shares


def _wide_enough(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shares with room for the name of each phase, if they are few."""
    if len(shares) > MOST_NAMED_PHASES:
        return shares
    return NARROWEST_PHASE + (1 - NARROWEST_PHASE * len(shares)) * shares


def _curve(step: Step, widths: NDArray[np.float64]) -> _Curve:
    """The live bytes where phases begin and end, and at `NUM_POINTS` instants at most, the peak among them."""
    borders = np.concatenate([[0.0], np.cumsum(widths)])
    numbers = np.arange(step.borders[0] + 1, step.borders[-1] + 1)
    places = np.interp(numbers - 0.5, step.borders, borders)
    # `[num_kinds, num_changes + 1]`, after no change, one, two, ...
    by_kind = np.stack([np.insert(step.timeline.live_bytes((kind,)), 0, 0) for kind in KINDS_FROM_BELOW])
    bins = (places * NUM_POINTS).astype(np.int64)
    # Of each bin the instant of the most bytes, the earliest if there are several.
    order = np.lexsort((numbers, -by_kind[:, numbers].sum(0), bins))
    chosen = order[np.unique(bins[order], return_index=True)[1]]
    shown_places = np.concatenate([places[chosen], borders])
    shown_numbers = np.concatenate([numbers[chosen], step.borders])
    in_order = np.lexsort((shown_numbers, shown_places))
    return _Curve(shown_places[in_order], by_kind[:, shown_numbers[in_order]])


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


def _write_peak(axes: Axes, curve: _Curve, colour: str) -> None:
    instant = int(curve.total.argmax())
    place, peak = float(curve.places[instant]), int(curve.total[instant])
    axes.plot([place], [mebibytes(peak)], marker="o", markersize=3, color=colour, clip_on=False, zorder=5)
    side: Literal["left", "right"] = "left" if place < 0.4 else "right"
    write(axes, f"peak {mebibytes_text(peak)} MiB", (place, mebibytes(peak)), (0, LABEL_SIZE), colour, ha=side)
    axes.texts[-1].set_path_effects([withStroke(linewidth=2, foreground="white")])
