"""A run and its folder: what is left to be measured, from where it goes on, and what each option leaves behind."""

import csv
import dataclasses
import errno
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from revbench.bench import command_run, environment
from revbench.bench.cases import Case
from revbench.bench.errors import OutputError
from revbench.bench.progress import RunProgress, finding
from revbench.bench.records import Measurement, PassName, Record
from revbench.bench.run import (
    SuiteNote,
    begin_or_continue,
    jobs_of,
    left_to_measure,
    of_cases,
    read_suite_note,
    write_suite_note,
)
from revbench.bench.runner import Outcome
from revbench.bench.store import RECORDS_NAME, RunStore, read_records

Command = Callable[..., "subprocess.CompletedProcess[str]"]
A, B, C = (Case(model=name) for name in "abc")
ROOT = Path(command_run.__file__).parent.parent
SMOKE = ("run", "--suite", "smoke", "--config", ROOT / "bench.toml", "--device", "cpu")
SMALL = ("--set", "depth=1", "--set", "passes=memory")
ENVIRONMENT = environment.capture("cpu")


def closing(records: list[Record]) -> list[Record]:
    """The rows that close a pass."""
    return [record for record in records if record.metric == "status"]


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run: the memory pass over both models at depth 1."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    request = command_run.Request(
        suite="smoke",
        overrides=SMALL[1::2],
        device="cpu",
        out=folder,
        formats=("svg",),
        config=ROOT / "bench.toml",
    )
    assert not command_run.run(request, Console(file=io.StringIO()))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, in a place of its own; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    """An open folder: the memory pass over A went well and over B did not."""
    with RunStore.open(tmp_path) as opened:
        opened.append(A, "memory", [Measurement(metric="peak_bytes", value=1, unit="B", counter="traced")])
        opened.append(B, "memory", status="oom")
        yield opened


def test_jobs_go_pass_by_pass() -> None:
    """All memory passes come first: they are exact, and soon there."""
    assert jobs_of([A, B], ("memory", "time")) == [(A, "memory"), (B, "memory"), (A, "time"), (B, "time")]


def test_cases_that_are_timed_against_each_other_are_neighbours() -> None:
    """In timed passes, those of one model first of all; other passes keep the order of the cases."""
    cases = [
        Case(model=model, activations=activations, timesteps=timesteps)
        for activations in ("recomputed", "stored")
        for timesteps in (1, 2)
        for model in ("a", "b")
    ]
    for name in ("time", "inference_time"):
        told = [(case.timesteps, case.model, case.activations) for case, _ in jobs_of(cases, (name,))]
        assert told == [(t, model, way) for t in (1, 2) for model in "ab" for way in ("recomputed", "stored")]
    assert [case for case, _ in jobs_of(cases, ("memory",))] == cases


@pytest.mark.parametrize(("retry", "expected"), [(False, [(A, "time")]), (True, [(B, "memory"), (A, "time")])])
def test_left_to_measure(store: RunStore, retry: bool, expected: list[tuple[Case, PassName]]) -> None:
    """What was finished is left out, failures too unless they are to be tried again."""
    todo: list[tuple[Case, PassName]] = [(B, "memory"), (A, "memory"), (A, "time")]
    assert left_to_measure(todo, read_records(store.records_path), retry=retry) == expected


def test_of_cases(store: RunStore) -> None:
    """A run reports its own jobs, in its own order, each with all of its rows in theirs."""
    records = read_records(store.records_path)
    mine = of_cases(records, [(C, "memory"), (B, "memory"), (A, "memory"), (A, "time")])
    assert [(record.case.model, record.metric) for record in mine] == [
        ("b", "status"),
        ("a", "peak_bytes"),
        ("a", "status"),
    ]
    assert of_cases(records, [(A, "time")]) == []


def test_a_new_folder_notes_its_environment(tmp_path: Path) -> None:
    """The first run writes what it runs on; one that has no records yet writes it again."""
    older = dataclasses.replace(ENVIRONMENT, torch="1.0")
    with RunStore.open(tmp_path) as store:
        for current in (older, ENVIRONMENT):
            assert begin_or_continue(store, current) == ([], [])
            assert environment.read_environment(store.environment_path) == current


def test_a_folder_goes_on_in_its_environment(store: RunStore) -> None:
    """What is not of machine and software may differ, other code is told, and the first environment stays."""
    begin_or_continue(store, ENVIRONMENT)
    now = dataclasses.replace(ENVIRONMENT, at="2030-01-01", python="3.99", omp_wait_policy="another")
    later = dataclasses.replace(now, git_commit="abc", git_dirty=None)
    records, changes = begin_or_continue(store, later)
    assert [record.case for record in closing(records)] == [A, B]
    assert [change.partition(" ")[0] for change in changes] == ["git", "git"]
    assert environment.read_environment(store.environment_path) == ENVIRONMENT


def test_a_folder_of_another_machine_is_refused(store: RunStore) -> None:
    """What can change a measurement may not: numbers of two machines in one table would be compared."""
    begin_or_continue(store, ENVIRONMENT)
    other = dataclasses.replace(ENVIRONMENT, torch="9.9", cpu="abacus")
    with pytest.raises(OutputError, match=r"was measured elsewhere \(.*torch .* -> 9\.9.*; choose .* --out.* --fresh"):
        begin_or_continue(store, other)


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Everything that a report says about a suite lies beside the records."""
    note = SuiteNote(name="s", title="Überschrift", claim="c", mirrors="m", counterparts={"a": "b"})
    write_suite_note(note, tmp_path)
    assert read_suite_note(tmp_path) == note


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"name": "x"}', "\udcff"])
def test_without_a_note_the_folder_names_the_run(tmp_path: Path, text: str | None) -> None:
    """A note that is missing, torn or of another version does not keep the records from being reported."""
    if text is not None:
        (tmp_path / "suite.json").write_bytes(text.encode(errors="surrogateescape"))
    assert read_suite_note(tmp_path) == SuiteNote(name=tmp_path.name, title=tmp_path.name)


def test_a_finished_run_is_not_measured_again(folder: Path, revbench: Command) -> None:
    """The same command measures nothing, says so, and draws the report."""
    before = (folder / RECORDS_NAME).read_bytes()
    (folder / "smoke.csv").unlink()
    again = revbench(*SMOKE, *SMALL, "--out", folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert "2 of 2 passes were measured before" in again.stdout
    assert (folder / RECORDS_NAME).read_bytes() == before
    assert len(read_csv(folder / "smoke.csv")) == 2


def test_a_torn_line_costs_one_pass(folder: Path, revbench: Command) -> None:
    """After a power cut in the middle of a line, the pass that it belongs to is measured again, and no other."""
    path = folder / RECORDS_NAME
    first, second = closing(read_records(path))
    path.write_bytes(path.read_bytes()[:-20])
    again = revbench(*SMOKE, *SMALL, "--out", folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert "1 of 2 passes were measured before" in again.stdout
    first_again, second_again = closing(read_records(path))
    assert first_again == first
    assert second_again.at > second.at
    assert dataclasses.replace(second_again, at=second.at) == second


def test_fresh_measures_again_and_keeps_the_old(folder: Path, revbench: Command) -> None:
    """`--fresh` renames what was there, even from another machine, and measures everything."""
    before = (folder / RECORDS_NAME).read_bytes()
    old = closing(read_records(folder / RECORDS_NAME))
    note = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(note | {"cpu": "abacus"}))
    refused = revbench(*SMOKE, *SMALL, "--out", folder)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {folder} was measured elsewhere (cpu abacus -> ")
    assert (folder / RECORDS_NAME).read_bytes() == before

    fresh = revbench(*SMOKE, *SMALL, "--out", folder, "--fresh")
    assert (fresh.returncode, fresh.stderr) == (0, "")
    assert "measured before" not in fresh.stdout
    new = closing(read_records(folder / RECORDS_NAME))
    assert [record.case for record in new] == [record.case for record in old]
    assert min(record.at for record in new) > max(record.at for record in old)
    [aside] = folder.glob("records-*.jsonl")
    assert aside.read_bytes() == before


def test_other_overrides_share_a_folder(folder: Path, revbench: Command) -> None:
    """A second run adds its cases, reports them alone, and leaves the first as they were."""
    before = (folder / RECORDS_NAME).read_bytes()
    second = revbench(*SMOKE, *SMALL, "--set", "batch_size=1", "--only", "model=msresnet", "--out", folder)
    assert (second.returncode, second.stderr) == (0, "")
    assert "measured before" not in second.stdout
    assert (folder / RECORDS_NAME).read_bytes().startswith(before)
    assert [record.case.batch_size for record in closing(read_records(folder / RECORDS_NAME))] == [2, 2, 1]
    assert [(row["model"], row["batch_size"]) for row in read_csv(folder / "smoke.csv")] == [("msresnet", "1")]


def test_failures_are_tried_again_when_asked(elsewhere: Path, revbench: Command) -> None:
    """A failure is a result: it is kept by default, and `--retry` measures it again and nothing else."""
    path = elsewhere / "runs" / "smoke" / RECORDS_NAME
    hasty = revbench(*SMOKE, *SMALL, "--set", "timeout_s=0.001", "--only", "model=msresnet")
    assert (hasty.returncode, hasty.stderr) == (3, "")
    mixed = revbench(*SMOKE, *SMALL)
    assert (mixed.returncode, mixed.stderr) == (3, "")
    failure, success = closing(read_records(path))
    assert (failure.case.model, failure.status, failure.detail) == ("msresnet", "timeout", "took longer than 0.001 s")
    assert (success.case.model, success.status) == ("revsresnet", "ok")

    retried = revbench(*SMOKE, *SMALL, "--retry")
    assert (retried.returncode, retried.stderr) == (0, "")
    assert "1 of 2 passes were measured before" in retried.stdout
    assert [record.status for record in closing(read_records(path))] == ["ok", "ok"]
    assert success in read_records(path)


def test_a_dry_run_leaves_no_trace(elsewhere: Path, revbench: Command) -> None:
    """`--dry-run` tells cases and estimates, and neither measures nor writes."""
    plan = revbench(*SMOKE, "--dry-run", "--limit", 3)
    assert (plan.returncode, plan.stderr) == (0, "")
    lines = [line for line in plan.stdout.splitlines() if line.endswith(" MiB")]
    assert [line.split()[0] for line in lines] == ["msresnet", "revsresnet", "msresnet"]
    assert "3 cases, passes over each: memory, time; nothing was measured" in plan.stdout
    assert list(elsewhere.iterdir()) == []


def test_an_estimate_that_fails_is_a_cell(elsewhere: Path, revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that cannot be traced without data does not keep the others from the plan."""

    def fail(case: Case) -> None:
        raise NotImplementedError(case.model)

    monkeypatch.setattr(command_run, "predict_peak", fail)
    plan = revbench(*SMOKE, "--dry-run", "--limit", 1)
    assert (plan.returncode, plan.stderr) == (0, "")
    assert "unsupported" in plan.stdout
    assert list(elsewhere.iterdir()) == []


def test_a_prediction_has_its_own_folder(elsewhere: Path, revbench: Command) -> None:
    """`--predict` traces fake tensors, in the memory pass alone; its numbers never lie among measured ones."""
    predicted = revbench(*SMOKE, "--predict", "--set", "depth=1", "--format", "svg")
    assert (predicted.returncode, predicted.stderr) == (0, "")
    assert [path.name for path in (elsewhere / "runs").iterdir()] == ["smoke-predicted"]
    records = read_records(elsewhere / "runs" / "smoke-predicted" / RECORDS_NAME)
    assert {record.case.device for record in records} == {"fake"}
    assert {record.pass_name for record in records} == {"memory"}
    assert {record.counter for record in records if record.unit == "B"} == {"traced"}
    assert [record.status for record in closing(records)] == ["ok", "ok"]


def test_a_prediction_counts_operations_where_the_suite_does(elsewhere: Path, revbench: Command) -> None:
    """Both are known without numbers; times are not."""
    sizes = ("--set", "depth=1", "--set", "timesteps=2", "--set", "width=4", "--set", "batch_size=1")
    predicted = revbench(
        "run", "-s", "complexity", *sizes, "--only", "model=msresnet", "--only", "rule=sltt", "--predict"
    )
    assert (predicted.returncode, predicted.stderr) == (0, "")
    records = read_records(elsewhere / "runs" / "complexity-predicted" / RECORDS_NAME)
    assert [(record.pass_name, record.status) for record in closing(records)] == [
        ("memory", "ok"),
        ("operations", "ok"),
    ]
    assert next(record.value for record in records if record.metric == "training_macs")


def test_figures_come_in_the_formats_asked_for(folder: Path, revbench: Command) -> None:
    """`--format` is what is drawn, and all that is announced."""
    for path in folder.glob("smoke.*"):
        path.unlink()
    drawn = revbench(*SMOKE, *SMALL, "--out", folder.name, "--format", "pdf")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert sorted(path.name for path in folder.glob("smoke.*")) == ["smoke.csv", "smoke.pdf"]
    assert (folder / "smoke.pdf").read_bytes().startswith(b"%PDF")
    assert drawn.stdout.count("run/smoke.pdf") == 2
    assert not re.search(r"smoke\.(png|svg)", drawn.stdout)


def test_a_page_is_drawn_where_it_is_asked_for(folder: Path, revbench: Command) -> None:
    """With what the run was measured with; a folder that lost its environment has a page that says so."""
    drawn = revbench("report", folder, "--format", "html,csv")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout.count("smoke.html") == 1
    page = (folder / "smoke.html").read_text(encoding="utf-8")
    assert "What it was measured with" in page
    (folder / "environment.json").unlink()
    again = revbench("report", folder, "--format", "html", "--out", folder / "elsewhere")
    assert (again.returncode, again.stderr) == (0, "")
    page = (folder / "elsewhere" / "smoke.html").read_text(encoding="utf-8")
    assert "What it was measured with" not in page
    assert "does not tell" in page


def test_a_copied_folder_reports_the_same(folder: Path, finished: Path, revbench: Command) -> None:
    """A report is a function of the records: elsewhere, and without its other files, it says the same."""
    for path in folder.iterdir():
        if path.name not in {RECORDS_NAME, "suite.json"}:
            path.unlink()
    drawn = revbench("report", folder, "--format", "svg", "--out", folder.parent / "drawn" / "again")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [RECORDS_NAME, "suite.json"]
    for name in ("smoke.csv", "records.csv"):
        assert (folder.parent / "drawn" / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_a_folder_in_use_is_refused(folder: Path, revbench: Command) -> None:
    """Two runs never write to one folder; the second is told which process has it."""
    with RunStore.open(folder):
        refused = revbench(*SMOKE, *SMALL, "--out", folder, "--fresh")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: process {os.getpid()} is writing to {folder} already; ")
    assert list(folder.glob("records-*.jsonl")) == []


def test_a_broken_record_is_a_sentence(folder: Path, revbench: Command) -> None:
    """A line in the middle that is no record is named, by `run` and by `report`."""
    path = folder / RECORDS_NAME
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    for arguments in ([*SMOKE, *SMALL, "--out", folder], ["report", folder]):
        refused = revbench(*arguments)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"error: {path} line 1 is not a record ")
        assert refused.stderr.count("\n") == 1


def test_a_disk_that_fills_up(small_disk: Path, revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a full disk ends in a sentence, what it measured can be read, and with room it goes on from there."""
    monkeypatch.chdir(small_disk.parent)
    arguments = [*SMOKE, "--set", "passes=memory", "--out", small_disk / "run", "--format", "svg"]
    full = revbench(*arguments)
    assert full.returncode == 2
    assert full.stderr == (
        f"error: cannot write {small_disk / 'run' / RECORDS_NAME}: the disk is full; "
        "free some space and run again, what was measured is kept\n"
    )
    kept = closing(read_records(small_disk / "run" / RECORDS_NAME))
    assert 1 <= len(kept) < 4
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    rest = revbench(*arguments)
    assert (rest.returncode, rest.stderr) == (0, "")
    records = closing(read_records(small_disk / "run" / RECORDS_NAME))
    assert len(records) == 4
    assert records[: len(kept)] == kept


def test_a_disk_that_is_full_from_some_row_on(
    elsewhere: Path, revbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where nobody may mount: the system refuses the second batch of rows."""
    write, batches = os.write, []
    path = elsewhere / "runs" / "smoke" / RECORDS_NAME

    def write_until_full(descriptor: int, data: bytes) -> int:
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            batches.append(data)
            if len(batches) > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_until_full)
        full = revbench(*SMOKE, *SMALL)
    assert full.returncode == 2
    assert full.stderr.startswith(f"error: cannot write runs/smoke/{RECORDS_NAME}: the disk is full; ")
    [kept] = closing(read_records(path))
    assert kept.case.model == "msresnet"


@pytest.mark.parametrize("taken", ["run", "run/records.jsonl", "run/lock", "run/suite.json", "run/environment.json"])
def test_something_in_the_way_is_a_sentence(elsewhere: Path, revbench: Command, taken: str) -> None:
    """A file where the folder should be, or a folder where a file should be, is told before anything is measured."""
    if taken == "run":
        (elsewhere / taken).touch()
    else:
        (elsewhere / taken).mkdir(parents=True)
    refused = revbench(*SMOKE, *SMALL, "--out", "run")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: cannot write ")
    assert "is in the way; move it or choose another folder" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "peak" not in refused.stdout


def test_a_report_that_cannot_be_written_loses_nothing(folder: Path, revbench: Command) -> None:
    """A folder where a table should be is a sentence; the records are as they were."""
    (folder / "smoke.csv").unlink()
    (folder / "smoke.csv").mkdir()
    before = (folder / RECORDS_NAME).read_bytes()
    refused = revbench("report", folder)
    assert (folder / RECORDS_NAME).read_bytes() == before
    assert refused.returncode == 2
    assert refused.stderr == (
        f"error: cannot write {folder / 'smoke.csv'}: a folder is in the way; move it or choose another folder\n"
    )


def outcome(**fields: object) -> Outcome:
    """An outcome of a case with a name that looks like markup."""
    return Outcome(case=Case(model="snn[/x] :warning:", batch_size=4), **{"pass_name": "memory", **fields})  # type: ignore[arg-type]


def test_what_was_found_is_a_line() -> None:
    """Sizes in MiB, activations for one image, times in ms; the allocator's figure where there is one."""
    memory = [
        Measurement(metric="peak_bytes", value=3 * 2**20, unit="B", counter="traced"),
        Measurement(metric="activation_peak_bytes", value=2**20, unit="B", counter="traced"),
    ]
    allocated = Measurement(metric="peak_bytes", value=4 * 2**20, unit="B", counter="cuda_allocated")
    time = [
        Measurement(metric="step_s", value=0.0125, unit="s"),
        Measurement(metric="images_per_s", value=2560, unit="1/s"),
    ]
    told = "peak 3.0 MiB, activations 0.25 MiB per image"
    assert finding(outcome(measurements=memory)).plain == told
    assert finding(outcome(measurements=[*memory, allocated])).plain == f"{told}, CUDA allocated 4.0 MiB"
    assert finding(outcome(pass_name="time", measurements=time)).plain == "step 12.5 ms, 2,560.0 images/s"
    assert finding(outcome(status="error", detail="no [bold]")).plain == "error no [bold]"


def test_what_a_similarity_pass_found_is_a_line() -> None:
    """The cosines of all parameters after the last epoch; what is no number is a dash."""
    found = [
        Measurement(metric=f"similarity_{kept}_epoch_{epoch}{layer}", value=value, unit="1")
        for kept, last in (("stage_ends", 0.96875), ("elsewhere", None), ("nowhere", -0.25))
        for epoch, layer, value in ((9, "", 0.5), (10, "", last), (10, "_layer_2", 0.75))
    ]
    found.append(Measurement(metric="test_accuracy", value=1, unit="1"))
    told = "gradient cosine 0.969 (stage ends), - (elsewhere), -0.250 (nowhere)"
    assert finding(outcome(pass_name="similarity", measurements=found)).plain == told


def test_energies_in_one_line() -> None:
    """What was counted, what one image takes dense, and what was metered or why not."""

    def told(pass_name: PassName, values: dict[str, float | None], detail: str = "") -> str:
        found = [Measurement(metric=m, value=value, unit="", detail=detail) for m, value in values.items()]
        return finding(Outcome(case=A, pass_name=pass_name, measurements=found)).plain

    counted = told("energy", {"acs": 3.264e6, "macs": 2.1e5, "operations_energy_j": 3.914e-6})
    assert counted == "3.26 million AC + 0.21 million MAC per image, 3.91 µJ at 45 nm"
    dense = told("operations", {"dense_macs": 1.6e7, "training_macs": 4.8e7})
    assert dense == "16 million MAC per image, 48 million in training"
    joules = {"training_net_j": 0.0123, "training_gross_j": 0.02, "inference_net_j": 0.004}
    assert told("joules", joules) == "training 0.0123 J per image, inference 0.004 J per image"
    assert told("joules", dict.fromkeys(joules), "no counter") == "not metered: no counter"
    assert told("joules", {**joules, "inference_net_j": None}, "too little") == (
        "training 0.0123 J per image, not metered: too little"
    )


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_one_bar(is_terminal: bool) -> None:
    """A terminal sees one bar with what was measured before; a file sees the findings alone; names stay names."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=100, emoji=False)
    first, second = outcome(status="oom"), outcome(status="error", detail="[/y]")
    with RunProgress([first.case], 1, 3, console) as progress:
        for found in (first, second):
            progress.starting((found.case, found.pass_name))
            progress.finished(found)
        progress._progress.refresh()
    shown = screen.getvalue()
    assert ("3/3" in shown) is is_terminal
    assert ("\x1b" in shown) is is_terminal
    assert shown.count("snn[/x] :warning:") >= 2
    assert "[/y]" in shown
    if is_terminal:
        last_frame = shown.rpartition("3/3")[2]
        assert "memory: snn[/x] :warning:" in last_frame
        assert len(progress._progress.tasks) == 1
