"""Times of two versions: the judgement against brute force, turns, and two versions of a network in fresh processes."""

import statistics
from itertools import combinations
from math import comb
from pathlib import Path

import pytest

from revbench.bench.cases import Case
from revbench.bench.errors import ConfigError
from revbench.bench.gate import interleaved, timed_case, times
from revbench.bench.gate.finding import exit_code
from revbench.bench.gate.times import LEVEL, judge, num_rounds
from revbench.bench.gate.tolerances import Tolerance, parse_tolerance

CASE = Case(model="nets:build", timesteps=2, batch_size=2)
EFFECT: Tolerance = parse_tolerance("10%")
BEFORE = (1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06)
NETS = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


def p_value_by_counting(before: tuple[float, ...], now: tuple[float, ...]) -> float:
    """Of all ways to deal the samples to two versions, the share in which as many pairs or more are slower now."""
    pooled = [*before, *now]

    def num_slower(chosen: tuple[int, ...]) -> int:
        others = [value for index, value in enumerate(pooled) if index not in chosen]
        return sum(pooled[index] > other for index in chosen for other in others)

    ways = list(combinations(range(len(pooled)), len(now)))
    seen = num_slower(tuple(range(len(before), len(pooled))))
    return sum(num_slower(way) >= seen for way in ways) / len(ways)


@pytest.mark.parametrize(
    ("factor", "jitter", "num_cases", "verdict"),
    [
        (1.0, 0.001, 1, "same"),
        (1.07, 0.001, 1, "same"),  # beyond chance, and not beyond what matters
        (1.12, 0.001, 1, "grew"),
        (0.5, 0.001, 1, "same"),
        (1.12, 0.001, 30, "grew"),
        (1.12, 0.001, 100, "same"),  # so few samples cannot tell for so many cases
    ],
)
def test_a_judgement(factor: float, jitter: float, num_cases: int, verdict: str) -> None:
    """Slower beyond chance and beyond the effect; the p-value is that of the definition."""
    now = tuple(factor * each + jitter for each in BEFORE)
    found = judge(CASE, BEFORE, now, effect=EFFECT, num_cases=num_cases)
    assert found.verdict == verdict
    assert found.p_value == pytest.approx(p_value_by_counting(BEFORE, now))
    ratio = statistics.median(now) / statistics.median(BEFORE)
    assert f"({100 * (ratio - 1):+.1f} %)" in found.sentence()
    assert found.is_compared


def test_one_slow_minute_is_no_regression() -> None:
    """A median that is higher by far, for want of luck in half of the samples."""
    now = (1.005, 1.015, 1.025, 1.5, 1.6, 1.7, 1.8)
    found = judge(CASE, BEFORE, now, effect=EFFECT, num_cases=1)
    assert statistics.median(now) > 1.4
    assert found.verdict == "same"


def test_enough_rounds_for_every_case() -> None:
    """The test can reach the level of one of so many cases, with room to spare, and no more rounds than that."""
    assert [num_rounds(number) for number in (1, 3)] == [7, 7]
    for number in (10, 111, 1000):
        rounds = num_rounds(number)
        assert 10 / comb(2 * rounds, rounds) <= LEVEL / number
        assert rounds == 7 or 10 / comb(2 * rounds - 2, rounds - 1) > LEVEL / number


def test_versions_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each sample is a process, and neither version always comes first."""
    turns: list[str] = []

    def sample(_: Case, __: Path, *, is_other: bool, timeout_s: float) -> dict[str, object]:
        turns.append("other" if is_other else "this")
        return {"step_s": len(turns) * timeout_s, "is_of_folder": is_other}

    monkeypatch.setattr(interleaved, "_sample", sample)
    done: list[Case] = []
    [found] = interleaved.compare_times([CASE], tmp_path, effect=EFFECT, timeout_s=1, done=done.append)
    assert turns == ["other", "this", "this", "other"] * 3 + ["other", "this"]
    assert (len(found.before_s), len(found.now_s), done) == (7, 7, [CASE])
    assert found.verdict == "same"


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a network, and a folder `before` with another version of it; one round is enough."""
    monkeypatch.setattr(times, "MIN_ROUNDS", 1)
    monkeypatch.setattr(times, "SLACK", 0)
    (tmp_path / "before").mkdir()
    for folder in (tmp_path, tmp_path / "before"):
        (folder / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compared(folder: Path, timeout_s: float = 120) -> times.TimeComparison:
    """The case in the version of the folder and in this one."""
    [found] = interleaved.compare_times([CASE], folder, effect=EFFECT, timeout_s=timeout_s, done=lambda _: None)
    return found


def test_each_process_runs_its_version(versions: Path) -> None:
    """Two processes, of two files: the one of the other version has what this one has not."""
    (versions / "before" / "nets.py").write_text(NETS + "\nprint(1)\n", encoding="utf-8")
    found = compared(Path("before"))
    assert found.verdict == "same", found.sentence()
    assert all(second > 0 for second in (*found.before_s, *found.now_s))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise TypeError('no depth')", "the other version fails: TypeError: no depth"),
        ("import os; os.kill(os.getpid(), 6)", "the other version fails: the process crashed with SIGABRT"),
        ("import time; time.sleep(60)", "the other version took longer than 2 s"),
    ],
)
def test_a_version_that_fails_is_told(
    versions: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    """With its last words; the check goes on, and ends with 3."""
    (versions / "program.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(timed_case, "__file__", str(versions / "program.py"))
    found = compared(Path("before"), timeout_s=2)
    assert (found.sentence(), found.verdict, found.is_compared) == (expected, "failed", False)
    assert exit_code([found], strict=False) == 3


@pytest.mark.parametrize(
    ("is_of_folder", "expected"),
    [("True", "before is this version; install one "), ("False", "before holds nothing that nets:build imports; ")],
)
def test_a_folder_without_another_version_is_a_sentence(
    versions: Path, monkeypatch: pytest.MonkeyPatch, is_of_folder: str, expected: str
) -> None:
    """To compare a version with itself would be fine for ever."""
    (versions / "program.py").write_text(f"import json; print(json.dumps(dict(step_s=1, is_of_folder={is_of_folder})))")
    monkeypatch.setattr(timed_case, "__file__", str(versions / "program.py"))
    with pytest.raises(ConfigError, match=expected):
        compared(Path("before"))
    with pytest.raises(ConfigError, match="there is no folder nowhere with another version; "):
        compared(Path("nowhere"))
