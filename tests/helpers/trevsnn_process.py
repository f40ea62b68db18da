"""One process of the test of DistributedDataParallel: `trevsnn_process.py RANK RENDEZVOUS FOUND`."""

import sys

import lively_trevsnn as small
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def second_step(network: nn.Module, plain: nn.Module, rank: int) -> list[Tensor]:
    """The gradients of the second of two training steps on the data of a process."""
    for step in range(2):
        torch.manual_seed(10 * step + rank)
        x, targets = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.randint(10, (2,))
        network.zero_grad()
        plain.loss(network(x), targets).backward()  # type: ignore[operator]
    return [p.grad for p in plain.parameters() if p.grad is not None]


def main(rank: int, rendezvous: str, found: str) -> None:
    """All ways of keeping states, each with its projections shared over time."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    results = []
    for states in ("stored", "coded", "inverted"):
        network = small.small_images(3, states=states, published_dead_parameters=False)
        results.append(second_step(DistributedDataParallel(network), network, rank))
    if rank == 0:
        torch.save(results, found)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
