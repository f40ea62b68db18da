"""Ratios of step times: turns, clocks and medians; how long steps take is for the benchmark to say."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from revbench.bench.benchmarks.step_ratio import StepRatio, StepTime, in_turns, ratio, step_ratios, timed
from revbench.bench.cases import Case

CASE = Case(model="trevsnn", depth=1, width=8, timesteps=2, batch_size=2, activations="recomputed", states="coded")


def test_trainings_take_turns() -> None:
    """One step each, round after round; each gets its own times."""
    order: list[str] = []

    def count(training: Any) -> StepTime:
        order.append(training)
        return StepTime(wall_s=len(order), cpu_s=0)

    trainings: Any = ["stored", "coded"]
    times = in_turns(trainings, 3, count)
    assert order == ["stored", "coded"] * 3
    assert [[step.wall_s for step in steps] for steps in times] == [[1, 3, 5], [2, 4, 6]]


def test_a_step_is_timed_by_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each clock is read before and after the one step."""
    clock = {"wall": 10.0, "cpu": 100.0}

    def step() -> None:
        clock["wall"] += 2.0
        clock["cpu"] += 3.5

    monkeypatch.setattr(time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["cpu"])
    training: Any = SimpleNamespace(device=torch.device("cpu"), step=step)
    assert timed(training) == StepTime(wall_s=2.0, cpu_s=3.5)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """A slow round slows both of its steps, so the median of ratios is 2 here, and the ratio of medians 2.5."""
    subject = [StepTime(wall_s=wall, cpu_s=2 * wall) for wall in (2.0, 20.0, 5.0)]
    reference = [StepTime(wall_s=wall, cpu_s=4 * wall) for wall in (1.0, 10.0, 2.0)]
    assert ratio(CASE, subject, reference) == StepRatio(case=CASE, step_s=5.0, wall=2.0, cpu=1.0)


def test_each_case_stands_beside_stored_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps really run, of one stored network and of the cases as they are; a clock that ticks once a look goes 1:1."""
    ran: list[Case] = []

    def tick(training: Any) -> StepTime:
        ran.append(training.case)
        training.step()
        return StepTime(wall_s=3.0 if training.case.activations == "recomputed" else 2.0, cpu_s=1.0)

    monkeypatch.setattr("revbench.bench.benchmarks.step_ratio.timed", tick)
    inverted = Case(**{**CASE.as_dict(), "states": "inverted"})
    stored = Case(**{**CASE.as_dict(), "activations": "stored", "states": None})
    found = step_ratios([CASE, inverted])
    assert found == [StepRatio(case=case, step_s=3.0, wall=1.5, cpu=1.0) for case in (CASE, inverted)]
    assert ran[:3] == [stored, CASE, inverted]
