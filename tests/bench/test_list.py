"""`revbench list`: which tables, what suites cost here, and what wrong words are answered with."""

import json
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from revbench.bench import command_list, command_run
from revbench.bench.cases import Case
from revbench.bench.command_list import Request, duration_text, list_all
from revbench.bench.errors import ConfigError
from revbench.bench.suite_cost import Step

BENCH_TOML = """
[suites.tiny]
title = "Tiny networks"
claim = "They are tiny."
passes = ["memory"]
models = ["msresnet"]
depth = 1
width = 4
timesteps = [1, 2]

[suites.odd]
title = "Rules that do not apply"
claim = "They do not."
passes = ["memory"]
models = ["trevsnn"]
rule = "sltt"
depth = 1
width = 4
"""


@pytest.fixture(autouse=True)
def _suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench.toml").write_text(BENCH_TOML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def listed(request: Request) -> str:
    """What is printed, blanks joined."""
    console = Console(width=140, file=StringIO(), record=True)
    list_all(request, console)
    return "\n".join(" ".join(line.split()) for line in console.export_text().splitlines())


def test_all_tables_or_those_that_are_asked_for() -> None:
    """Without a choice all three, and suites with their claims; else only the chosen ones."""
    everything = listed(Request())
    assert all(word in everything for word in ("tiny Tiny networks. They are tiny.", "Models", "msresnet18", "sltt-K"))
    assert "cases" not in everything
    models = listed(Request(tables=["models"]))
    assert "msresnet18" in models
    assert all(word not in models for word in ("Suites", "Rules", "Tiny"))
    rules = listed(Request(tables=["rules", "models"]))
    assert rules.index("Models") < rules.index("Rules")
    assert "Suites" not in rules


def test_a_suite_tells_its_size_and_nothing_that_is_not_known() -> None:
    """Cases and passes; memory and time only where it was run."""
    table = listed(Request(tables=["suites"]))
    assert "tiny Tiny networks 2 2 - -" in table
    assert "odd Rules that do not apply 1 1 - -" in table
    assert "--costs estimates the others" in table
    assert "odd" not in listed(Request(suites=["tiny"]))


def test_an_earlier_run_tells_what_it_took() -> None:
    """Where it holds the whole suite and was measured on this machine."""
    console = Console(file=StringIO())
    command_run.run(command_run.Request(suite="tiny", formats=(), limit=1), console)
    assert "tiny Tiny networks 2 2 - -" in listed(Request(suites=["tiny"]))
    command_run.run(command_run.Request(suite="tiny", formats=()), console)
    found = listed(Request(suites=["tiny"]))
    assert "tiny Tiny networks 2 2 - -" not in found
    assert "tiny Tiny networks 2 2 " in found
    assert " s\n" in found
    assert "--costs" not in found
    path = Path("runs/tiny/environment.json")
    environment = json.loads(path.read_text())
    path.write_text(json.dumps(environment | {"cpu": "another"}))
    assert "tiny Tiny networks 2 2 - -" in listed(Request(suites=["tiny"]))


def test_costs_are_estimated_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each model from a traced case; where a rule does not apply nothing is known."""
    asked: list[list[str]] = []

    def trace(cases: Iterable[Case]) -> Step | None:
        asked.append([case.label() for case in cases])
        case = Case(model="msresnet", depth=1, width=4, timesteps=1)
        return None if len(asked[-1]) == 1 else Step(case=case, peak_bytes=3 * 2**20, macs=1000, num_operators=10)

    monkeypatch.setattr(command_list, "largest_step", trace)
    found = listed(Request(costs=True))
    assert asked == [
        ["msresnet depth=1 width=4 T=1 batch=1", "msresnet depth=1 width=4 T=2 batch=1"],
        ["trevsnn sltt depth=1 width=4 T=4 batch=1"],
    ]
    assert "tiny Tiny networks 2 2 >3 ~2 s" in found  # a smaller case than the largest was traced
    assert "odd Rules that do not apply 1 1 - -" in found
    assert "~ estimated" in found


def test_an_unknown_suite_is_a_sentence() -> None:
    """With the nearest name."""
    with pytest.raises(ConfigError, match="there is no suite 'tinny'; did you mean 'tiny'"):
        listed(Request(suites=["tinny"], costs=True))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3540, "59 min"), (5400, "1.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    """In the unit in which a person would say them."""
    assert duration_text(seconds) == text
