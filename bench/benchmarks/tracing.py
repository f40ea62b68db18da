"""How fast the tracker is on fake tensors: `python -m revbench.bench.benchmarks.tracing`.

Prints, for each network, the seconds from nothing to the predicted peak (the network is built, one step warms up, one
is traced), and the microseconds an operator of a traced step. Both are times of one core: what other processes take in
the meantime does not count. Operators are calls that compute or show a tensor; the questions where a fake tensor lies,
almost twice as many, are left out of the count, and their time is not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from revbench.bench.cases import Case
from revbench.bench.memory.measure import WARM_UP_STEPS, attribute, trace
from revbench.bench.memory.timeline import peak
from revbench.bench.training import Training, prepare, world

CASES = (
    Case(model="revsresnet109", batch_size=32, device="fake"),
    Case(model="msresnet34", batch_size=32, device="fake"),
    Case(model="trevsnn_tiny", batch_size=32, device="fake"),
)
LIMIT_OPERATOR_US = 150
LIMIT_CASE_S = 15
"""For RevSResNet109, T = 4; the others are no slower."""
NUM_REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the trace of a case takes.

    Attributes:
        num_operators: of one training step.
        case_s: from nothing to the predicted peak.
        operator_s: of a traced step, an operator; the least of `NUM_REPEATS` steps.
        attributed_s: the same with layers and timesteps, as `revbench explain` traces.
    """

    num_operators: int
    case_s: float
    operator_s: float
    attributed_s: float

    @property
    def is_kept(self) -> bool:
        """Whether both limits hold."""
        return self.operator_s * 1e6 <= LIMIT_OPERATOR_US and self.case_s <= LIMIT_CASE_S


def speed(case: Case, num_repeats: int = NUM_REPEATS) -> Speed:
    """Traces the case again and again, in this process."""
    with world(case):
        start = time.process_time()
        training = prepare(case)
        training.warm_up(WARM_UP_STEPS)
        peak(trace(training))
        case_s = time.process_time() - start
        num_operators = count_operators(training)
        traced_s = min(_seconds(trace, training) for _ in range(num_repeats))
        attributed_s = min(_seconds(attribute, training) for _ in range(num_repeats))
    return Speed(
        num_operators=num_operators,
        case_s=case_s,
        operator_s=traced_s / num_operators,
        attributed_s=attributed_s / num_operators,
    )


def count_operators(training: Training) -> int:
    """How many operators a training step calls, without questions that compute nothing."""
    counter = _Counter()
    with counter:
        training.step()
    return counter.num_operators


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.num_operators = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.num_operators += func.namespace not in ("prim", "profiler")
        return func(*args, **(kwargs or {}))


def _seconds(run: Callable[[Training], object], training: Training) -> float:
    start = time.process_time()
    run(training)
    return time.process_time() - start


def main() -> None:
    """Prints the table; ends with 1 if a limit is not kept."""
    torch.set_num_threads(1)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("case")
    for header in ("operators\na step", "case\ns", "operator\nµs", "with layers\nµs", "limits"):
        table.add_column(header, justify="right")
    speeds = {case: speed(case) for case in CASES}
    for case, found in speeds.items():
        table.add_row(
            case.label(),
            f"{found.num_operators:,}",
            f"{found.case_s:.1f}",
            f"{1e6 * found.operator_s:.0f}",
            f"{1e6 * found.attributed_s:.0f}",
            "kept" if found.is_kept else "NOT KEPT",
        )
    console = Console()
    console.print(table)
    console.print(f"Limits: {LIMIT_OPERATOR_US} µs an operator, {LIMIT_CASE_S} s a case, times of one core.")
    raise SystemExit(not all(found.is_kept for found in speeds.values()))


if __name__ == "__main__":
    main()
