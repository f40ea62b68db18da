"""Scaled weight standardisation once an optimizer step instead of once a timestep, with the same gradient.

The gradients of the standardised weights add up over the timesteps; the chain rule through the standardisation, which
is linear in them, follows once at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from revbench.models import annotations
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.simulation import recomputed_sequences


@contextmanager
def standardised_once(network: nn.Module) -> Iterator[None]:
    """Standardised convolutions use one standardised weight inside this block; its end fills the gradients.

    Those that a reversible sequence recomputes are left alone: their weights have to be its own.
    """
    own = {part for sequence in recomputed_sequences(network) for part in sequence.modules()}
    layers = [m for m in network.modules() if isinstance(m, StandardisedConv2d) and m not in own]
    pairs: list[tuple[Tensor, Tensor]] = []
    with annotations.phase("forward"):
        for layer in layers:
            with annotations.layer(layer):
                weight = layer.standardised_weight()
            pairs.append((weight, weight.detach().requires_grad_(weight.requires_grad)))
            layer.standardised_weight = lambda leaf=pairs[-1][1]: leaf  # type: ignore[method-assign, misc]
    try:
        yield
    except BaseException:
        pairs.clear()
        raise
    finally:
        for layer in layers:
            del layer.standardised_weight
    with annotations.phase("backward"):
        while pairs:
            weight, leaf = pairs.pop()
            if leaf.grad is not None:
                torch.autograd.backward(weight, leaf.grad)
            del weight, leaf
