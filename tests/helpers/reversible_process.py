"""One process of the test of DistributedDataParallel: `reversible_process.py RANK RENDEZVOUS FOUND`."""

import sys
from typing import get_args

import torch
import torch.distributed as dist
from reversible_parts import spiking, uneven_loss
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from revbench.models.reversible import Activations, ReversibleSequence


class Classifier(nn.Module):
    """A convolution, a reversible sequence of spiking functions, and a read-out; seeded."""

    def __init__(self, activations: Activations) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.sequence = ReversibleSequence(spiking(), activations)
        self.head = nn.Linear(8, 5)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[T, B, 5]` for frames `[B, 3, H, W]` seen twice."""
        streams = self.sequence(*self.stem(x).expand(2, -1, -1, -1, -1).chunk(2, dim=2))
        logits: Tensor = self.head(torch.cat(streams, dim=2).mean((-2, -1)))
        return logits


def second_step(model: nn.Module, rank: int) -> list[Tensor]:
    """The gradients of the second of two passes over the data of a process."""
    for step in range(2):
        x = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(10 * step + rank))
        model.zero_grad()
        uneven_loss(model(x)).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def take_part(rank: int, rendezvous: str, found: str) -> None:
    """One process of the test: both ways of activations, with and without a search for unused parameters."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    results = [
        second_step(DistributedDataParallel(Classifier(activations), find_unused_parameters=search), rank)
        for activations in get_args(Activations)
        for search in (False, True)
    ]
    if rank == 0:
        torch.save(results, found)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    take_part(int(sys.argv[1]), sys.argv[2], sys.argv[3])
