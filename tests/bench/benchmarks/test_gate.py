"""What the benchmark of the gate traces; how long it takes, is no test."""

from pathlib import Path

import pytest

import revbench
from revbench.bench.benchmarks import gate
from revbench.bench.cases import Case
from revbench.bench.gate.baseline import read_baseline

TINY = Case(model="vggbn", depth=1, width=4, timesteps=1, batch_size=1, device="fake")


def test_the_zoo_is_what_the_baseline_holds() -> None:
    """The very cases of `make gate`."""
    baseline = read_baseline(Path(revbench.__file__).parent / "tests" / "baseline.json")
    assert set(gate.zoo()) == {reading.case for reading in baseline.readings}


def test_a_case_that_cannot_be_traced_has_no_time() -> None:
    """A zoo with less work would be fast."""
    assert gate.seconds([TINY]) > 0
    with pytest.raises(RuntimeError, match=r"nosuch .*cannot be traced"):
        gate.seconds([TINY, Case(model="nosuch", device="fake")])


@pytest.mark.parametrize(("taken_s", "said", "code"), [(59.0, "60 s: kept", 0), (61.0, "NOT KEPT", 1)])
def test_the_limit(
    taken_s: float, said: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says what the sentence says."""
    monkeypatch.setattr(gate, "seconds", lambda cases: taken_s)
    with pytest.raises(SystemExit) as end:
        gate.main()
    assert int(end.value.code or 0) == code
    out = capsys.readouterr().out
    assert said in out
    assert out.startswith("132 cases traced")
