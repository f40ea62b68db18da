"""What runs in the process of one case: it prepares the training step and answers the runner's requests.

Messages to the runner are tuples: `("ready",)` once a timed case is warm, `("step_s", seconds)`,
`("found", measurements)`, `("failed", status, detail)`. The runner of a timed pass sends `step` for each step.
"""

import gc
import os
import signal
import threading
import traceback
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

import torch

import revbench.bench.memory.fake  # noqa: F401 - imported before the fork, so that no child has to
from revbench.bench.cases import Case
from revbench.bench.energy.checkpoint import CheckpointError
from revbench.bench.energy.choices import Choices
from revbench.bench.energy.joules import joules_pass
from revbench.bench.energy.measure import energy_pass
from revbench.bench.energy.meters import MeterError
from revbench.bench.energy.observe import UncountedError
from revbench.bench.energy.operations import operations_pass
from revbench.bench.errors import ConfigError, DivergedError
from revbench.bench.kept_pages import keep_freed_pages
from revbench.bench.learning.measure import learning_pass
from revbench.bench.memory.measure import memory_pass
from revbench.bench.records import PassName, Status
from revbench.bench.reversibility.measure import reversibility_pass
from revbench.bench.similarity.measure import similarity_pass
from revbench.bench.timing import TIMED_PASSES, WARM_UP_STEPS, timed_inference, timed_step
from revbench.bench.training import prepare, world

STEP = "step"
TOLD_IN_WORDS = (DivergedError, CheckpointError, UncountedError, MeterError, ConfigError)
"""Errors whose message is a sentence for the user."""
SIGNS_OF_WANT = ("allocate memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
"""How the CPU's allocator, the system, CUDA and its libraries say that memory ran out, in exceptions of other types."""


def work(connection: Connection, case: Case, pass_name: PassName, choices: Choices | None = None) -> None:
    """Runs one pass over one case and reports over the connection; never raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    keep_freed_pages()
    try:
        if pass_name == "memory":
            with world(case):
                connection.send(("found", memory_pass(prepare(case))))
        elif pass_name in TIMED_PASSES:
            _answer_steps(connection, case, pass_name)
        elif pass_name == "reversibility":
            connection.send(("found", reversibility_pass(case)))
        elif pass_name == "learning":
            connection.send(("found", learning_pass(case)))
        elif pass_name == "similarity":
            connection.send(("found", similarity_pass(case)))
        elif pass_name == "operations":
            connection.send(("found", operations_pass(case)))
        elif pass_name == "joules":
            connection.send(("found", joules_pass(case, choices)))
        else:
            connection.send(("found", energy_pass(case, choices=choices)))
    except BaseException as error:
        with suppress(OSError):  # the runner may be gone
            connection.send(("failed", *describe_failure(error)))


def _answer_steps(connection: Connection, case: Case, pass_name: PassName) -> None:
    training = prepare(case)
    timed = timed_step if pass_name == "time" else timed_inference
    if pass_name == "time":
        training.warm_up(WARM_UP_STEPS)
    else:
        for _ in range(WARM_UP_STEPS):
            timed(training)
    gc.collect()
    gc.disable()
    connection.send(("ready",))
    while _asked_for_step(connection):
        connection.send(("step_s", timed(training)))


def _asked_for_step(connection: Connection) -> bool:
    """Whether the runner wants another step; it closes the connection when it has enough."""
    try:
        return bool(connection.recv() == STEP)
    except (EOFError, OSError):
        return False


def describe_failure(error: BaseException) -> tuple[Status, str]:
    """Status and one line for an exception of a training step."""
    # What is not printable (line ends, control codes, halves of characters) would garble the terminal.
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(error)).split())
    told = any(sign in text for sign in SIGNS_OF_WANT)
    if told or isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "oom", _shortened(text) or "out of memory"
    if isinstance(error, NotImplementedError):
        return "unsupported", _shortened(text) or "not implemented"
    if isinstance(error, TOLD_IN_WORDS):
        return "error", text
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({os.path.basename(place[0].filename)}:{place[0].lineno})" if place else ""  # noqa: PTH119
    return "error", f"{type(error).__name__}: {_shortened(text)}{where}"


def _shortened(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _end_with_parent() -> None:
    """Ends this process when the runner is gone, even in the middle of a long step."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
