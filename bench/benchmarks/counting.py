"""What counting costs: time and memory of an observed forward pass beside a plain one, on the CPU.

Run with `python -m revbench.bench.benchmarks.counting [MODEL ...]`. Both passes take turns, and the ratio of times is
the median over turns. Memory is the traced peak beyond the parameters.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import SGD

from revbench.bench.energy.observe import observe_network
from revbench.bench.memory.timeline import peak
from revbench.bench.memory.tracker import Tracker
from revbench.models import annotations, registry

MODELS = ("msresnet18", "revsresnet21", "sdt2_256", "vgg11sws")
TIMESTEPS, BATCH_SIZE, ROUNDS = 4, 8, 5
TIME_LIMIT, MEMORY_LIMIT = 3.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A forward pass, plain and observed."""

    time_ratio: float
    plain_bytes: int
    counted_bytes: int

    @property
    def memory_ratio(self) -> float:
        """Observed over plain."""
        return self.counted_bytes / self.plain_bytes


def measured(name: str, batch_size: int = BATCH_SIZE, rounds: int = ROUNDS) -> Cost:
    """What counting a model costs."""
    torch.manual_seed(0)
    network = registry.build(name, timesteps=TIMESTEPS).eval()
    inputs = torch.randn(network.input_shape.of_batch(batch_size, TIMESTEPS))
    plain, counted = torch.no_grad()(lambda: network(inputs)), lambda: observe_network(network, inputs)
    for run in (plain, counted):
        run()
    turns = [(seconds(plain), seconds(counted)) for _ in range(rounds)]
    return Cost(
        time_ratio=statistics.median(with_counting / without for without, with_counting in turns),
        plain_bytes=peak_bytes(plain, network, inputs),
        counted_bytes=peak_bytes(counted, network, inputs),
    )


def seconds(run: Callable[[], object]) -> float:
    """The time of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def peak_bytes(run: Callable[[], object], network: nn.Module, inputs: Tensor) -> int:
    """Live bytes at the worst instant, beyond the parameters."""
    tracker = Tracker(network, SGD(network.parameters()), [inputs])
    with tracker, annotations.phase("forward"):
        run()
    return peak(tracker.timeline()).total_bytes - sum(p.nbytes for p in network.parameters())


def main(names: list[str]) -> None:
    """Prints one line a model."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("model", no_wrap=True)
    limits = (f"time\nlimit {TIME_LIMIT:g}", f"memory\nlimit {MEMORY_LIMIT:g}")
    for heading in (*limits, "plain\nMB", "counted\nMB", "limits"):
        table.add_column(heading, no_wrap=True, justify="right")
    for name in names or MODELS:
        cost = measured(name)
        kept = cost.time_ratio <= TIME_LIMIT and cost.memory_ratio <= MEMORY_LIMIT
        ratios = (f"{cost.time_ratio:.2f}", f"{cost.memory_ratio:.2f}")
        megabytes = (f"{cost.plain_bytes / 1e6:.2f}", f"{cost.counted_bytes / 1e6:.2f}")
        table.add_row(name, *ratios, *megabytes, "kept" if kept else "missed")
    console = Console()
    console.print(table)
    console.print(f"An observed forward pass over a plain one, T = {TIMESTEPS}, batch {BATCH_SIZE}, on the CPU.")


if __name__ == "__main__":
    main(sys.argv[1:])
