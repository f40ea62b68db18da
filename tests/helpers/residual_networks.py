"""The residual networks as the tests need them: without numbers, or small and firing everywhere."""

from collections import Counter

import torch
from torch import Tensor, nn

from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron
from revbench.models.reversible import Activations

Geometry = tuple[int, int, int, int]  # of a convolution: channels in and out, kernel, stride

IMAGE_NETWORKS = ("msresnet18", "msresnet34", "msresnet104", "revsresnet21", "revsresnet37", "revsresnet109")
EVENT_NETWORKS = ("msresnet20_event", "revsresnet24_event")
FAMILIES = ("msresnet", "revsresnet", "msresnet_event", "revsresnet_event")
REVERSIBLE = ("revsresnet", "revsresnet_event")


def on_meta(name: str, **options: object) -> SpikingNetwork:
    """A network without numbers: of any size in no time."""
    with torch.device("meta"):
        return registry.build(name, timesteps=4, **options)


def small(
    name: str, *, activations: Activations | None = None, dtype: torch.dtype = torch.float32, timesteps: int = 3
) -> SpikingNetwork:
    """A family at depth 1 and width 8 (4 for events), seeded, in which every layer fires.

    As initialised, the input of every neuron has mean 0 and variance 1, or a little more behind residual additions, of
    which the threshold 1 cuts off a part. In event networks the stem's average pooling and the leak leave too little
    of it for the first stage, so the gain of the stem's batch norm is 4 here.
    """
    torch.manual_seed(0)
    width = 4 if name.endswith("event") else 8
    network = registry.build(name, timesteps=timesteps, depth=1, width=width, activations=activations).to(dtype)
    return with_lively_stem(network)


def with_lively_stem(network: SpikingNetwork) -> SpikingNetwork:
    """The network, with a gain of 4 in the stem if it reads events."""
    if network.input_shape.kind == "events":
        nn.init.constant_(network.get_submodule("stem.1").get_parameter("weight"), 4.0)
    return network


def random_input(network: SpikingNetwork, dtype: torch.dtype = torch.float32, batch_size: int = 2) -> Tensor:
    """Input of the network's form, seeded."""
    torch.manual_seed(1)
    return synthetic_batch(
        network.input_shape, batch_size=batch_size, timesteps=network.timesteps, num_classes=10, dtype=dtype
    ).inputs


def loss_of(logits: Tensor) -> Tensor:
    """A loss with another gradient for every logit."""
    return (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum()


def firing_rates(network: SpikingNetwork, x: Tensor) -> list[float]:
    """The share of ones in the output of every neuron layer, for each of its calls."""
    rates: list[float] = []
    handles = [
        neuron.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.mean())))
        for neuron in network.modules()
        if isinstance(neuron, Neuron)
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return rates


def gradients(network: SpikingNetwork, x: Tensor) -> dict[str, Tensor]:
    """The gradients of all parameters, by name."""
    loss_of(network(x)).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def convolutions(network: nn.Module) -> Counter[Geometry]:
    """How many convolutions of each geometry a network has; checks what all have in common."""
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for m in found:
        assert m.bias is None
        assert m.groups == 1
        assert m.kernel_size == (m.kernel_size[0],) * 2
        assert m.padding == (m.kernel_size[0] // 2,) * 2
    return Counter((m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in found)
