"""Whether other processes want the same cores, and what follows for threads that wait for each other.

By default the threads of an operator wait for each other in a busy loop. On idle cores that is the fastest way, and
what any other training has; beside a busy process it is the slowest, since a thread may wait for one that is not
running. Threads that wait asleep suffer less there, but waking them takes longer than many an operator of a small
network does: on idle cores that makes rules of single timesteps look slow.
"""

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text

from revbench.bench.environment import num_usable_cpus, usable_cpus

WAIT_POLICY = "OMP_WAIT_POLICY"
STATISTICS = Path("/proc/stat")
SAMPLE_S = 0.25
BUSY_CORES = 0.3
"""Of all cores together: less is the system's own business."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """What some cores did since the system started, in the system's ticks."""

    busy: int
    idle: int


def sleep_beside_neighbours(console: Console) -> None:
    """Lets the threads of processes that are started from now on wait asleep if others keep the cores busy; says so.

    What the user chose (`OMP_WAIT_POLICY`) stays.
    """
    if WAIT_POLICY in os.environ or torch.get_num_threads() < 2:
        return
    busy = busy_cores()
    if busy is None or busy < BUSY_CORES:
        return
    os.environ[WAIT_POLICY] = "PASSIVE"
    told = (
        f" other processes keep {busy:.1f} of {num_usable_cpus()} cores busy, so times are not to be relied on; "
        f"threads wait asleep ({WAIT_POLICY}=PASSIVE), which such neighbours slow down least"
    )
    console.print(Text.assemble(("note:", "yellow"), told), soft_wrap=True)


def busy_cores(sample_s: float = SAMPLE_S) -> float | None:
    """How many of the usable cores others keep busy for so many seconds; None where the system does not tell."""
    cpus = usable_cpus()
    try:
        before = ticks(STATISTICS.read_text(encoding="ascii"), cpus)
        time.sleep(sample_s)
        after = ticks(STATISTICS.read_text(encoding="ascii"), cpus)
    except (OSError, ValueError):
        return None
    busy, idle = after.busy - before.busy, after.idle - before.idle
    return len(cpus) * busy / (busy + idle) if busy + idle > 0 else None


def ticks(statistics: str, cpus: Collection[int]) -> Ticks:
    """The ticks of some cores, as Linux tells them in `/proc/stat`: user, nice, system, idle, iowait, irq and so on.

    Raises:
        ValueError: the text is of another form.
    """
    names = {f"cpu{cpu}" for cpu in cpus}
    busy = idle = 0
    for line in statistics.splitlines():
        name, *fields = line.split()[:9]  # what follows, of guests, is part of user and nice
        if name in names:
            counts = [int(field) for field in fields]
            idle += sum(counts[3:5])
            busy += sum(counts) - sum(counts[3:5])
    return Ticks(busy, idle)
