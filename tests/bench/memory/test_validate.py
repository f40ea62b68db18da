"""`revbench validate` with measurements that the test made up: what an error consists of, and who misses the goal."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from closings import AT, closing
from rich.console import Console

from revbench.bench import command_validate
from revbench.bench import device as devices
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.command_validate import Predicted, comparisons, groups
from revbench.bench.gpu import Gpu
from revbench.bench.memory.history import Held
from revbench.bench.memory.validate import comparison
from revbench.bench.memory.zoo import zoo
from revbench.bench.records import Counter, Record, Status
from revbench.bench.runner import Outcome

MIB = 1 << 20
CASE = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2, device="cuda")
HELD = Held(
    requested_bytes=100 * MIB,
    rounded_bytes=101 * MIB,
    allocated_bytes=104 * MIB,
    reserved_bytes=120 * MIB,
    workspace_bytes=20 * MIB,
)


def records(case: Case, measured: dict[Counter, int], status: Status = "ok", detail: str = "") -> list[Record]:
    """Those of a memory pass."""
    common = {"case": case, "pass_name": "memory", "at": AT}
    rows = [
        Record(
            metric="peak_bytes",
            value=value,
            unit="B",
            counter=counter,
            status="ok",
            detail="",
            **common,  # type: ignore[arg-type]
        )
        for counter, value in measured.items()
    ]
    return [*rows, closing(case, "memory", status, detail)]


def test_an_error_is_divided() -> None:
    """What is allocated is tensors, workspaces, rounding and what is unexplained, to the byte."""
    measured: dict[Counter, int] = {"cuda_allocated": 105 * MIB, "cuda_requested": 102 * MIB, "traced": 79 * MIB}
    row = comparison(CASE, 80 * MIB, HELD, records(CASE, measured))
    assert (row.rounding_bytes, row.workspace_bytes, row.unexplained_bytes) == (4 * MIB, 20 * MIB, MIB)
    assert row.tensors_bytes + row.rounding_bytes + row.workspace_bytes + row.unexplained_bytes == 105 * MIB
    assert row.unexplained_share == 1 / 105
    less = comparison(CASE, 80 * MIB, HELD, records(CASE, measured | {"cuda_allocated": 103 * MIB}))
    assert less.unexplained_bytes == -MIB
    assert less.unexplained_share == 1 / 103


def test_a_case_that_failed_has_no_error() -> None:
    """But a status and its reason."""
    row = comparison(CASE, 80 * MIB, HELD, records(CASE, {}, "oom", "too much"))
    assert (row.unexplained_bytes, row.unexplained_share, row.status, row.detail) == (None, None, "oom", "too much")


def reported(predicted: Sequence[Predicted], rows: Sequence[Record], folder: Path) -> tuple[str, bool]:
    console = Console(file=io.StringIO(), width=120)
    failed = command_validate.report(predicted, rows, folder, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split()), failed


def test_the_table_says_whether_the_goal_is_met(tmp_path: Path) -> None:
    """1 % of the measured allocated peak; the CSV has every part in bytes."""
    other = replace(CASE, rule="sltt")
    predicted = [Predicted(CASE, 80 * MIB, HELD), Predicted(other, 80 * MIB, HELD)]
    near = records(CASE, {"cuda_allocated": 104 * MIB + 512, "cuda_reserved": 130 * MIB})
    said, failed = reported(predicted[:1], near, tmp_path)
    assert not failed
    assert "at most 5e-04 % (msresnet depth=1 width=4 T=2 batch=2); the goal is 1.00 %, all 1 cases meet it." in said
    far = records(other, {"cuda_allocated": 130 * MIB})
    said, failed = reported(predicted, [*near, *far], tmp_path)
    assert not failed
    assert "at most 20.00 % (msresnet sltt depth=1" in said
    assert "1 of 2 cases leave more unexplained." in said
    with (tmp_path / "validation.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["case_id"] == CASE.id
    assert int(first["unexplained_bytes"]) == 512
    assert int(second["unexplained_bytes"]) == 26 * MIB
    assert (first["measured_reserved_bytes"], second["measured_reserved_bytes"]) == (str(130 * MIB), "")
    assert int(first["predicted_reserved_bytes"]) == 120 * MIB


def test_a_case_that_failed_is_told_and_counts(tmp_path: Path) -> None:
    """One that the rule does not apply to does not."""
    predicted = [Predicted(CASE, 80 * MIB, HELD)]
    said, failed = reported(predicted, records(CASE, {}, "error", "RuntimeError: lost"), tmp_path)
    assert failed
    assert "error: RuntimeError: lost" in said
    assert "Nothing was measured" in said
    assert not reported(predicted, records(CASE, {}, "unsupported", "not this"), tmp_path)[1]


def test_what_was_not_measured_yet_is_left_out() -> None:
    """And so are other passes."""
    predicted = [Predicted(CASE, 80 * MIB, HELD), Predicted(replace(CASE, seed=1), 80 * MIB, HELD)]
    rows = records(CASE, {"cuda_allocated": MIB})
    assert [row.case for row in comparisons(predicted, rows)] == [CASE]
    assert comparisons(predicted, [replace(row, pass_name="time") for row in rows]) == []


def test_without_a_gpu_there_is_a_sentence(revbench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With exit code 2, and nothing is written."""
    monkeypatch.setattr(devices, "_cuda_is_available", lambda: False)
    done = revbench("validate", "--out", tmp_path / "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "revbench validate measures on a GPU and torch finds none here" in " ".join(done.stderr.split())
    assert not (tmp_path / "x").exists()


def test_small_cases_are_measured_together_and_large_ones_alone() -> None:
    """In the order in which they come."""
    small = [Predicted(replace(CASE, seed=seed), MIB, HELD) for seed in range(5)]
    big = Predicted(CASE, MIB, replace(HELD, reserved_bytes=2 << 30))
    sizes = [[each.held.reserved_bytes for each in group] for group in groups([*small[:2], big, *small[2:]])]
    assert sizes == [[2 << 30], [120 * MIB] * 4, [120 * MIB]]


def test_the_zoo_is_every_model_under_every_rule() -> None:
    """Each case once."""
    entries = Catalog().entries.values()
    cases = zoo(entries, "cuda")
    assert len(set(cases)) == len(cases)
    families = {entry.name for entry in entries if entry.family}
    for rule in ("bptt", "sltt", "ottt_a", "ottt_o", "tbptt-2", "sltt-2"):
        assert {case.model for case in cases if case.rule == rule} >= families
    assert {case.model for case in cases} >= {"revsresnet109", "sdt8_768", "trevsnn_small"}


def replayed(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[Case]:
    """A machine on which every case is measured as `outcome` says; returns what was measured."""
    asked: list[Case] = []

    def measured(cases: Sequence[Case]) -> Any:
        asked.extend(cases)
        return [outcome(case) for case in cases]

    monkeypatch.setattr(devices, "_cuda_is_available", lambda: True)
    monkeypatch.setattr(command_validate, "first_visible_gpu", lambda: Gpu("H", 80 << 30, "9.0", "1"))
    monkeypatch.setattr(command_validate, "measured", measured)
    monkeypatch.setattr(command_validate.environments, "capture", lambda device: _environment())
    return asked


def _environment() -> Any:
    from revbench.bench import environment

    return environment.capture("cpu")


def found(case: Case, beyond: float) -> Outcome:
    """A measurement that is so much above its prediction."""
    from revbench.bench.memory.history import replay
    from revbench.bench.memory.predict import predict
    from revbench.bench.records import Measurement

    allocated = replay(predict(case).history, 32 << 20).allocated_bytes
    peak = Measurement(metric="peak_bytes", value=int(allocated * (1 + beyond)), unit="B", counter="cuda_allocated")
    traced = Measurement(metric="peak_bytes", value=1, unit="B", counter="traced")
    activations = Measurement(metric="activation_peak_bytes", value=1, unit="B", counter="traced")
    return Outcome(case=case, pass_name="memory", measurements=[peak, traced, activations])


def test_measured_and_gone_on(revbench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the command to the table; a second time nothing is measured again."""
    capture = _environment()
    asked = replayed(monkeypatch, lambda case: found(case, 0.005))
    monkeypatch.setattr(command_validate.environments, "capture", lambda device: capture)
    arguments = (
        "validate",
        "--out",
        tmp_path / "run",
        "--only",
        "model=nfresnet",
        "--only",
        "optimizer=sgd",
        "--limit",
        2,
    )
    done = revbench(*arguments)
    assert done.returncode == 0, done.stderr
    assert [case.model for case in asked] == ["nfresnet", "nfresnet"]
    assert "all 2 cases meet it" in " ".join(done.stdout.split())
    assert (tmp_path / "run" / "validation.csv").exists()
    again = revbench(*arguments)
    assert again.returncode == 0
    assert len(asked) == 2
    assert "all 2 cases meet it" in " ".join(again.stdout.split())


def test_a_failed_measurement_ends_with_its_exit_code(
    revbench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """3; and what is left when the time given is used up is told."""
    capture = _environment()
    asked = replayed(monkeypatch, lambda case: Outcome(case=case, pass_name="memory", status="error", detail="lost"))
    monkeypatch.setattr(command_validate.environments, "capture", lambda device: capture)
    arguments = ("validate", "--out", tmp_path / "run", "--only", "nfresnet depth", "--limit", 1)
    late = revbench(*arguments, "--limit-s", 0)
    assert (late.returncode, asked) == (0, [])
    assert "The time given was used up; the same command goes on" in " ".join(late.stdout.split())
    done = revbench(*arguments)
    assert done.returncode == 3
    assert "error: lost" in done.stdout


def test_cases_are_measured_in_processes_of_their_own() -> None:
    """At the same time; what one finds is not the other's, and a failure is its own."""
    cases = [replace(CASE, device="cpu", batch_size=size) for size in (1, 2)]
    outcomes = list(command_validate.measured([*cases, replace(cases[0], model="trevsnn", rule="sltt")]))
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "unsupported"]
    first, second = ({m.metric: m.value for m in outcome.measurements}["peak_bytes"] for outcome in outcomes[:2])
    assert first is not None
    assert second is not None
    assert 0 < first < second


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(revbench: Any, tmp_path: Path) -> None:
    """The whole command, with counters that can be believed."""
    done = revbench("validate", "--out", tmp_path, "--only", "model=msresnet", "--limit", 1)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "validation.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert int(row["measured_allocated_bytes"]) >= int(row["measured_requested_bytes"]) > 0
    assert int(row["traced_bytes"]) == pytest.approx(int(row["predicted_tensors_bytes"]), rel=0.2)
