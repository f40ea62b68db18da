"""The benchmark of joules prints what the pass finds, and why it finds nothing."""

from typing import Any

import pytest

from revbench.bench.benchmarks import joules
from revbench.bench.energy.joules import KINDS, unmetered
from revbench.bench.records import Measurement


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: list[Measurement]) -> list[str]:
    """The lines of the table and below, for a pass that finds this; three windows are asked for."""
    asked: list[Any] = []

    def joules_pass(case: Any, plan: Any) -> list[Measurement]:
        asked.append((case.model, case.timesteps, plan.num_windows))
        return found

    monkeypatch.setattr(joules, "joules_pass", joules_pass)
    joules.main(["--windows", "3", "net"])
    assert asked == [("net", 4, 3)]
    return capsys.readouterr().out.splitlines()[3:]


def test_what_was_metered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for training and one for inference, and the meter."""
    found = [
        Measurement(metric=f"{kind}_{name}", value=10 * row + column, unit="J", counter="rapl", detail="RAPL")
        for row, kind in enumerate(KINDS, start=1)
        for column, name in enumerate(joules.COLUMNS)
    ]
    training, inference, below = printed(monkeypatch, capsys, found)
    assert training.split() == ["net", "training", "10", "11", "12", "13", "14", "15"]
    assert inference.split() == ["net", "inference", "20", "21", "22", "23", "24", "25"]
    assert below == "Of one image, T = 4, batch 32; RAPL."


def test_what_was_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No numbers, and the reason."""
    training, _, below = printed(monkeypatch, capsys, unmetered("no counter here"))
    assert training.split() == ["net", "training", *["-"] * 6]
    assert below.endswith("no counter here.")
