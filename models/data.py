"""What a training step is fed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revbench.models.networks.spiking import InputShape


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs `[B, C, H, W]` (images) or `[T, B, C, H, W]` (event frames), and class indices `[B]`."""

    inputs: Tensor
    targets: Tensor


def synthetic_batch(
    shape: InputShape,
    *,
    batch_size: int,
    timesteps: int,
    num_classes: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Batch:
    """Random input of the right form, from torch's generators.

    Images are standard normal, as normalised images are. Event frames are Poisson counts of rate 0.1, about the
    density of integrated event streams; values do not change what a dense training step costs.
    """
    size = shape.of_batch(batch_size, timesteps)
    if shape.kind == "images":
        inputs = torch.randn(size, dtype=dtype, device=device)
    else:
        inputs = torch.poisson(torch.full(size, 0.1, dtype=dtype, device=device))
    return Batch(inputs, torch.randint(num_classes, (batch_size,), device=device))
