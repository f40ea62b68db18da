"""Rules beside each other; how long their steps take is for the benchmark to say."""

from typing import Any

import pytest

from revbench.bench.benchmarks import rules
from revbench.bench.benchmarks.step_ratio import StepTime
from revbench.bench.cases import Case

CASE = Case(model="vggbn", depth=1, width=4, timesteps=2, batch_size=2)
STEP_S = {"bptt": 2.0, "sltt": 3.0, "sltt-1": 1.5, "ottt_a": 4.5}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rules whose steps were run, each step taking what `STEP_S` says."""
    names: list[str] = []

    def known(training: Any) -> StepTime:
        training.step()
        names.append(training.case.rule)
        step_s = STEP_S[training.case.rule]
        return StepTime(wall_s=step_s, cpu_s=2 * step_s)

    monkeypatch.setattr(rules, "timed", known)
    return names


def test_each_limit_compares_its_two_rules(ran: list[str]) -> None:
    """Every rule is run once a round, whatever the number of limits that name it, and each ratio is of its own two."""
    found = rules.rule_ratios(CASE)
    assert ran == ["sltt", "bptt", "sltt-1", "ottt_a"] * rules.NUM_ROUNDS
    assert [(limit.rule, limit.beside) for limit in found] == [("sltt", "bptt"), ("sltt-1", "sltt"), ("ottt_a", "sltt")]
    assert [ratio.wall for ratio in found.values()] == [1.5, 0.5, 1.5]
    assert [ratio.step_s for ratio in found.values()] == [3.0, 1.5, 4.5]
    assert [ratio.case.rule for ratio in found.values()] == ["sltt", "sltt-1", "ottt_a"]


def test_the_table_shows_every_ratio_beside_its_limit(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a model and limit, with T and the batch."""
    monkeypatch.setattr(rules, "CASES", (CASE,))
    monkeypatch.setenv("COLUMNS", "120")
    rules.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("vggbn")]
    assert lines == [
        ["vggbn", "2", "2", "sltt", "/", "bptt", "3.000", "1.50", "1.50", "1.0"],
        ["vggbn", "2", "2", "sltt-1", "/", "sltt", "1.500", "0.50", "0.50", "0.5"],
        ["vggbn", "2", "2", "ottt_a", "/", "sltt", "4.500", "1.50", "1.50", "1.5"],
    ]
