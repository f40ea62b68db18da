"""The readings of many cases: predictions on all cores, measurements each in a fresh process of its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection

from revbench.bench.cases import Case
from revbench.bench.environment import num_usable_cpus
from revbench.bench.gate.reading import Reading, read
from revbench.bench.runner import describe_exit, interrupts_blocked, process_context

WORTH_A_PROCESS = 8
"""Predictions in the time that a process takes to start."""
END_S = 5.0


def read_all(cases: Sequence[Case], *, timeout_s: float, done: Callable[[Reading], None]) -> list[Reading]:
    """Reads every case, in order.

    Args:
        cases: all on the same device.
        timeout_s: how long a measurement may take.
        done: called after each.
    """
    found = []
    for reading in _predicted(cases) if cases and cases[0].device == "fake" else _measured(cases, timeout_s):
        done(reading)
        found.append(reading)
    return found


def _predicted(cases: Sequence[Case]) -> Iterator[Reading]:
    num_processes = min(num_usable_cpus(), len(cases) // WORTH_A_PROCESS)
    if num_processes < 2:
        yield from map(read, cases)
        return
    num_read = 0
    context = process_context("fake")
    with suppress(BrokenProcessPool), ProcessPoolExecutor(num_processes, context) as pool:
        with interrupts_blocked():
            readings = pool.map(read, cases)
        for reading in readings:
            yield reading
            num_read += 1
    # One of the processes crashed. By itself, each case tells whether it was the culprit.
    for case in cases[num_read:]:
        yield read_apart(case)


def _measured(cases: Sequence[Case], timeout_s: float) -> Iterator[Reading]:
    for case in cases:
        yield read_apart(case, timeout_s)


def read_apart(case: Case, timeout_s: float | None = None) -> Reading:
    """Reads a case in a fresh process, whose end is not that of this one."""
    context = process_context(case.device)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, case), daemon=True)
    with interrupts_blocked():
        process.start()
    theirs.close()
    try:
        if not ours.poll(timeout_s):
            return Reading(case=case, status="failed", detail=f"took longer than {timeout_s:g} s")
        reading: Reading = ours.recv()
        return reading
    except EOFError:
        process.join(END_S)
        return Reading(case=case, status="failed", detail=describe_exit(process.exitcode)[1])
    finally:
        process.kill()
        process.join()


def _answer(connection: Connection, case: Case) -> None:
    connection.send(read(case))
