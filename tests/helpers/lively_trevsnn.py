"""T-RevSNN as the tests need it: small, and firing everywhere.

As initialised, no hidden neuron fires (weights of deviation 0.02), and a silent network passes every test of gradients.
"""

from typing import Any

import torch
from torch import Tensor, nn

from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.trevsnn import TRevSNN, trevsnn, trevsnn_events
from revbench.models.networks.trevsnn_levels import ScaledDepthwise
from revbench.models.neurons.memoryless import MemorylessNeuron
from revbench.models.reversible import Carry


def lively(network: TRevSNN) -> TRevSNN:
    """The network with weights drawn large enough for every layer to fire, and no two scales and carries alike."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, StandardisedConv2d):
            nn.init.uniform_(module.gain, 1.5, 2.5)
        if isinstance(module, ScaledDepthwise):
            nn.init.uniform_(module.scale, 0.5, 1.5)
        if isinstance(module, Carry):
            nn.init.uniform_(module.factor, 0.4, 0.6)
    return network


def small_images(timesteps: int = 4, *, dtype: torch.dtype = torch.float64, **choices: Any) -> TRevSNN:
    """A network for 16x16 images with levels of 8 to 48 channels."""
    return lively(trevsnn(2, timesteps=timesteps, width=8, image_size=16, **choices).to(dtype))


def small_events(timesteps: int = 3, *, dtype: torch.dtype = torch.float64, **choices: Any) -> TRevSNN:
    """A network for 8x8 event frames with levels of 8 to 20 channels."""
    network = trevsnn_events((8, 12, 16, 20), timesteps=timesteps, image_size=8, **choices)
    return lively(network.to(dtype))


def with_carries(network: TRevSNN, magnitude: float) -> TRevSNN:
    """The network, all carries of that magnitude and of both signs."""
    for module in network.modules():
        if isinstance(module, Carry):
            with torch.no_grad():
                module.factor.fill_(magnitude)[::2] *= -1
    return network


def batch_of(network: TRevSNN, batch_size: int = 2) -> tuple[Tensor, Tensor]:
    """Input and targets, seeded."""
    torch.manual_seed(1)
    dtype = next(network.parameters()).dtype
    x = torch.randn(network.input_shape.of_batch(batch_size, network.timesteps), dtype=dtype)
    return x, torch.randint(network.num_classes, (batch_size,))


def gradients(network: TRevSNN) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and the gradients of one training step, by parameter."""
    x, targets = batch_of(network)
    loss = network.loss(network(x), targets)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def firing_rates(network: TRevSNN) -> list[float]:
    """The share of ones in the output of every call of every layer of neurons."""
    rates: list[float] = []
    neurons = [module for module in network.modules() if isinstance(module, MemorylessNeuron)]
    handles = [n.register_forward_hook(lambda _m, _i, spikes: rates.append(float(spikes.mean()))) for n in neurons]
    with torch.no_grad():
        network(batch_of(network)[0])
    for handle in handles:
        handle.remove()
    return rates
