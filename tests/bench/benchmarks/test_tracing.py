"""What the benchmark of the tracker counts; how fast it is, is no test."""

from dataclasses import replace

import pytest
import torch

from revbench.bench.benchmarks import tracing
from revbench.bench.benchmarks.tracing import Speed, count_operators, speed
from revbench.bench.cases import Case
from revbench.bench.training import prepare, world

CASE = Case(model="msresnet", depth=1, width=4, timesteps=1, batch_size=1, device="fake")


def test_operators_are_those_that_compute_or_show() -> None:
    """Real and fake steps have as many, though torch asks fake tensors where they are."""
    counts = []
    for case in (CASE, replace(CASE, device="cpu")):
        with world(case):
            training = prepare(case)
            training.warm_up(1)
            counts.append(count_operators(training))
    assert counts[0] == counts[1] > 100


def test_a_speed_is_found() -> None:
    """All of it positive."""
    found = speed(CASE, num_repeats=1)
    assert found.num_operators > 100
    assert min(found.case_s, found.operator_s, found.attributed_s) > 0


@pytest.mark.parametrize(
    ("operator_s", "case_s", "is_kept"), [(150e-6, 15, True), (151e-6, 1, False), (1e-6, 15.1, False)]
)
def test_limits(
    operator_s: float,
    case_s: float,
    is_kept: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both count, and the exit code says so."""
    found = Speed(num_operators=10, case_s=case_s, operator_s=operator_s, attributed_s=1.0)
    monkeypatch.setattr(tracing, "speed", lambda case: found)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    with pytest.raises(SystemExit) as end:
        tracing.main()
    assert bool(end.value.code) is not is_kept
    assert ("NOT KEPT" in capsys.readouterr().out) is not is_kept
