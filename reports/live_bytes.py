"""The live bytes of a training step along its course, by kind, as every figure of them draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from revbench.bench.cases import Case
from revbench.bench.memory.places import Attribution
from revbench.bench.memory.timeline import KINDS, StorageKind, Timeline
from revbench.reports.style import COLOURS

NUM_POINTS = 400
"""Instants that are drawn; of those that fall on one point, the one with the most bytes."""
NARROWEST_PHASE = 0.1
"""Share of the width that a phase has at least, so that there is room for its name."""
MOST_NAMED_PHASES = 4


@dataclass(frozen=True, slots=True)
class KindLook:
    """How a kind is drawn and called; a colour of digits is a grey, from 0 (black) to 1."""

    colour: str
    hatch: str
    name: str


LOOKS: dict[StorageKind, KindLook] = {
    "parameters": KindLook("0.50", "", "parameters"),
    "optimizer_state": KindLook("0.65", "", "optimizer state"),
    "gradients": KindLook("0.80", "", "gradients"),
    "buffers": KindLook("0.35", "", "buffers"),
    "inputs": KindLook("0.92", "", "inputs"),
    "neuron_state": KindLook(COLOURS[2], "...", "neuron state"),
    "saved": KindLook(COLOURS[5], "", "saved for backward"),
    "recomputation": KindLook(COLOURS[1], "///", "recomputation"),
    "temporaries": KindLook(COLOURS[4], "xxx", "temporaries"),
}
"""Greys are what a model costs whatever the batch, colours what the batch costs; from below in the figure."""
KINDS_FROM_BELOW: tuple[StorageKind, ...] = tuple(LOOKS)
assert set(KINDS_FROM_BELOW) == set(KINDS)


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
class Curve:
    """`[num_points]` places along the step from 0 to 1, and `[num_kinds, num_points]` live bytes there."""

    places: NDArray[np.float64]
    by_kind: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        """`[num_points]`, of all kinds."""
        return self.by_kind.sum(0)  # type: ignore[no-any-return]


def phase_widths(steps: Sequence[Step]) -> list[NDArray[np.float64]]:
    """The share of the width of each phase, for each step; they add up to 1.

    It is the phase's share of all births and deaths, and the mean share where the steps have the same phases, so that
    the phases of one stand over those of the other.
    """
    shares = [_wide_enough(phase_shares(step)) for step in steps]
    same = len({tuple(step.phases) for step in steps}) == 1
    return [np.mean(shares, axis=0)] * len(steps) if same else shares


def overlaid(steps: Sequence[Step]) -> tuple[list[Curve], NDArray[np.float64] | None]:
    """The curves of several steps over each other, and the widths of the phases if all steps have the same.

    Steps of other phases share only their first and their last operator.
    """
    if len({tuple(step.phases) for step in steps}) == 1:
        widths = phase_widths(steps)
        return [live_curve(step, width) for step, width in zip(steps, widths, strict=True)], widths[0]
    return [live_curve(step, phase_shares(step)) for step in steps], None


def phase_shares(step: Step) -> NDArray[np.float64]:
    """The share of all births and deaths that fall in each phase."""
    shares: NDArray[np.float64] = np.diff(step.borders) / (step.borders[-1] - step.borders[0])
    return shares


def _wide_enough(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shares with room for the name of each phase, if they are few."""
    if len(shares) > MOST_NAMED_PHASES:
        return shares
    return NARROWEST_PHASE + (1 - NARROWEST_PHASE * len(shares)) * shares


def live_curve(step: Step, widths: NDArray[np.float64]) -> Curve:
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
    return Curve(shown_places[in_order], by_kind[:, shown_numbers[in_order]])
