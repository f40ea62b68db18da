"""What recomputation costs in time: steps with recomputed over steps with stored activations, the same weights.

They take turns step by step in one process, so that a slow minute of the machine hits all of them.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from revbench.bench.cases import Case
from revbench.bench.timing import WARM_UP_STEPS, timed_step
from revbench.bench.training import Training, prepare

NUM_ROUNDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """What one training step took.

    Attributes:
        wall_s: by the clock on the wall.
        cpu_s: of all processors together, which other processes on the machine move less.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRatio:
    """A case beside the same weights with stored activations.

    Attributes:
        case: with recomputed activations.
        step_s: median wall time of its step.
        wall: median over the rounds of its wall time over that of the stored activations.
        cpu: the same of the processors' time.
    """

    case: Case
    step_s: float
    wall: float
    cpu: float


def step_ratios(cases: Sequence[Case]) -> list[StepRatio]:
    """The ratios of cases that differ in their states alone, with one network of stored activations beside them."""
    stored = replace(cases[0], activations="stored", states=None)
    trainings = [prepare(case) for case in (stored, *cases)]
    for training in trainings:
        training.warm_up(WARM_UP_STEPS)
    gc.collect()
    reference, *subjects = in_turns(trainings, NUM_ROUNDS, timed)
    return [ratio(case, subject, reference) for case, subject in zip(cases, subjects, strict=True)]


def in_turns(
    trainings: Sequence[Training], num_rounds: int, timed: Callable[[Training], StepTime]
) -> list[list[StepTime]]:
    """The times of `num_rounds` steps of each, one step each in turn."""
    rounds = [[timed(training) for training in trainings] for _ in range(num_rounds)]
    return [list(times) for times in zip(*rounds, strict=True)]


def timed(training: Training) -> StepTime:
    """Runs one step."""
    cpu_before_s = time.process_time()
    wall_s = timed_step(training)
    return StepTime(wall_s=wall_s, cpu_s=time.process_time() - cpu_before_s)


def ratio(case: Case, subject: Sequence[StepTime], reference: Sequence[StepTime]) -> StepRatio:
    """Medians of the ratios of the steps that stand beside each other."""
    pairs = list(zip(subject, reference, strict=True))
    return StepRatio(
        case=case,
        step_s=statistics.median(step.wall_s for step in subject),
        wall=statistics.median(step.wall_s / beside.wall_s for step, beside in pairs),
        cpu=statistics.median(step.cpu_s / beside.cpu_s for step, beside in pairs),
    )
