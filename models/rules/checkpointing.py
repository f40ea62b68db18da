"""PyTorch's activation checkpointing, block by block: what a user would try first.

Each group of `SpikingNetwork.checkpoint_groups` keeps its input alone and is evaluated once more in the backward pass.
Unlike plain use of `torch.utils.checkpoint`, running statistics of batch norms are updated once, not twice.
Blocks that a reversible sequence recomputes already are left alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from revbench.models import annotations
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules.replaced import replaced
from revbench.models.simulation import recomputed_sequences


@contextmanager
def checkpointed(network: SpikingNetwork) -> Iterator[None]:
    """The network recomputes its blocks in backward passes inside this block."""
    with ExitStack() as stack:
        for group in checkpointed_groups(network):
            whole = _Whole(group)
            # What a call of a module runs, its hooks included: they see what they see without checkpointing.
            stack.enter_context(replaced(group[0], "_call_impl", whole))
            for module in group[1:]:
                stack.enter_context(replaced(module, "_call_impl", _unchanged))
        # Neurons that go on from the timestep before change their memory in the second evaluation, which has to be
        # complete for that.
        stack.enter_context(set_checkpoint_early_stop(False))
        yield


def checkpointed_groups(network: SpikingNetwork) -> list[list[nn.Module]]:
    """The groups that are checkpointed."""
    recomputed = {part for sequence in recomputed_sequences(network) for part in sequence.modules()}
    return [group for group in network.checkpoint_groups() if not recomputed.intersection(group)]


class _Whole:
    """The modules of a group as one checkpointed function."""

    def __init__(self, group: Sequence[nn.Module]) -> None:
        self._group = list(group)
        self._calls = [module._call_impl for module in group]

    def __call__(self, *inputs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._evaluate(*inputs)
        return checkpoint(self._evaluate, *inputs, use_reentrant=False, context_fn=self._contexts)

    def _evaluate(self, *inputs: Any) -> Any:
        value = self._calls[0](*inputs)
        for call in self._calls[1:]:
            value = call(value)
        return value

    def _contexts(self) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        return nullcontext(), self._recomputation()

    @contextmanager
    def _recomputation(self) -> Iterator[None]:
        with ExitStack() as kept, annotations.kind("recomputation"):
            for module in self._group:
                kept.enter_context(_kept_statistics(module))
            yield


@contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms inside `module` keep their running statistics, and save the same tensors for the backward pass."""
    norms: list[Any] = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    known = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, num_batches in known:
            norm.momentum, norm.num_batches_tracked = momentum, num_batches


def _unchanged(value: Any) -> Any:
    return value
