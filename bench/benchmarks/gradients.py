"""How far gradients of recomputed activations are from those of stored ones, same weights and batch.

Run with `python -m revbench.bench.benchmarks.gradients`. The inputs are restored by subtraction, so in floating point
they are not the same bits; a spike that flips would change everything after it.
"""

from dataclasses import replace

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from revbench.bench.cases import Case, DType
from revbench.bench.training import prepare

MODELS = ("revsresnet21", "revsresnet37")
PRECISIONS: tuple[DType, ...] = ("float64", "float32")


def gradients(case: Case) -> tuple[Tensor, Tensor]:
    """The loss and all gradients, flattened, of the first training step."""
    training = prepare(case)
    loss = training.step()
    found = [parameter.grad for parameter in training.model.parameters() if parameter.grad is not None]
    return loss, torch.cat([grad.flatten() for grad in found])


def main() -> None:
    """Prints the table."""
    table = Table(title="Gradients of recomputed against stored activations (T=4, batch 4)", box=box.SIMPLE_HEAD)
    for header in ("model", "dtype", "same loss", "relative error", "largest error", "norm of gradient"):
        table.add_column(header, justify="left" if header in ("model", "dtype") else "right")
    for model in MODELS:
        for dtype in PRECISIONS:
            case = Case(model=model, timesteps=4, batch_size=4, dtype=dtype, activations="recomputed")
            loss, recomputed = gradients(case)
            stored_loss, stored = gradients(replace(case, activations="stored"))
            error = recomputed - stored
            table.add_row(
                model,
                dtype,
                "yes" if torch.equal(loss, stored_loss) else "no",
                f"{(error.norm() / stored.norm()).item():.1e}",
                f"{error.abs().max().item():.1e}",
                f"{stored.norm().item():.2f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
