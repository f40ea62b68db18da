"""The benchmark of the models: what its rows say, that no network is forgotten, and when it fails."""

from dataclasses import replace

import pytest

from revbench.bench.benchmarks import models
from revbench.bench.benchmarks.limits import MB, MIB, Limit
from revbench.bench.benchmarks.models import REVERSIBLE, compared_with, limit_row, memory_rows, time_row
from revbench.bench.benchmarks.per_image import Activations, Network
from revbench.bench.benchmarks.step_ratio import StepRatio
from revbench.bench.cases import Case
from revbench.models import registry

TINY = Case(model="trevsnn_tiny")
SMALL = Case(model="revsresnet", depth=1, width=8, timesteps=2)
LIMIT = Limit(figure="a peak", network=Network(case=SMALL), unit_bytes=MIB, reference="28.3", limit=22)


def mebibytes(forward_end: float, peak: float) -> Activations:
    return Activations(forward_end_bytes=forward_end * MIB, peak_bytes=peak * MIB)


def test_every_reversible_network_of_the_papers_is_there() -> None:
    """All of the registry that have a fixed size, but for those that copy the published code's buffers."""
    reversible = {name for name, entry in registry.entries().items() if entry.reversible and not entry.family}
    assert {case.model for case in REVERSIBLE} == {name for name in reversible if not name.endswith("_published")}


def test_counterparts_are_those_of_the_registry() -> None:
    """All else equal; of T-RevSNN the same network with stored activations as well."""
    half = Case(model="revsresnet37", dtype="bfloat16")
    assert list(compared_with(half)) == [replace(half, model="msresnet34")]
    stored = replace(TINY, activations="stored")
    assert list(compared_with(TINY)) == [replace(TINY, model="msresnet34_imagenet"), stored]
    assert list(compared_with(Case(model="trevsnn_cifar"))) == [Case(model="trevsnn_cifar", activations="stored")]


def test_rows_of_memory() -> None:
    """Ratios are those of what it is compared with to the network itself, at each of the two instants."""
    counterpart, stored = compared_with(TINY)
    found = {
        Network(case=TINY): mebibytes(4, 20),
        Network(case=counterpart): mebibytes(10, 30),
        Network(case=stored): mebibytes(2, 1030),
    }
    assert list(memory_rows(found, TINY)) == [
        ("trevsnn_tiny", "4", "4.00", "", "20.00", ""),
        ("  msresnet34_imagenet", "4", "10.00", "2.50", "30.00", "1.50"),
        ("  the same, stored", "4", "2.00", "0.50", "1,030.00", "51.50"),
    ]


@pytest.mark.parametrize(("peak", "shown", "verdict"), [(22, "22.0", "yes"), (22.5, "22.5", "no")])
def test_row_of_a_limit(peak: float, shown: str, verdict: str) -> None:
    """Measured beside the limit, with the verdict; without a limit both are empty."""
    found = {Network(case=SMALL): mebibytes(0, peak)}
    assert limit_row(LIMIT, found) == ("a peak", "28.3", "22", shown, verdict)
    assert limit_row(replace(LIMIT, limit=None), found) == ("a peak", "28.3", "", shown, "")


def test_growth_has_three_digits() -> None:
    """Its limits have two."""
    found = {
        Network(case=replace(SMALL, timesteps=1)): Activations(forward_end_bytes=0, peak_bytes=0),
        Network(case=SMALL): Activations(forward_end_bytes=123456, peak_bytes=0),
    }
    growth = replace(LIMIT, since=1, unit_bytes=MB, limit=0.12)
    assert limit_row(growth, found) == ("a peak", "28.3", "0.12", "0.123", "no")


@pytest.mark.parametrize(("wall", "verdict"), [(1.4, "yes"), (1.41, "no")])
def test_row_of_time(wall: float, verdict: str) -> None:
    """The wall's ratio is held against the limit; the processors' stands beside it."""
    case = replace(TINY, batch_size=2, states="coded")
    ratio = StepRatio(case=case, step_s=1.2345, wall=wall, cpu=1.5)
    assert time_row(ratio) == ("trevsnn_tiny coded", "4", "2", "1,234", f"{wall:.2f}", "1.50", verdict)
    assert time_row(replace(ratio, case=SMALL))[0] == "revsresnet"


def test_the_benchmark_from_end_to_end_on_small_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints three tables and ends well where the limits are kept."""
    timed = replace(SMALL, batch_size=2, activations="recomputed")
    monkeypatch.setattr(models, "REVERSIBLE", (SMALL,))
    monkeypatch.setattr(models, "LIMITS", (LIMIT,))
    monkeypatch.setattr(models, "TIMED", ((timed,), (timed,)))
    assert models.main() == 0
    text = capsys.readouterr().out
    for title in (models.MEMORY_TITLE, models.LIMITS_TITLE, models.TIME_TITLE):
        assert " ".join(title.split()) in " ".join(text.split())
    rows = [line.split() for line in text.splitlines()]
    network, counterpart = (next(row for row in rows if row[:1] == [name]) for name in ("revsresnet", "msresnet"))
    assert float(counterpart[4]) / float(network[3]) > 1
    assert next(row for row in rows if row[:2] == ["a", "peak"])[:4] == ["a", "peak", "28.3", "22"]
    assert len([row for row in rows if row[:3] == ["revsresnet", "2", "2"]]) == 2


@pytest.mark.parametrize(("limit", "wall", "code"), [(22, 1.3, 0), (22, 9.9, 0), (21, 1.3, 1), (None, 1.3, 0)])
def test_a_missed_limit_on_memory_alone_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, wall: float, code: int
) -> None:
    """Time depends on the machine's other work and fails nothing."""
    found = {Network(case=case): mebibytes(1, 22) for case in (SMALL, *compared_with(SMALL))}
    monkeypatch.setattr(models, "REVERSIBLE", (SMALL,))
    monkeypatch.setattr(models, "LIMITS", (LIMIT, replace(LIMIT, limit=limit)))
    monkeypatch.setattr(models, "all_per_image", lambda _: found)
    monkeypatch.setattr(models, "all_step_ratios", lambda: [StepRatio(case=SMALL, step_s=1, wall=wall, cpu=1)])
    assert models.main() == code
