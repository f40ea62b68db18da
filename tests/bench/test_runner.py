"""The runner, with real processes: order, turns, limits, and every way in which a process can end."""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from revbench.bench import runner
from revbench.bench.cases import Case, Device
from revbench.bench.errors import OutputError, RevbenchError
from revbench.bench.records import Measurement, PassName, Record, Status
from revbench.bench.runner import (
    MAX_INTERLEAVED,
    SETTLE_S,
    CaseProcess,
    Job,
    Outcome,
    batches,
    comparison_key,
    describe_exit,
    process_context,
    run_jobs,
)
from revbench.bench.store import RunStore, read_records
from revbench.bench.timing import MAX_STEPS, MIN_STEPS

Log = Callable[[], list[str]]
GENEROUS_S = 120.0


@pytest.fixture
def log(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Puts the plugin on the path of the processes to come, and reads what its models note."""
    monkeypatch.syspath_prepend(str(plugin))
    path = plugin / "log"
    path.write_text("")
    return lambda: path.read_text(encoding="utf-8").splitlines()


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """However a test ends, it leaves no process."""
    yield
    assert multiprocessing.active_children() == []


def jobs(pass_name: PassName, *models: str, **fields: Any) -> list[Job]:
    """One pass over each of the models."""
    return [(Case(model=model, **fields), pass_name) for model in models]


def measured(folder: Path, todo: list[Job], timeout_s: float = GENEROUS_S) -> tuple[list[str], list[Record]]:
    """Runs jobs; what was started and finished in which order, and the closing records."""
    told: list[str] = []
    with RunStore.open(folder) as store:
        run_jobs(
            todo,
            store,
            timeout_s=timeout_s,
            starting=lambda job: told.append(f"> {job[0].model}"),
            finished=lambda outcome: told.append(f"{outcome.case.model}: {outcome.status}"),
        )
    return told, [record for record in read_records(store.records_path) if record.metric == "status"]


def test_memory_passes_are_alone_and_time_passes_together() -> None:
    """Neighbours in the time pass share a batch where they differ in model, rule and activations alone."""
    a, b = Case(model="a", depth=1), Case(model="b", depth=1, activations="stored", rule="ottt")
    deeper, wider = Case(model="a", depth=2), Case(model="a", depth=1, width=8)
    cases = [a, b, deeper, wider, a]
    todo: list[Job] = [(case, name) for name in ("memory", "time", "energy") for case in cases]
    assert batches(todo) == [
        *([(case, "memory")] for case in cases),
        [(a, "time"), (b, "time")],
        [(deeper, "time")],
        [(wider, "time")],
        [(a, "time")],  # no neighbour of the first
        *([(case, "energy")] for case in cases),
    ]


def test_steps_and_inferences_do_not_take_turns() -> None:
    """The last case of one timed pass is no neighbour of the first of the next."""
    todo = [*jobs("time", "a", "b"), *jobs("inference_time", "a", "b")]
    assert batches(todo) == [todo[:2], todo[2:]]


def test_no_more_than_fit_take_turns() -> None:
    """Processes under comparison share the memory: of many, a few live together at a time, in order."""
    todo = jobs("time", *"abcdefghi")
    assert [len(group) for group in batches(todo)] == [MAX_INTERLEAVED, MAX_INTERLEAVED, 9 - 2 * MAX_INTERLEAVED]
    assert [job for group in batches(todo) for job in group] == todo


def test_predictions_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are cores, whatever they predict; what is measured beside them stays alone."""
    monkeypatch.setattr(runner, "num_usable_cpus", lambda: 2)
    fakes = [*jobs("memory", "a", "b", device="fake"), *jobs("memory", "c", device="fake", depth=2)]
    real = jobs("memory", "a", "b")
    assert batches(fakes + real) == [fakes[:2], fakes[2:], real[:1], real[1:]]


def test_predictions_run_side_by_side_and_few_cases_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions are as many at once as there are cores; of many models under comparison, four take turns."""
    monkeypatch.setattr(runner, "num_usable_cpus", lambda: 3)
    fake = [Case(model=f"m{i}", device="fake") for i in range(5)]
    assert [len(batch) for batch in batches([(case, "memory") for case in fake])] == [3, 2]
    real = [Case(model=f"m{i}") for i in range(9)]
    assert [len(batch) for batch in batches([(case, "time") for case in real])] == [4, 4, 1]


def test_no_jobs_make_no_batches() -> None:
    """Nothing is not a batch of nothing."""
    assert batches([]) == []


@pytest.mark.parametrize(
    ("change", "is_compared"),
    [
        ({"model": "b"}, True),
        ({"rule": "ottt"}, True),
        ({"activations": "recomputed"}, True),
        ({"depth": 2}, False),
        ({"width": 2}, False),
        ({"timesteps": 2}, False),
        ({"batch_size": 2}, False),
        ({"dtype": "bfloat16"}, False),
        ({"optimizer": "adamw"}, False),
        ({"device": "cuda"}, False),
        ({"seed": 2}, False),
    ],
)
def test_comparison_key(change: dict[str, Any], is_compared: bool) -> None:
    """Model, rule and activations are compared; cases that differ in anything else are not."""
    assert (comparison_key(Case(model="a")) == comparison_key(Case(**{"model": "a", **change}))) is is_compared


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (-signal.SIGKILL, ("oom", "the system killed the process, most likely for want of memory")),
        (-signal.SIGSEGV, ("error", "the process crashed with SIGSEGV")),
        (-signal.SIGABRT, ("error", "the process crashed with SIGABRT")),
        (-40, ("error", "the process crashed with signal 40")),
        (7, ("error", "the process ended early with exit code 7")),
        (0, ("error", "the process ended early with exit code 0")),
        (None, ("error", "the process ended early with exit code None")),
    ],
)
def test_describe_exit(exit_code: int | None, expected: tuple[Status, str]) -> None:
    """Every exit has a status and a line, signals without a name too."""
    assert describe_exit(exit_code) == expected


def test_how_processes_are_started() -> None:
    """CUDA does not survive a fork: spawn for it, a server that forks for everything else."""
    methods = {device: process_context(device).get_start_method() for device in ("cpu", "fake", "cuda")}
    assert methods == {"cpu": "forkserver", "fake": "forkserver", "cuda": "spawn"}


def test_each_pass_has_a_process_of_its_own(tmp_path: Path, log: Log) -> None:
    """No two passes share a process, and none runs in this one."""
    names: tuple[PassName, ...] = ("memory", "time")
    told, _ = measured(tmp_path, [job for name in names for job in jobs(name, "notes_process")] * 2)
    assert told == ["> notes_process", "notes_process: ok"] * 4
    processes = list(dict.fromkeys(log()))
    assert len(processes) == 4
    assert str(os.getpid()) not in processes


def test_seeds_are_set(tmp_path: Path, log: Log) -> None:
    """Chance is the same for the same seed, in every generator, and another for another seed."""
    todo = [
        job
        for seed, timesteps in product((3, 4), (1, 2))
        for job in jobs("memory", "notes_chance", seed=seed, timesteps=timesteps)
    ]
    _, closings = measured(tmp_path, todo)
    assert [closing.case.seed for closing in closings] == [3, 3, 4, 4]
    first, again, other, other_again = log()[::2]  # of two steps each
    assert first == again != other == other_again
    numbers, others = (re.findall(r"[\d.]+", line) for line in (first, other))
    assert all(number != another for number, another in zip(numbers, others, strict=True))


@pytest.mark.parametrize("pass_name", ["time", "inference_time"])
def test_models_under_comparison_take_turns(tmp_path: Path, log: Log, pass_name: PassName) -> None:
    """Each warms up alone; from then on it is one step each, with a pause in which the other's threads fall asleep."""
    told, _ = measured(tmp_path, jobs(pass_name, "notes_a", "notes_b"))
    assert told == ["> notes_a", "> notes_b", "notes_a: ok", "notes_b: ok"]
    letters, moments = zip(*(line.split() for line in log()), strict=True)
    turns = re.fullmatch(r"aabb((?:ab)+)(a*|b*)", "".join(letters))
    assert turns is not None, letters
    assert MIN_STEPS <= len(turns[1]) / 2 <= MAX_STEPS
    pauses = [float(after) - float(before) for before, after in pairwise(moments[4 : 4 + len(turns[1])])]
    assert min(pauses) > SETTLE_S


def test_models_that_are_not_compared_do_not_take_turns(tmp_path: Path, log: Log) -> None:
    """Cases of different sizes are timed one after the other."""
    measured(tmp_path, jobs("time", "notes_a") + jobs("time", "notes_b", batch_size=2))
    assert re.fullmatch(r"a+b+", "".join(line[0] for line in log()))


def test_nothing_watches_while_timing(tmp_path: Path, log: Log) -> None:
    """No mode, hook, profiler or garbage collection is active in a timed step; the memory pass is what has them."""
    assert log() == []
    _, [timed] = measured(tmp_path, jobs("time", "hates_observers"))
    assert (timed.status, timed.detail) == ("ok", "")
    _, [_, traced] = measured(tmp_path, jobs("memory", "hates_observers"))
    assert traced.status == "error"
    assert traced.detail.startswith("RuntimeError: observed by dispatch modes, gradient hooks")


def test_out_of_memory_beside_others_is_tried_alone(tmp_path: Path, log: Log) -> None:
    """The models under comparison share the memory: what did not fit is measured once more when the others ended."""
    told, closings = measured(tmp_path, jobs("time", "needs_room", "tiny"))
    assert told == ["> needs_room", "> tiny", "tiny: ok", "> needs_room", "needs_room: ok"]
    assert log() == ["needs room"] * 2
    assert [(closing.case.model, closing.status) for closing in closings] == [("tiny", "ok"), ("needs_room", "ok")]


def test_out_of_memory_alone_is_the_result(tmp_path: Path, log: Log) -> None:
    """What does not fit alone is not tried again, and neither is another failure."""
    assert measured(tmp_path, jobs("time", "needs_room"))[0] == ["> needs_room", "needs_room: oom"]
    assert log() == ["needs room"]
    told, _ = measured(tmp_path, jobs("time", "is_killed", "raises", "tiny"))
    assert told[3:] == ["raises: error", "tiny: ok", "> is_killed", "is_killed: oom"]


@pytest.mark.usefixtures("log")
def test_a_prediction_that_fails_disturbs_no_other(tmp_path: Path) -> None:
    """Predictions that stand side by side end one by one, in order."""
    told, _ = measured(tmp_path, jobs("memory", "is_killed", "tiny", "raises", device="fake"))
    assert [line for line in told if ":" in line] == ["is_killed: oom", "tiny: ok", "raises: error"]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("pass_name", ["memory", "time"])
def test_a_step_without_end_is_stopped(tmp_path: Path, pass_name: PassName) -> None:
    """A time-out is a row, and what is measured beside it or after it does not suffer."""
    told, closings = measured(tmp_path, jobs(pass_name, "sleeps", "tiny"), timeout_s=6)
    assert [line for line in told if ":" in line] == ["sleeps: timeout", "tiny: ok"]
    assert closings[0].detail == "took longer than 6 s"


@pytest.mark.usefixtures("log")
def test_a_limit_beyond_the_clock_is_no_limit(tmp_path: Path) -> None:
    """A time-out of ages is longer than the system can wait at once."""
    assert measured(tmp_path, jobs("memory", "tiny"), timeout_s=1e300)[0] == ["> tiny", "tiny: ok"]


@pytest.mark.usefixtures("log")
def test_a_process_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model leaves running holds up nobody, and what was measured counts."""
    monkeypatch.setattr(runner, "END_S", 0.2)
    assert measured(tmp_path, jobs("memory", "lingers"))[0] == ["> lingers", "lingers: ok"]


@pytest.mark.usefixtures("log")
def test_an_interrupt_does_not_wait() -> None:
    """A step that would end soon is killed at once where the runner was interrupted: its process did not end itself."""
    process = CaseProcess(Case(model="naps"), "memory", timeout_s=GENEROUS_S)
    with pytest.raises(KeyboardInterrupt), process:
        raise KeyboardInterrupt
    assert process._process.exitcode == -signal.SIGKILL


@pytest.mark.usefixtures("log")
def test_what_cannot_be_stored_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk stops the run at the first row that it refuses, and no process stays behind."""
    told: list[str] = []

    def refuse(*_: object) -> None:
        raise OutputError("the disk is full")

    with RunStore.open(tmp_path) as store:
        monkeypatch.setattr(store, "append", refuse)
        with pytest.raises(OutputError, match="the disk is full"):
            run_jobs(
                jobs("time", "tiny", "tiny_too"),
                store,
                timeout_s=GENEROUS_S,
                starting=lambda job: told.append(job[0].model),
                finished=lambda outcome: told.append(outcome.status),
            )
    assert told == ["tiny", "tiny_too"]


@pytest.mark.parametrize("error", [OSError(11, "Resource temporarily unavailable"), EOFError()])
def test_a_process_that_cannot_be_started_is_a_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A machine without room for another process is the user's to mend."""

    def refuse() -> None:
        raise error

    monkeypatch.setattr(forkserver, "ensure_running", refuse)
    with pytest.raises(RevbenchError, match=r"^cannot start a process for tiny T=4 batch=1: .+; free some") as raised:
        CaseProcess(Case(model="tiny"), "memory", timeout_s=1).__enter__()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_runner_alone_is_interrupted(tmp_path: Path, log: Log, device: Device) -> None:
    """Ctrl-C reaches every process of a terminal; those that measure are deaf to it from their birth on."""
    _, [closing] = measured(tmp_path, jobs("memory", "refuses_to_be_built", device=device))
    assert (closing.status, closing.detail) == ("unsupported", "not today")
    assert log() == ["deaf"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.usefixtures("log")
def test_an_outcome_carries_what_was_found() -> None:
    """A memory pass over the smallest model: its numbers, and no complaint."""
    with CaseProcess(Case(model="tiny", batch_size=2), "memory", timeout_s=GENEROUS_S) as process:
        outcome = process.outcome()
    assert outcome == Outcome(
        case=Case(model="tiny", batch_size=2), pass_name="memory", measurements=outcome.measurements
    )
    assert Measurement(metric="num_parameters", value=170, unit="1") in outcome.measurements
