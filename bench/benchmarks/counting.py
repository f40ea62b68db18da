"""What counting costs: time and memory of an observed forward pass beside a plain one, on the CPU.

Run with `python -m revbench.bench.benchmarks.counting [MODEL ...]`. Counting shall take no more than three times as
long as the forward pass, and no more than twice its memory.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD

from revbench.bench.energy.observe import observe_network
from revbench.bench.memory.timeline import peak
from revbench.bench.memory.tracker import Tracker
from revbench.models import annotations, registry

MODELS = ("msresnet18", "revsresnet21", "sdt2_256", "vgg11sws")
TIMESTEPS, BATCH_SIZE, ROUNDS = 4, 8, 5


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
    for name in names or MODELS:
        torch.manual_seed(0)
        network = registry.build(name, timesteps=TIMESTEPS).eval()
        inputs = torch.randn(network.input_shape.of_batch(BATCH_SIZE, TIMESTEPS))
        passes = (torch.no_grad()(lambda n=network, x=inputs: n(x)), lambda n=network, x=inputs: observe_network(n, x))
        for run in passes:
            run()
        rounds = [[seconds(run) for run in passes] for _ in range(ROUNDS)]
        slower = statistics.median(counted / plain for plain, counted in rounds)
        plain, counted = (peak_bytes(run, network, inputs) for run in passes)
        print(f"{name:16}{slower:6.2f} times as long, {plain / 1e6:8.2f} MB plain, {counted / 1e6:8.2f} MB counted")


if __name__ == "__main__":
    main(sys.argv[1:])
