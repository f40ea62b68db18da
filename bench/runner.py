"""Runs the cases of a suite, each in a fresh process of its own, and stores what they find as it comes.

Memory passes run one after the other; predictions side by side. Timed passes of the cases under comparison (equal but
for model, rule and activations) are interleaved: their processes stay alive together and take turns, one step each, so
that a slow minute of the machine hits all of them. While one steps, the others sleep.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from revbench.bench import timing
from revbench.bench.cases import Case, Device
from revbench.bench.energy.choices import Choices
from revbench.bench.environment import num_usable_cpus
from revbench.bench.errors import RevbenchError
from revbench.bench.records import Measurement, PassName, Status
from revbench.bench.store import RunStore
from revbench.bench.worker import STEP, work

MAX_INTERLEAVED = 4
"""How many cases under comparison share the memory of the machine while they take turns."""
SETTLE_S = 0.01
"""The pause before a turn, for users who choose busy waiting: the threads of OpenMP then spin for some milliseconds
after a step, on the cores of the next process, and small steps took twice as long beside others as alone."""
END_S = 5.0
"""How long a process may take to end after it was told to."""
LONGEST_WAIT_S = 2e6
"""The system's timers count milliseconds in 32 bits."""
NO_CHOICES = Choices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one pass over one case ended."""

    case: Case
    pass_name: PassName
    measurements: Sequence[Measurement] = ()
    status: Status = "ok"
    detail: str = ""


Listener = Callable[[Outcome], None]
Job = tuple[Case, PassName]


def run_jobs(
    jobs: Sequence[Job],
    store: RunStore,
    *,
    timeout_s: float,
    starting: Callable[[Job], None],
    finished: Listener,
    choices: Choices = NO_CHOICES,
) -> None:
    """Measures all jobs and appends what they find to the store.

    Args:
        jobs: in the order to be measured; neighbours under comparison are interleaved in timed passes.
        store: where records go, as soon as a pass over a case has ended.
        timeout_s: limit of one pass over one case; for interleaved cases, of each of them in turn.
        starting: called before a pass over a case begins.
        finished: called after its records are stored.
        choices: for all passes.

    Raises:
        OutputError: the records could not be written.
    """
    for group in batches(jobs):
        for outcome in _measure(group, timeout_s=timeout_s, starting=starting, choices=choices):
            store.append(outcome.case, outcome.pass_name, outcome.measurements, outcome.status, outcome.detail)
            finished(outcome)


def batches(jobs: Iterable[Job]) -> list[list[Job]]:
    """Jobs whose processes live together.

    Neighbours under comparison in a timed pass; predictions, which nothing disturbs, as many as there are cores;
    else each job alone.
    """
    grouped: list[list[Job]] = []
    for (_, size), neighbours in groupby(jobs, key=_kinship):
        together = list(neighbours)
        grouped += [together[i : i + size] for i in range(0, len(together), size)]
    return grouped


def _kinship(job: Job) -> tuple[object, int]:
    """What neighbours must share to live together, and how many of them may."""
    case, pass_name = job
    if pass_name in timing.TIMED_PASSES:
        return (pass_name, comparison_key(case)), MAX_INTERLEAVED
    return pass_name, num_usable_cpus() if case.device == "fake" else 1


def comparison_key(case: Case) -> Case:
    """Equal for cases under comparison: the case without model, rule, activations and states."""
    return replace(case, model="", rule="", activations=None, states=None)


def _measure(
    jobs: list[Job], *, timeout_s: float, starting: Callable[[Job], None], choices: Choices
) -> Iterator[Outcome]:
    if jobs[0][1] not in timing.TIMED_PASSES:
        with ExitStack() as stack:
            processes = []
            for job in jobs:
                starting(job)
                processes.append(stack.enter_context(CaseProcess(*job, timeout_s=timeout_s, choices=choices)))
            for process in processes:
                yield process.outcome()
        return
    out_of_memory = []
    for outcome in _measure_interleaved(jobs, timeout_s=timeout_s, starting=starting):
        if outcome.status == "oom" and len(jobs) > 1:
            out_of_memory.append((outcome.case, outcome.pass_name))
        else:
            yield outcome
    # The cases shared the memory; what did not fit beside the others may fit alone.
    for job in out_of_memory:
        yield from _measure_interleaved([job], timeout_s=timeout_s, starting=starting)


def _measure_interleaved(jobs: list[Job], *, timeout_s: float, starting: Callable[[Job], None]) -> Iterator[Outcome]:
    with ExitStack() as stack:
        processes = []
        for job in jobs:
            starting(job)
            process = stack.enter_context(CaseProcess(*job, timeout_s=timeout_s))
            process.await_ready()
            processes.append(process)
        while running := [process for process in processes if not process.ended]:
            for process in running:
                if len(running) > 1:
                    time.sleep(SETTLE_S)
                process.time_one_step()
        for process in processes:
            yield process.outcome()


@dataclass
class CaseProcess:
    """One case in a process of its own, from the runner's side."""

    case: Case
    pass_name: PassName
    timeout_s: float
    choices: Choices = NO_CHOICES
    step_seconds: list[float] = field(default_factory=list)
    _failure: tuple[Status, str] | None = None
    _spent_s: float = 0.0

    def __enter__(self) -> "CaseProcess":
        context = process_context(self.case.device)
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=work,
            args=(theirs, self.case, self.pass_name, self.choices),
            daemon=True,
            name=f"revbench {self.case.label()}",
        )
        self._start()
        theirs.close()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._connection.close()
        self._process.join(END_S if error is None and self._failure is None else 0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        try:
            with interrupts_blocked():
                if self.case.device == "cuda":
                    self._process.start()
                    return
                forkserver.ensure_running()
            self._process.start()
        except (OSError, EOFError) as error:
            reason = f"{error}" or "its server ended"
            raise RevbenchError(
                f"cannot start a process for {self.case.label()}: {reason}; "
                "free some memory or processes and run again, what was measured is kept"
            ) from error

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to time."""
        return self._failure is not None or timing.enough(self.step_seconds)

    def await_ready(self) -> None:
        """Waits until a timed case is warm."""
        self._receive("ready")

    def time_one_step(self) -> None:
        """Has one step run and notes how long it took."""
        try:
            self._connection.send(STEP)
        except OSError:
            self._fail_with_exit()
            return
        answer = self._receive("step_s")
        if answer is not None:
            self.step_seconds.append(answer[0])

    def outcome(self) -> Outcome:
        """What the pass found, or how it failed."""
        found: Sequence[Measurement] = ()
        if self.pass_name in timing.TIMED_PASSES and self._failure is None:
            found = timing.time_measurements(self.step_seconds, self.case.batch_size, self.pass_name)
        elif self._failure is None:
            answer = self._receive("found")
            found = answer[0] if answer is not None else ()
        status, detail = self._failure or ("ok", "")
        return Outcome(case=self.case, pass_name=self.pass_name, measurements=found, status=status, detail=detail)

    def _receive(self, expected: str) -> tuple[Any, ...] | None:
        """The next message's content if it is the expected one; else notes the failure."""
        begin = time.monotonic()
        try:
            in_time = self._connection.poll(min(max(0.0, self.timeout_s - self._spent_s), LONGEST_WAIT_S))
            self._spent_s += time.monotonic() - begin
            if not in_time:
                self._failure = ("timeout", f"took longer than {self.timeout_s:g} s")
                self._process.kill()
                return None
            kind, *content = self._connection.recv()
        except (EOFError, OSError):
            self._fail_with_exit()
            return None
        if kind == "failed":
            self._failure = (content[0], content[1])
            return None
        assert kind == expected, f"the process of {self.case.label()} answered {kind}, not {expected}"
        return tuple(content)

    def _fail_with_exit(self) -> None:
        self._process.join(END_S)
        self._failure = describe_exit(self._process.exitcode)


def describe_exit(exit_code: int | None) -> tuple[Status, str]:
    """Status and detail of a process that ended without an answer."""
    if exit_code == -signal.SIGKILL:
        return "oom", "the system killed the process, most likely for want of memory"
    if exit_code is not None and exit_code < 0:
        known = {number.value: number.name for number in signal.Signals}
        return "error", f"the process crashed with {known.get(-exit_code, f'signal {-exit_code}')}"
    return "error", f"the process ended early with exit code {exit_code}"


def process_context(device: Device) -> SpawnContext | ForkServerContext:
    """How processes are started: spawned where CUDA is used, else forked from a server that has torch loaded."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # The optimizers would import torch._dynamo in every process anew.
    context.set_forkserver_preload(["torch._dynamo", "revbench.bench.worker", "revbench.bench.cli"])
    return context


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes started inside this block never see Ctrl-C, which a terminal sends to all; the runner answers it."""
    resource_tracker.ensure_running()  # unblocks them when it is started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
