"""Gradients of a network on a batch that leave the network as it was, and how alike two of them are."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from revbench.bench.vectors import cosine
from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules import Rule


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient as vectors of float64: of all parameters, and of the weight of each layer in the network's order."""

    whole: Tensor
    layers: tuple[Tensor, ...]

    @classmethod
    def of(cls, network: SpikingNetwork, rule: Rule, batch: Batch) -> Self:
        """The gradient of the loss that the rule minimises, all timesteps at once.

        Batch norms normalise by the batch as in training, with copies of their running statistics, so the network's own
        stay; its `grad`s stay too.
        """
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with rule.autocast(batch.inputs.device):
            logits = functional_call(network, buffers, (batch.inputs,))
            loss = (rule.criterion or network.loss)(logits, batch.targets)
        parameters = dict(network.named_parameters())
        found = torch.autograd.grad(loss, tuple(parameters.values()), materialize_grads=True)
        vectors = {name: grad.flatten().double() for name, grad in zip(parameters, found, strict=True)}
        return cls(torch.cat([*vectors.values()]), tuple(vectors[name] for name in weight_names(network)))

    def cosines(self, expected: Self) -> tuple[float, list[float]]:
        """Cosines to another gradient: of the whole, and of each layer; not a number where one of the two is zero."""
        pairs = zip(self.layers, expected.layers, strict=True)
        return cosine(self.whole, expected.whole), [cosine(found, other) for found, other in pairs]


def weight_names(network: nn.Module) -> list[str]:
    """The names of the weights of all convolutions and linear layers."""
    layers = ((name, module) for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear)))
    return [f"{name}.weight" for name, _ in layers]
