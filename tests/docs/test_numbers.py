"""The page that says what each number means knows every metric that a record may hold."""

import itertools
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from own_plugins import own_plugins

import revbench
from revbench.bench import timing
from revbench.bench.cases import Case
from revbench.bench.energy.joules import metered
from revbench.bench.energy.measure import energy_pass
from revbench.bench.energy.meters import ReplayMeter
from revbench.bench.energy.operations import operations_pass
from revbench.bench.energy.windows import Plan, Stopwatch
from revbench.bench.learning.measure import Recipe, learning_pass
from revbench.bench.memory.measure import memory_pass
from revbench.bench.memory.timeline import KINDS
from revbench.bench.records import PASSES, STATUS_METRIC, Measurement
from revbench.bench.reversibility.measure import reversibility_pass
from revbench.bench.similarity.metric import KEPT, SimilarityMetric
from revbench.bench.training import prepare

PAGE = (Path(revbench.__file__).resolve().parent / "docs" / "numbers.md").read_text(encoding="utf-8")
CASE = Case(model="msresnet", depth=1, width=8, timesteps=2, batch_size=2)
TREVSNN = Case(model="trevsnn", depth=1, width=8, timesteps=2, batch_size=2, states="inverted")
REVSRESNET = Case(model="revsresnet", depth=1, width=8, timesteps=2, batch_size=2)
NEEDS_A_GPU = {"process_bytes"}


def documented() -> set[str]:
    """The names in the first column of the tables of metrics."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {*KINDS}


def pattern(name: str) -> re.Pattern[str]:
    """What a documented name stands for: a word in capitals is any word."""
    return re.compile(re.sub(r"[A-Z]+", r"\\w+", name))


def joules() -> list[Measurement]:
    """Of a meter and a clock that go on by themselves."""
    clock = itertools.count(0.0, 5.0)
    watch = Stopwatch(clock=lambda: next(clock), sleep=lambda _: None)
    readings = [float(reading) for reading in itertools.accumulate([50, 1000] * 10)]
    return metered(prepare(CASE), ReplayMeter(readings), Plan(num_windows=3), watch)


@cache
def recorded() -> dict[str, frozenset[str]]:
    """The metrics of each pass."""

    def found() -> Iterator[tuple[str, list[Measurement]]]:
        yield "memory", memory_pass(prepare(CASE))
        for name in timing.TIMED_PASSES:
            yield name, timing.time_measurements([1.0, 2.0, 3.0], 2, name)
        yield "operations", operations_pass(CASE)
        yield "joules", joules()
        yield "reversibility", reversibility_pass(TREVSNN) + reversibility_pass(REVSRESNET)
        with own_plugins():
            from little_spiking import register_all

            register_all()
            little = Case(model="little", timesteps=2, batch_size=64)
            yield "energy", energy_pass(little, Recipe(num_epochs=1))
            yield "learning", learning_pass(little, Recipe(num_epochs=1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        metrics = {name: frozenset(each.metric for each in measurements) for name, measurements in found()}
    names = (SimilarityMetric(kept, 1, layer).name for kept in KEPT for layer in (None, 2))
    return metrics | {"similarity": frozenset({*names, "test_accuracy"})}


def test_every_pass_is_looked_at() -> None:
    """A new pass needs a section, and a line here."""
    assert set(recorded()) == set(PASSES)
    assert all(recorded().values())


@pytest.mark.parametrize("pass_name", PASSES)
def test_every_metric_is_explained(pass_name: str) -> None:
    """By its name, or by a pattern with words in capitals."""
    patterns = [pattern(name) for name in documented()]
    assert [each for each in sorted(recorded()[pass_name]) if not any(p.fullmatch(each) for p in patterns)] == []


def test_every_explained_metric_exists() -> None:
    """None is left of something that was renamed."""
    known = {metric for metrics in recorded().values() for metric in metrics} | NEEDS_A_GPU
    assert len(documented()) > 60
    assert [name for name in sorted(documented()) if not any(pattern(name).fullmatch(each) for each in known)] == []
    assert f"`{STATUS_METRIC}`" in PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained(kind: str) -> None:
    """In the table of kinds."""
    assert re.search(rf"^\| `.*`{kind}`|^\| `{kind}`", PAGE, re.MULTILINE)
