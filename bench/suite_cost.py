r"""What a suite costs to run: the memory of its largest case, and time.

Where the suite was run here before, both are read from its records. Else they are estimated: of each model the largest
case whose trace takes seconds is traced on fake tensors, which tells its bytes, its multiply-accumulates (MAC) and its
operators, and a step of another case is taken to be in proportion:

$$s = n\, s_{operator} + MAC / v$$

with MAC in proportion to batch size, T, depth and the square of the width, operators n to depth. Two quick runs tell
how long an operator takes and how many MAC a second this machine does. Time is meant to tell minutes from hours: steps
that move much memory or compute little take longer than that, wide ones less.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from revbench.bench import timing
from revbench.bench.cases import Case, Device
from revbench.bench.energy.training import work_of_step
from revbench.bench.energy.windows import Plan
from revbench.bench.learning.measure import Recipe
from revbench.bench.memory.measure import WARM_UP_STEPS, trace
from revbench.bench.memory.timeline import peak
from revbench.bench.records import STATUS_METRIC, PassName, Record
from revbench.bench.runner import Job
from revbench.bench.store import finished
from revbench.bench.training import prepare, world

START_S = 1.0
"""A process of its own, with the network built in it."""
TRACED_OPERATOR_S = 1e-4
"""What the memory tracker adds to an operator."""
INFERENCE_SHARE = 1 / 3
"""Of a training step: the backward pass takes about two forward passes."""
NUM_TRAIN_DIGITS, NUM_TEST_DIGITS = 1437, 360
NUM_SIMILARITY_STEPS = 16
"""Gradients of four kinds, of four times the images of a usual batch, before training and after each epoch."""
NUM_REVERSIBILITY_STEPS = 6
SMALL = Case(model="msresnet", depth=1, width=4, timesteps=1, batch_size=1)
LARGE = Case(model="msresnet", depth=1, width=16, timesteps=4, batch_size=4)
NUM_TIMED_STEPS = 5
MOST_OPERATORS = 20_000
"""Of a step that is traced: some seconds."""


class TooManyOperatorsError(Exception):
    """To trace this step would take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a suite costs.

    Attributes:
        num_cases: that it measures.
        num_passes: over all cases.
        peak_bytes: of a training step of the largest case; None where that is not known. While time is taken, up to
            four cases are held at once.
        is_least_peak: whether larger cases were not looked at.
        run_s: seconds for all passes; None where that is not known.
        is_measured: whether the numbers are those of an earlier run.
    """

    num_cases: int
    num_passes: int
    peak_bytes: int | None = None
    is_least_peak: bool = False
    run_s: float | None = None
    is_measured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A training step of a case, traced."""

    case: Case
    peak_bytes: int
    macs: int
    num_operators: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a machine does.

    Attributes:
        operator_s: seconds that an operator takes whatever its size.
        macs_per_s: multiply-accumulates in a second.
        has_meter: whether the pass joules has something to read.
    """

    operator_s: float
    macs_per_s: float
    has_meter: bool

    def step_s(self, macs: float, num_operators: float) -> float:
        """Seconds of a step."""
        return num_operators * self.operator_s + macs / self.macs_per_s


def unknown_cost(jobs: Sequence[Job]) -> Cost:
    """The size of the suite alone."""
    return Cost(num_cases=len({case for case, _ in jobs}), num_passes=len(jobs))


def measured_cost(jobs: Sequence[Job], records: Sequence[Record], timeout_s: float) -> Cost | None:
    """What the jobs took where all of them were run; None where one is missing.

    Time is that between results; where longer than a pass may take, the run was interrupted.
    """
    keys = {(case.id, pass_name) for case, pass_name in jobs}
    if not keys <= finished(records):
        return None
    chosen = [record for record in records if (record.case.id, record.pass_name) in keys]
    ends = sorted(datetime.fromisoformat(record.at) for record in chosen if record.metric == STATUS_METRIC)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(ends)]
    usual_s = [gap for gap in gaps if gap <= timeout_s]
    peaks = [record.value for record in chosen if (record.metric, record.counter) == ("peak_bytes", "traced")]
    first_s = statistics.median(usual_s) if usual_s else 0.0  # no record tells when it began
    return replace(
        unknown_cost(jobs),
        peak_bytes=max((int(value) for value in peaks if value is not None), default=None),
        run_s=first_s + sum(usual_s),
        is_measured=True,
    )


def estimated_cost(jobs: Sequence[Job], steps: Mapping[str, Step], speed: Speed) -> Cost:
    """What the jobs will take about; cases of models that could not be traced count nothing but their start.

    Args:
        jobs: every pass over every case.
        steps: of each model its largest case, traced.
        speed: of this machine.
    """
    total_s = 0.0
    for case, pass_name in jobs:
        step = steps.get(case.model)
        total_s += START_S + (0.0 if step is None else _pass_s(case, pass_name, step, speed))
    return replace(
        unknown_cost(jobs),
        peak_bytes=max((step.peak_bytes for step in steps.values()), default=None),
        is_least_peak=any(_rank(case) > _rank(steps[case.model].case) for case, _ in jobs if case.model in steps),
        run_s=total_s if steps else None,
    )


def largest_step(cases: Iterable[Case]) -> Step | None:
    """Of cases of one model the one that needs most, as far as its fields tell, traced.

    Where its trace would take too long it is one of at most half the size, if there is one; BPTT and stored activations
    come before others. None where it cannot be traced: a rule that does not apply, a model of a plugin that fails.
    """
    left = sorted(cases, key=_rank, reverse=True)
    while left:
        largest = left[0]
        left = [case for case in left if 2 * _size(case) <= _size(largest)]
        try:
            return traced_step(largest, most_operators=MOST_OPERATORS if left else None)
        except TooManyOperatorsError:
            continue
        except Exception:  # models of plugins may fail in any way
            return None
    return None


def traced_step(case: Case, most_operators: int | None = None) -> Step:
    """Bytes, operations and operators of a training step, on fake tensors.

    Raises:
        NotImplementedError: the rule does not apply.
        TooManyOperatorsError: it has more than `most_operators`, if so many are given.
    """
    fake = replace(case, device="fake")
    with world(fake):
        training = prepare(fake)
        with _Counting() as counting, _checked_by_modules(counting, most_operators):
            training.warm_up(WARM_UP_STEPS)
        found = peak(trace(training))
        work = work_of_step(training)
    return Step(
        case=case,
        peak_bytes=found.total_bytes,
        macs=work.macs,
        num_operators=counting.num_operators // WARM_UP_STEPS,
    )


def speed_of(device: Device, *, has_meter: bool) -> Speed:
    """What this machine does, by a few training steps of a small and of a larger network."""
    small, large = (traced_step(case) for case in (SMALL, LARGE))
    small_s, large_s = (_timed_s(replace(case, device=device)) for case in (SMALL, LARGE))
    operator_s = small_s / small.num_operators
    left_s = max(large_s - large.num_operators * operator_s, 0.1 * large_s)
    return Speed(operator_s=operator_s, macs_per_s=large.macs / left_s, has_meter=has_meter)


def _timed_s(case: Case) -> float:
    training = prepare(case)
    training.warm_up(timing.WARM_UP_STEPS)
    return statistics.median(timing.timed_step(training) for _ in range(NUM_TIMED_STEPS))


@contextmanager
def _checked_by_modules(counting: "_Counting", most_operators: int | None) -> Iterator[None]:
    """Inside this block no module is called any more when there were too many operators.

    The mode itself must not raise: operators also run where torch cannot pass an exception on, and ends the process.
    """

    def check(*_: object) -> None:
        if most_operators is not None and counting.num_operators > most_operators:
            raise TooManyOperatorsError

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _rank(case: Case) -> tuple[float, ...]:
    return _size(case), case.rule == "bptt", case.activations != "recomputed"


def _size(case: Case) -> float:
    """In proportion to the MAC of a step."""
    return case.batch_size * case.timesteps * (case.depth or 1) * (case.width or 1) ** 2


def _pass_s(case: Case, pass_name: PassName, step: Step, speed: Speed) -> float:
    num_operators = step.num_operators * (case.depth or 1) / (step.case.depth or 1)
    step_s = speed.step_s(step.macs * _size(case) / _size(step.case), num_operators)
    num_traced = 1 + WARM_UP_STEPS
    tracing_s = num_traced * num_operators * TRACED_OPERATOR_S
    epochs_s = _epochs_s(case, step_s)
    seconds: dict[PassName, float] = {
        "memory": tracing_s + (0.0 if case.device == "fake" else num_traced * step_s),
        "operations": tracing_s,
        "time": _repeated_s(step_s),
        "inference_time": _repeated_s(INFERENCE_SHARE * step_s),
        "learning": epochs_s,
        "energy": epochs_s,
        "similarity": epochs_s + (Recipe().num_epochs + 1) * NUM_SIMILARITY_STEPS * step_s,
        "reversibility": NUM_REVERSIBILITY_STEPS * step_s,
        "joules": _metered_s(Plan()) if speed.has_meter else 0.0,
    }
    return seconds[pass_name]


def _repeated_s(once_s: float) -> float:
    repeated = min(max(timing.MIN_STEPS * once_s, timing.ENOUGH_S), timing.MAX_STEPS * once_s)
    return timing.WARM_UP_STEPS * once_s + repeated


def _epochs_s(case: Case, step_s: float) -> float:
    """Training on digits, and the test after every epoch."""
    steps = (NUM_TRAIN_DIGITS + INFERENCE_SHARE * NUM_TEST_DIGITS) / case.batch_size
    return Recipe().num_epochs * steps * step_s


def _metered_s(plan: Plan) -> float:
    """Two kinds of work, each between two windows of rest."""
    return 2 * (2 * (plan.settle_s + plan.window_s) + plan.warm_up_s + plan.num_windows * plan.window_s)


class _Counting(TorchDispatchMode):
    """Counts operators."""

    num_operators = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.num_operators += 1
        return func(*args, **(kwargs or {}))
