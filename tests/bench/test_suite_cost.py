"""What a suite costs: from the records of an earlier run, and estimated from traced steps."""

from dataclasses import replace
from typing import get_args

import closings
import pytest

from revbench.bench import suite_cost, timing
from revbench.bench.cases import Case
from revbench.bench.energy.training import training_work
from revbench.bench.learning.digits import digits_for
from revbench.bench.memory.predict import predict_peak
from revbench.bench.records import PassName, Record
from revbench.bench.run import jobs_of
from revbench.bench.runner import Job
from revbench.bench.suite_cost import (
    Cost,
    Speed,
    Step,
    TooManyOperatorsError,
    estimated_cost,
    largest_step,
    measured_cost,
    speed_of,
    traced_step,
    unknown_cost,
)
from revbench.models.networks.spiking import CIFAR

A, B = Case(model="a", depth=1), Case(model="b", depth=1)
JOBS = jobs_of([A, B], ("memory", "time"))
SPEED = Speed(operator_s=1e-3, macs_per_s=1e6, has_meter=False)
STEP = Step(case=A, peak_bytes=1000, macs=2_000_000, num_operators=500)


def ended(job: Job, second: int, peak_bytes: int = 0) -> list[Record]:
    """A pass that ended in that second of an hour."""
    case, pass_name = job
    at = f"2026-01-02T03:{second // 60:02}:{second % 60:02}.000000+00:00"
    last = replace(closings.closing(case, pass_name), at=at)
    peak = replace(last, metric="peak_bytes", value=peak_bytes, unit="B", counter="traced")
    return [peak, last] if peak_bytes else [last]


def test_an_earlier_run_tells_memory_and_time() -> None:
    """The largest peak, and the time between results; the first pass is taken to have lasted as the others did."""
    records = [*ended(JOBS[0], 10, 70), *ended(JOBS[1], 12, 90), *ended(JOBS[2], 16), *ended(JOBS[3], 20)]
    assert measured_cost(JOBS, records, timeout_s=60) == Cost(
        num_cases=2, num_passes=4, peak_bytes=90, run_s=14.0, is_measured=True
    )
    assert measured_cost(JOBS[:3], records, timeout_s=60) == Cost(
        num_cases=2, num_passes=3, peak_bytes=90, run_s=9.0, is_measured=True
    )


def test_an_interruption_is_not_counted() -> None:
    """What lasts longer between two results than a pass may was no pass."""
    records = [*ended(JOBS[0], 10), *ended(JOBS[1], 15), *ended(JOBS[2], 1000), *ended(JOBS[3], 1005)]
    found = measured_cost(JOBS, records, timeout_s=60)
    assert found is not None
    assert (found.run_s, found.peak_bytes) == (15.0, None)


def test_a_run_that_is_not_complete_tells_nothing() -> None:
    """One pass is missing; of one pass alone no time is known."""
    records = [record for i, job in enumerate(JOBS[:3]) for record in ended(job, i)]
    assert measured_cost(JOBS, records, timeout_s=60) is None
    found = measured_cost(JOBS[:1], ended(JOBS[0], 5), timeout_s=60)
    assert found is not None
    assert found.run_s == 0


@pytest.mark.parametrize(
    ("pass_name", "seconds"),
    [
        ("memory", 1 + 2 * (0.5 + 2.0) + 2 * 500 * 1e-4),
        ("operations", 1 + 2 * 500 * 1e-4),
        ("time", 1 + (timing.WARM_UP_STEPS + timing.MIN_STEPS) * 2.5),
        ("inference_time", 1 + (timing.WARM_UP_STEPS + timing.MIN_STEPS) * 2.5 / 3),
        ("learning", 1 + 8 * (1437 + 120) * 2.5),
        ("energy", 1 + 8 * (1437 + 120) * 2.5),
        ("similarity", 1 + (8 * (1437 + 120) + 9 * 16) * 2.5),
        ("reversibility", 1 + 6 * 2.5),
        ("joules", 1),
    ],
)
def test_the_time_of_each_pass(pass_name: PassName, seconds: float) -> None:
    """A process of its own, then as many steps as the pass runs."""
    assert SPEED.step_s(STEP.macs, STEP.num_operators) == pytest.approx(2.5)
    found = estimated_cost([(A, pass_name)], {"a": STEP}, SPEED)
    assert found.run_s == pytest.approx(seconds)
    assert (found.peak_bytes, found.is_measured) == (1000, False)


def test_every_pass_has_a_time() -> None:
    """None is forgotten, and joules take their windows where there is a meter."""
    metered = replace(SPEED, has_meter=True)
    for pass_name in get_args(PassName):
        assert (estimated_cost([(A, pass_name)], {"a": STEP}, metered).run_s or 0) > 1


def test_short_steps_are_repeated_for_some_seconds_and_predictions_compute_nothing() -> None:
    """As the timed passes do; a prediction takes the time of its operators alone."""
    short = replace(STEP, macs=0, num_operators=100)  # 0.1 s
    assert estimated_cost([(A, "time")], {"a": short}, SPEED).run_s == pytest.approx(1 + 0.2 + timing.ENOUGH_S)
    shorter = replace(STEP, macs=0, num_operators=10)
    assert estimated_cost([(A, "time")], {"a": shorter}, SPEED).run_s == pytest.approx(1 + 52 * 0.01)
    fake = replace(A, device="fake")
    assert estimated_cost([(fake, "memory")], {"a": STEP}, SPEED).run_s == pytest.approx(1.1)


def test_steps_are_in_proportion_to_the_traced_one() -> None:
    """Operations to batch, T, depth and the square of the width; operators to the depth."""
    large = Case(model="a", depth=4, width=16, timesteps=8, batch_size=4)
    step = Step(case=large, peak_bytes=1, macs=64_000_000, num_operators=400)
    small = replace(large, depth=1, width=8, timesteps=4, batch_size=2)  # a 64th of the operations
    assert estimated_cost([(small, "reversibility")], {"a": step}, SPEED).run_s == pytest.approx(1 + 6 * (1 + 0.1))


def test_models_that_could_not_be_traced_count_their_start() -> None:
    """Where none could be, nothing is known."""
    jobs: list[Job] = [(A, "reversibility"), (B, "reversibility")]
    assert estimated_cost(jobs, {"a": STEP}, SPEED).run_s == pytest.approx(2 + 15)
    assert estimated_cost(jobs, {}, SPEED) == unknown_cost(jobs) == Cost(num_cases=2, num_passes=2)


def test_of_each_model_the_largest_case_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By size, then BPTT before other rules, then stored before recomputed activations."""
    monkeypatch.setattr(suite_cost, "traced_step", lambda case, most_operators: replace(STEP, case=case))
    wide = Case(model="a", width=16, timesteps=2)
    long = Case(model="a", width=8, timesteps=7, activations="stored")
    others = [replace(long, rule="sltt"), replace(long, activations="recomputed"), long, replace(A, timesteps=1)]
    assert largest_step([*others, wide]) == replace(STEP, case=wide)
    assert largest_step(others) == replace(STEP, case=long)
    assert largest_step([]) is None


@pytest.mark.parametrize(("longest", "expected"), [(4, [16, 8, 4]), (0, [16, 8, 4, 2])])
def test_what_would_take_too_long_is_not_traced(
    monkeypatch: pytest.MonkeyPatch, longest: int, expected: list[int]
) -> None:
    """A case of at most half the size stands for it, the last however long it takes; the peak is at the least that."""
    tried: list[tuple[int, int | None]] = []

    def trace(case: Case, most_operators: int | None) -> Step:
        tried.append((case.timesteps, most_operators))
        if most_operators is not None and case.timesteps > longest:
            raise TooManyOperatorsError
        return replace(STEP, case=case)

    monkeypatch.setattr(suite_cost, "traced_step", trace)
    cases = [replace(A, timesteps=timesteps) for timesteps in (2, 4, 8, 15, 16)]
    step = largest_step(cases)
    assert step is not None
    assert step.case.timesteps == expected[-1]
    limits = [suite_cost.MOST_OPERATORS if timesteps > 2 else None for timesteps in expected]
    assert tried == list(zip(expected, limits, strict=True))
    jobs = jobs_of(cases, ("memory",))
    assert estimated_cost(jobs, {"a": step}, SPEED).is_least_peak
    assert not estimated_cost(jobs, {"a": replace(step, case=cases[-1])}, SPEED).is_least_peak


def test_a_trace_stops_where_it_would_take_too_long() -> None:
    """In the first step, and nothing of that is left behind."""
    case = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2)
    with pytest.raises(TooManyOperatorsError):
        traced_step(case, most_operators=10)
    assert traced_step(case).num_operators > 10


def test_models_that_fail_cannot_be_traced() -> None:
    """A rule that does not apply, for one."""
    assert largest_step([replace(A, model="trevsnn", rule="sltt")]) is None


def test_a_traced_step_knows_bytes_and_operations() -> None:
    """The bytes of a prediction, the operations of the operations pass, and more operators in a deeper network."""
    case = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2)
    step, deeper = traced_step(case), traced_step(replace(case, depth=2))
    assert step.peak_bytes == predict_peak(case).total_bytes
    assert step.macs == training_work(case).macs
    assert 100 < step.num_operators < deeper.num_operators < 2 * step.num_operators + 100


def test_the_speed_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """From two networks: an operator of the small one, and what is left for the operations of the large one."""
    seconds = iter([1.0] * suite_cost.NUM_TIMED_STEPS + [5.0] * suite_cost.NUM_TIMED_STEPS)
    monkeypatch.setattr(timing, "timed_step", lambda _: next(seconds))
    small, large = (traced_step(case) for case in (suite_cost.SMALL, suite_cost.LARGE))
    speed = speed_of("cpu", has_meter=True)
    assert speed.operator_s == 1 / small.num_operators
    assert speed.step_s(large.macs, large.num_operators) == pytest.approx(5)
    assert speed.has_meter


def test_digits_are_as_many_as_are_trained_on() -> None:
    """The constants are those of the split."""
    digits = digits_for(CIFAR, 1)
    assert len(digits.train_targets) == suite_cost.NUM_TRAIN_DIGITS
    assert len(digits.test_targets) == suite_cost.NUM_TEST_DIGITS
