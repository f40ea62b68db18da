"""How much faster the fused multi-step neuron is than the plain loop, forward plus backward on the CPU.

Run with `python -m revbench.bench.benchmarks.neuron`.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from revbench.models.neurons import ArcTan, Dynamics, Sigmoid, Triangle, native
from revbench.models.neurons.dynamics import multi_step_reference
from revbench.models.neurons.fused import multi_step

SHAPES = ((4, 2, 128, 16, 16), (4, 8, 64, 32, 32), (4, 32, 64, 32, 32), (16, 16, 64, 32, 32))
NEURONS = {
    "IF arctan": Dynamics(surrogate=ArcTan()),
    "LIF sigmoid": Dynamics(leak=0.5, input_scale=0.5, surrogate=Sigmoid()),
    "LIF soft": Dynamics(leak=0.5, input_scale=0.5, v_reset=None, detach_reset=False, surrogate=Triangle()),
}
THREADS = (1, 2)
MEASURED = "Medians of interleaved runs, forward plus backward; last columns: how many times as fast as the plain loop."

Function = Callable[[Dynamics, Tensor], Tensor]


def main() -> None:
    """Prints the table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("shape", "neuron", "threads", "plain\nms", "torch\nms", "c\nms", "torch", "c"):
        table.add_column(heading, no_wrap=True, justify="right")
    for shape in SHAPES:
        for name, dynamics in NEURONS.items():
            for threads in THREADS:
                plain, fused_torch, fused_c = _medians(dynamics, shape, threads)
                numbers = (1e3 * plain, 1e3 * fused_torch, 1e3 * fused_c, plain / fused_torch, plain / fused_c)
                table.add_row("x".join(map(str, shape)), name, str(threads), *(f"{number:.2f}" for number in numbers))
    console = Console()
    console.print(table)
    console.print(f"{MEASURED} Kernel: {native.status()}.")


def _medians(dynamics: Dynamics, shape: tuple[int, ...], threads: int) -> list[float]:
    """Seconds of the plain loop, the fused neuron by operators of torch, and the fused neuron in C."""
    torch.set_num_threads(threads)
    x, grad_spikes = torch.randn(shape).requires_grad_(), torch.randn(shape)
    contestants: list[tuple[Function, str]] = [(multi_step_reference, ""), (multi_step, "torch"), (multi_step, "")]
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(_repeats(x)):
        for (function, kernel), taken in zip(contestants, seconds, strict=True):
            with _kernel(kernel):
                taken.append(_seconds(function, dynamics, x, grad_spikes))
    return [statistics.median(taken[1:]) for taken in seconds]


def _repeats(x: Tensor) -> int:
    return max(12, min(100, (1 << 26) // x.numel()))


@contextmanager
def _kernel(name: str) -> Iterator[None]:
    before = os.environ.get(native.SWITCH, "")
    os.environ[native.SWITCH] = name
    yield
    os.environ[native.SWITCH] = before


def _seconds(function: Function, dynamics: Dynamics, x: Tensor, grad_spikes: Tensor) -> float:
    x.grad = None
    start = time.perf_counter()
    function(dynamics, x).backward(grad_spikes)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
