"""Networks as the tests of rules need them: small, in float64, firing everywhere; and the gradients of a rule.

As initialised the deep layers of a VGG with standardised weights are silent, and all but one parameter of NF-ResNet
have no gradient: on zeros every identity between rules holds.
"""

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD

from revbench.models.data import Batch, synthetic_batch
from revbench.models.networks.layers import convolution_and_norm
from revbench.models.networks.msresnet import cifar_neuron
from revbench.models.networks.nf_resnet import nf_resnet
from revbench.models.networks.preact_resnet import preact_resnet
from revbench.models.networks.revsformer import revsformer
from revbench.models.networks.revsresnet import RevSResNet
from revbench.models.networks.spike_driven_transformer import sdt
from revbench.models.networks.spiking import CIFAR, SpikingNetwork
from revbench.models.networks.spiking_vgg import vgg_bn, vgg_sws, vgg_sws_events
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.neurons import Neuron
from revbench.models.rules import Rule, make_rule

Gradients = dict[str, Tensor]


def small_revsresnet(timesteps: int, **options: Any) -> RevSResNet:
    """RevSResNet of two stages for images of 16x16."""
    return RevSResNet(
        blocks=[1, 1],
        widths=[4, 8],
        stem=convolution_and_norm(CIFAR.channels, 8),
        neuron=cifar_neuron,
        input_shape=replace(CIFAR, height=16, width=16),
        timesteps=timesteps,
        num_classes=10,
        **options,
    )


BUILDERS: dict[str, Callable[..., SpikingNetwork]] = {
    "vggsws": partial(vgg_sws, [1, 1, 1, 1, 1], width=4, image_size=8),
    "vggbn": partial(vgg_bn, [1, 1, 1, 1, 1], width=4),
    "preactresnet": partial(preact_resnet, [1, 1, 1, 1], width=4),
    "nfresnet": partial(nf_resnet, [1, 1, 1, 1], width=4, image_size=64, num_classes=10),
    "revsresnet": small_revsresnet,
    "revsformer": partial(revsformer, 1, width=16, num_heads=2, image_size=16),
    "sdt": partial(sdt, 1, width=16, num_heads=2, image_size=16, published_dead_parameters=False),
}
EVENT_BUILDERS: dict[str, Callable[..., SpikingNetwork]] = {
    "vggsws_events": partial(vgg_sws_events, [1, 1, 1, 1, 1], width=4, image_size=8)
}
STEPWISE = ("vggsws", "vggbn", "preactresnet", "nfresnet", *EVENT_BUILDERS)
"""Networks in which nothing but the neurons' potential goes from timestep to timestep."""


def lively(name: str, timesteps: int, *, constant_norms: bool = False, **options: Any) -> SpikingNetwork:
    """The network of that name, seeded, in float64.

    Args:
        name: in `BUILDERS` or `EVENT_BUILDERS`.
        timesteps: T.
        constant_norms: whether batch norms take their running statistics, which then are those of one batch. So each
            timestep is by itself, in every network.
        options: of the builder.
    """
    torch.manual_seed(0)
    network = {**BUILDERS, **EVENT_BUILDERS}[name](timesteps=timesteps, **options).double()
    with torch.no_grad():
        for module_name, module in network.named_modules():
            if isinstance(module, StandardisedConv2d):
                module.gain.mul_(3)
                module.bias.normal_(std=0.1)
            elif isinstance(module, _BatchNorm):
                module.weight.uniform_(1.0, 3.0)
                module.bias.uniform_(-0.5, 1.5 if "former" in name else 0.5)
            elif isinstance(module, nn.Conv2d) and name == "sdt":
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if hasattr(module, "residual_gain"):
                module.residual_gain.fill_(1.5)
            if module_name == "stem" and name in EVENT_BUILDERS:
                module.weight.normal_()
                module.gain.mul_(2)
            if module_name == "head":
                module.weight.normal_(std=module.in_features**-0.5)
    if constant_norms:
        with_constant_norms(network)
    return network


def with_constant_norms(network: SpikingNetwork) -> None:
    """Batch norms normalise with the statistics of one batch from here on."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    known = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network(batch_for(network).inputs)
    for norm, momentum in zip(norms, known, strict=True):
        norm.momentum = momentum
        norm.eval()


def batch_for(network: SpikingNetwork, batch_size: int = 2) -> Batch:
    """Input and targets, seeded, in the precision of the network."""
    torch.manual_seed(1)
    return synthetic_batch(
        network.input_shape,
        batch_size=batch_size,
        timesteps=network.timesteps,
        num_classes=network.num_classes,
        dtype=next(network.parameters()).dtype,
    )


def change_dynamics(network: nn.Module, **changes: Any) -> None:
    """Gives all neurons other constants."""
    for module in network.modules():
        if isinstance(module, Neuron):
            module.dynamics = replace(module.dynamics, **changes)


def gradients(network: SpikingNetwork, rule: str | Rule, batch: Batch | None = None, *, seed: int = 0) -> Gradients:
    """What one step of a rule leaves in a copy of the network, which itself stays as it is.

    Args:
        network: any.
        rule: or its name.
        batch: by default `batch_for(network)`.
        seed: of Python's generator, from which SLTT-K draws.
    """
    twin = copy.deepcopy(network)
    random.seed(seed)
    made = make_rule(rule) if isinstance(rule, str) else rule
    made.step(twin, batch or batch_for(network), SGD(twin.parameters(), lr=0.0))
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def learning(network: SpikingNetwork) -> list[str]:
    """The names of all parameters that a loss depends on.

    A batch norm over the batch takes away what a convolution's bias in front of it adds.
    """
    normalised = any(isinstance(module, _BatchNorm) and module.training for module in network.modules())
    biases = {
        f"{name}.bias" for name, module in network.named_modules() if isinstance(module, nn.Conv2d) and normalised
    }
    return [name for name, _ in network.named_parameters() if name not in biases]


def assert_alive(network: SpikingNetwork, found: Mapping[str, Tensor]) -> None:
    """All neurons fire now and then, and all parameters that the loss depends on have a gradient."""
    rates = firing_rates(network)
    assert len(rates) >= sum(isinstance(module, Neuron) for module in network.modules())
    assert all(0.01 < rate < 0.99 for rate in rates), rates
    scale = max(float(grad.abs().max()) for grad in found.values())
    learnt = learning(network)
    for name, _ in network.named_parameters():
        size = float(found[name].abs().max()) / scale
        assert size > 1e-6 if name in learnt else size < 1e-12, (name, size)


def firing_rates(network: SpikingNetwork) -> list[float]:
    """The share of ones among the spikes of each call of every layer, over all timesteps, in a copy of the network."""
    twin = copy.deepcopy(network)
    rates: list[float] = []
    for module in twin.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.mean())))
    with torch.no_grad():
        twin(batch_for(twin).inputs)
    return rates


def largest_error(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: list[str]) -> float:
    """The largest difference in these gradients, each relative to the largest number of the one expected."""
    assert names
    return max(float((found[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in names)
