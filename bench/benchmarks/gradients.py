"""How far gradients of recomputed activations are from those of stored ones, same weights and batch.

Run with `python -m revbench.bench.benchmarks.gradients`. The inputs are restored by subtraction, so in floating point
they are not the same bits. Where that flips a spike, everything that is recomputed after it differs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from revbench.bench.cases import Case, DType
from revbench.bench.training import prepare
from revbench.models.neurons import Neuron
from revbench.models.reversible import ReversibleSequence

MODELS = ("revsresnet21", "revsresnet37")
PRECISIONS: tuple[DType, ...] = ("float64", "float32")


def gradients(case: Case) -> tuple[Tensor, Tensor, str]:
    """The loss, all gradients flattened, and how many spikes flipped of how many, of the first training step."""
    training = prepare(case)
    with spikes_of_both_evaluations(training.model) as spikes:
        loss = training.step()
    found = [parameter.grad for parameter in training.model.parameters() if parameter.grad is not None]
    pairs = [evaluations for evaluations in spikes.values() if len(evaluations) == 2]
    flipped = sum(int((first != second).sum()) for first, second in pairs)
    return loss, torch.cat([grad.flatten() for grad in found]), f"{flipped} of {sum(a.numel() for a, _ in pairs):,}"


@contextmanager
def spikes_of_both_evaluations(model: nn.Module) -> Iterator[dict[nn.Module, list[Tensor]]]:
    """Collects the spikes of every neuron layer inside reversible sequences, each time that it is evaluated."""
    spikes: dict[nn.Module, list[Tensor]] = {}

    def collect(layer: nn.Module, _: object, output: Tensor) -> None:
        spikes.setdefault(layer, []).append(output.detach().bool())

    sequences = [module for module in model.modules() if isinstance(module, ReversibleSequence)]
    layers = [layer for sequence in sequences for layer in sequence.modules() if isinstance(layer, Neuron)]
    hooks = [layer.register_forward_hook(collect) for layer in layers]
    try:
        yield spikes
    finally:
        for hook in hooks:
            hook.remove()


def main() -> None:
    """Prints the table."""
    table = Table(
        title="Gradients of recomputed against stored activations (T=4, batch 4)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for header in ("model", "dtype", "same\nloss", "relative\nerror", "largest\nerror", "flipped\nspikes"):
        table.add_column(header, justify="left" if header in {"model", "dtype"} else "right", no_wrap=True)
    for model in MODELS:
        for dtype in PRECISIONS:
            case = Case(model=model, timesteps=4, batch_size=4, dtype=dtype, activations="recomputed")
            loss, recomputed, flipped = gradients(case)
            stored_loss, stored, _ = gradients(replace(case, activations="stored"))
            error = recomputed - stored
            table.add_row(
                model,
                dtype,
                "yes" if torch.equal(loss, stored_loss) else "no",
                f"{(error.norm() / stored.norm()).item():.1e}",
                f"{error.abs().max().item():.1e}",
                flipped,
            )
    Console().print(table)


if __name__ == "__main__":
    main()
