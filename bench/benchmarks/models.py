"""What the project promises for its models: memory beside their counterparts, limits, and the price in time.

Run with `python -m revbench.bench.benchmarks.models`; it ends with exit code 1 where a limit on memory is missed.
Memory is traced on fake tensors, so that it needs no GPU and says the same on every machine.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench.benchmarks.limits import LIMITS, MIB, Limit
from revbench.bench.benchmarks.per_image import BATCH_SIZES, Activations, Network, all_per_image
from revbench.bench.benchmarks.step_ratio import NUM_ROUNDS, StepRatio, step_ratios
from revbench.bench.cases import Case
from revbench.bench.runner import interrupts_blocked, process_context
from revbench.models import registry

Found = Mapping[Network, Activations]

REVERSIBLE = (
    *(Case(model=f"revsresnet{layers}") for layers in (21, 37, 109)),
    *(Case(model=f"revsformer{depth}_384") for depth in (2, 4)),
    *(
        Case(model=model, timesteps=timesteps)
        for model in ("revsresnet24_event", "revsformer2_256_event")
        for timesteps in (10, 16)
    ),
    Case(model="trevsnn_tiny"),
    Case(model="trevsnn_small"),
    Case(model="trevsnn_small", dtype="bfloat16"),
    Case(model="trevsnn_tiny_event", timesteps=8),
    Case(model="trevsnn_cifar"),
)
"""The reversible networks of the papers, in their sizes."""

TIMED = (
    (Case(model="revsresnet21", batch_size=8, activations="recomputed"),),
    (Case(model="revsresnet37", batch_size=8, activations="recomputed"),),
    (Case(model="revsformer4_384", batch_size=8, activations="recomputed"),),
    (
        Case(model="trevsnn_tiny", batch_size=2, activations="recomputed", states="coded"),
        Case(model="trevsnn_tiny", batch_size=2, activations="recomputed", states="inverted"),
    ),
)
"""Groups of cases that take turns beside one network with stored activations."""

LONGEST_STEP_RATIO = 1.4
MEMORY_TITLE = "Activations of reversible networks and what they are compared with, MiB per image, traced"
MEMORY_HEADERS = ("network", "T", "end of\nforward", "ratio", "peak", "ratio")
MEMORY_NOTE = (
    f"Slopes between batch {BATCH_SIZES[0]} and {BATCH_SIZES[1]}. A ratio is to the reversible network above. "
    "The ratios that RevSNN prints, 3.79 (RevSResNet37) and 3.00 (RevSFormer-4-384), seem to be ratios at the end of "
    "forward, of code that keeps more on both sides."
)
LIMITS_TITLE = "Limits on activations per image"
LIMITS_HEADERS = ("figure", "authors'\ncode", "limit", "measured", "kept")
LIMITS_NOTE = (
    "MiB = 2^20 bytes, MB = 10^6 bytes; in brackets the authors' code with its leaks closed. Growth: mean slope of the "
    "bytes at the end of forward. Inverting loses digits with each timestep, so from 11 of them on a guard keeps some "
    "states; on fake tensors it assumes states of magnitude 1 and the carries of the beginning, 0.5."
)
TIME_TITLE = "Time of a training step, recomputed over stored activations of the same weights, on this CPU"
TIME_HEADERS = ("network", "T", "batch", "step\nms", "ratio", "ratio\nCPU", "kept")
TIME_NOTE = (
    f"Medians of {NUM_ROUNDS} rounds in which the steps take turns; CPU: time of all processors together. "
    f"Limit {LONGEST_STEP_RATIO:.2f}; the authors' codes: 1.2 to 1.5."
)


def compared_with(case: Case) -> Iterator[Case]:
    """The counterpart of a reversible network; of T-RevSNN, also the same network with stored activations."""
    entry = registry.entries()[case.model]
    if entry.counterpart is not None:
        yield replace(case, model=entry.counterpart)
    if entry.states:
        yield replace(case, activations="stored")


def memory_rows(found: Found, case: Case) -> Iterator[tuple[str, ...]]:
    """The rows of a reversible network and, indented, of what it is compared with."""
    mine = found[Network(case=case)]
    yield (_name(case), str(case.timesteps), _mebibytes(mine.forward_end_bytes), "", _mebibytes(mine.peak_bytes), "")
    for other in compared_with(case):
        theirs = found[Network(case=other)]
        yield (
            "  the same, stored" if other.activations == "stored" else f"  {_name(other)}",
            str(other.timesteps),
            _mebibytes(theirs.forward_end_bytes),
            f"{theirs.forward_end_bytes / mine.forward_end_bytes:.2f}",
            _mebibytes(theirs.peak_bytes),
            f"{theirs.peak_bytes / mine.peak_bytes:.2f}",
        )


def limit_row(limit: Limit, found: Found) -> tuple[str, ...]:
    """The row of a limit; the verdict is empty where nothing is promised."""
    measured = limit.measured(found)
    bound = "" if limit.limit is None else f"{limit.limit:g}"
    verdict = {True: "yes", False: "no", None: ""}[limit.is_kept(measured)]
    return (limit.figure, limit.reference, bound, _measured(measured, limit), verdict)


def time_row(ratio: StepRatio) -> tuple[str, ...]:
    """The row of a case whose time was taken."""
    return (
        " ".join(filter(None, (ratio.case.model, ratio.case.states))),
        str(ratio.case.timesteps),
        str(ratio.case.batch_size),
        f"{1000 * ratio.step_s:,.0f}",
        f"{ratio.wall:.2f}",
        f"{ratio.cpu:.2f}",
        "yes" if ratio.wall <= LONGEST_STEP_RATIO else "no",
    )


def main() -> int:
    """Prints the three tables; returns the exit code."""
    # Waiting threads that are not asleep count as busy; heard by processes that are started from now on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console()
    compared = [Network(case=each) for case in REVERSIBLE for each in (case, *compared_with(case))]
    found = all_per_image([*(network for limit in LIMITS for network in limit.networks), *compared])
    rows = [row for case in REVERSIBLE for row in memory_rows(found, case)]
    _print(console, MEMORY_TITLE, MEMORY_HEADERS, rows, MEMORY_NOTE)
    _print(console, LIMITS_TITLE, LIMITS_HEADERS, [limit_row(limit, found) for limit in LIMITS], LIMITS_NOTE)
    _print(console, TIME_TITLE, TIME_HEADERS, [time_row(ratio) for ratio in all_step_ratios()], TIME_NOTE)
    return int(any(limit.is_kept(limit.measured(found)) is False for limit in LIMITS))


def all_step_ratios() -> list[StepRatio]:
    """Those of all of `TIMED`, each group in a process of its own, one after the other."""
    with ProcessPoolExecutor(1, mp_context=process_context("cpu"), max_tasks_per_child=1) as pool:
        with interrupts_blocked():
            found = pool.map(step_ratios, TIMED)
        return [ratio for ratios in found for ratio in ratios]


def _print(console: Console, title: str, headers: Sequence[str], rows: Sequence[tuple[str, ...]], note: str) -> None:
    """A table whose first column is text, with its title above and its note below."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", vertical="bottom", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(title, style="bold")
    console.print(table)
    console.print(note, style="dim")
    console.print()


def _name(case: Case) -> str:
    return case.model if case.dtype == "float32" else f"{case.model} {case.dtype}"


def _mebibytes(num_bytes: float) -> str:
    return f"{num_bytes / MIB:,.2f}"


def _measured(value: float, limit: Limit) -> str:
    """Growth with a digit more than peaks."""
    return f"{value:.1f}" if limit.since is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
