"""How the bytes of a training step grow, and how large a case fits into a card: by traces, never by a formula."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from revbench.bench.analysis.growth import Growth, growth_along
from revbench.bench.cases import Case
from revbench.bench.memory.allocator import OutOfMemoryError
from revbench.bench.memory.history import History, replay
from revbench.bench.memory.predict import Prediction, predict

Axis = Literal["batch_size", "timesteps", "depth"]
AXES: tuple[Axis, ...] = ("batch_size", "timesteps", "depth")
BOUND = {"batch_size": 1 << 20, "timesteps": 1 << 12, "depth": 1 << 10}
"""Where a search ends at the latest."""
SEARCH_S = 20.0
"""How long it may take along one axis, of this process alone."""
LONGEST_LEAP = 16
End = Literal["exact", "flat", "bound", "time", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The largest value of an axis with which a case fits.

    Attributes:
        axis: along which the case grows.
        largest: the largest value that was seen to fit; None where none did.
        end: `exact` (the next value was seen not to fit), `flat` (the bytes do not depend on it), `bound` or `time`
            (the search ended before), `none` (not even the smallest value fits).
        num_traces: how many it took.
    """

    axis: Axis
    largest: int | None
    end: End
    num_traces: int


@dataclass(slots=True)
class Traces:
    """The predictions of a case and of others that differ along one axis, each made once.

    Args:
        case: from which the others differ.
        watch: called with what is traced next.
    """

    case: Case
    watch: Callable[[str], object] = lambda _: None
    _known: dict[Case, Prediction] = field(default_factory=dict)

    @property
    def num_traces(self) -> int:
        """How many predictions were made."""
        return len(self._known)

    def of(self, axis: Axis | None = None, value: int = 0) -> Prediction:
        """The prediction of the case, with another value on an axis if one is told."""
        case = self.case if axis is None else _at(self.case, axis, value)
        if case not in self._known:
            self.watch(case.label())
            self._known[case] = predict(case)
        return self._known[case]


def growth(traces: Traces, axis: Axis) -> Growth:
    """How the requested peak grows from the case on: by one, two and three times its batch or timesteps, or blocks.

    Raises:
        NotImplementedError: a rule does not apply to a case on the way.
    """
    first = getattr(traces.case, axis)
    values = range(first, first + 3) if axis == "depth" else range(first, 3 * first + 1, first)
    return growth_along([(value, traces.of(axis, value).requested_bytes) for value in values])


def reach(traces: Traces, axis: Axis, law: Growth, workspace_bytes: int, capacity_bytes: int) -> Reach:
    """The largest value of the axis for which the allocator finds room in two training steps; all others stay.

    Args:
        traces: of the case.
        axis: along which to look.
        law: what `growth` found along it.
        workspace_bytes: see `history.replay`.
        capacity_bytes: of the card.
    """
    unit = _unit(traces.case, axis)
    before = traces.num_traces
    if law.law == "flat" and not law.num_skipped and _need(traces.of().history, workspace_bytes, capacity_bytes).fits:
        return Reach(axis=axis, largest=None, end="flat", num_traces=0)
    found, end = largest(
        lambda number: _need(traces.of(axis, number * unit).history, workspace_bytes, capacity_bytes),
        start=max(getattr(traces.case, axis) // unit, 1),
        hint=_hint(traces, axis, workspace_bytes, capacity_bytes),
        bound=BOUND[axis] // unit,
        capacity_bytes=capacity_bytes,
        deadline=time.process_time() + SEARCH_S,
    )
    return Reach(axis=axis, largest=found and found * unit, end=end, num_traces=traces.num_traces - before)


def _hint(traces: Traces, axis: Axis, workspace_bytes: int, capacity_bytes: int) -> int | None:
    """Where to look first: the largest value that would fit if each storage grew along a line through two traces.

    None where the two do not make the same storages in the same order.
    """
    if axis != "batch_size":  # a timestep or a block more makes storages more
        return None
    first = getattr(traces.case, axis)
    low, high = traces.of(axis, first).history, traces.of(axis, 2 * first).history
    if not np.array_equal(low.storage_of, high.storage_of) or low.step_begin != high.step_begin:
        return None

    def need(number: int) -> Need:
        deltas = low.delta_bytes + (high.delta_bytes - low.delta_bytes) * (number - first) // first
        return _need(replace(low, delta_bytes=deltas), workspace_bytes, capacity_bytes)

    found, _ = largest(
        need, start=first, bound=BOUND[axis], capacity_bytes=capacity_bytes, deadline=time.process_time() + SEARCH_S
    )
    return found or 1


@dataclass(frozen=True, slots=True)
class Need:
    """Whether a value fits, and the bytes that it allocates at the peak."""

    fits: bool
    num_bytes: int


def largest(
    needs: Callable[[int], Need],
    *,
    start: int,
    bound: int,
    capacity_bytes: int,
    deadline: float,
    hint: int | None = None,
) -> tuple[int | None, End]:
    """The largest number that fits while the next does not.

    Begins with the hint and its neighbour, or else with `start`; goes on where a line through two known points meets
    the capacity, and by doubling, until something does not fit; then halves what is between.

    Args:
        needs: what a number needs, from 1.
        start: where to begin.
        bound: where to end at the latest.
        capacity_bytes: what is to be met.
        deadline: of the clock `time.process_time`.
        hint: the answer, as far as can be guessed.
    """
    known: dict[int, Need] = {}
    fitting, failing = 0, bound + 1
    number = min(start if hint is None else hint, bound)
    while failing - fitting > 1:
        if known and time.process_time() > deadline:
            return fitting or None, "time"
        known[number] = needs(number)
        if known[number].fits:
            fitting = number
        else:
            failing = number
        if hint is not None and len(known) == 1:
            guess = number + 1 if known[number].fits else number - 1
        elif failing <= bound:
            guess = (fitting + failing) // 2
            if sum(not need.fits for need in known.values()) == 1:  # the line came near, or doubling half as far
                guess = max(guess, failing - failing // 16 - 1)
        else:
            guess = min(_where_the_line_ends(known, fitting, capacity_bytes), LONGEST_LEAP * fitting)
        number = min(max(guess, fitting + 1), failing - 1)
    if not fitting:
        return None, "none"
    return fitting, "exact" if failing <= bound else "bound"


def _where_the_line_ends(known: dict[int, Need], fitting: int, capacity_bytes: int) -> int:
    """Where a line through the two largest known numbers meets the capacity; twice the largest if there is no line."""
    if len(known) > 1:
        low, high = sorted(known)[-2:]
        rise = known[high].num_bytes - known[low].num_bytes
        if rise > 0:
            return low + (capacity_bytes - known[low].num_bytes) * (high - low) // rise
    return 2 * fitting


def _need(history: History, workspace_bytes: int, capacity_bytes: int) -> Need:
    held = replay(history, workspace_bytes)
    fits = held.reserved_bytes <= capacity_bytes
    if not fits and held.allocated_bytes <= capacity_bytes:
        try:
            replay(history, workspace_bytes, capacity_bytes)
            fits = True
        except OutOfMemoryError:
            pass
    return Need(fits, held.allocated_bytes)


def _unit(case: Case, axis: Axis) -> int:
    """Truncated BPTT takes multiples of its length alone."""
    truncated = re.fullmatch(r"tbptt-(\d+)", case.rule)
    return int(truncated[1]) if axis == "timesteps" and truncated else 1


def _at(case: Case, axis: Axis, value: int) -> Case:
    match axis:
        case "batch_size":
            return replace(case, batch_size=value)
        case "timesteps":
            return replace(case, timesteps=value)
        case "depth":
            return replace(case, depth=value)
