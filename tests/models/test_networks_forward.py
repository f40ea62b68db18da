"""The logits of the residual networks against the equations of the specification, written down by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from residual_networks import REVERSIBLE, firing_rates, random_input, with_lively_stem
from torch import Tensor, nn

from revbench.models.networks.msresnet import MSResNet, msresnet, msresnet_events
from revbench.models.networks.revsresnet import RevSResNet, revsresnet, revsresnet_events
from revbench.models.reversible import Activations, ReversibleSequence

Spikes = Callable[[Tensor], Tensor]


def integrate_and_fire(x: Tensor) -> Tensor:
    """IF neurons of threshold 1, written down: charge, fire, reset to 0."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        h = v + x_t
        s = (h >= 1).to(x.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def leaky_integrate_and_fire(x: Tensor) -> Tensor:
    """LIF neurons of threshold 1 and time constant 1.5, written down: charge, fire, reset to 0."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        h = v + (x_t - v) / 1.5
        s = (h >= 1).to(x.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def convolve(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Convolution and batch norm over all frames of `[T, B, C, H, W]`, from the layers' weights alone."""
    convolution, norm = layers[0], layers[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    frames = F.conv2d(x.flatten(0, 1), convolution.weight, stride=convolution.stride, padding=convolution.padding)
    frames = F.batch_norm(frames, None, None, norm.weight, norm.bias, training=True)
    return frames.view(*x.shape[:2], *frames.shape[1:])


def pool(x: Tensor) -> Tensor:
    """Average pooling 3x3 of stride 2 over all frames."""
    frames = F.avg_pool2d(x.flatten(0, 1), 3, 2, 1)
    return frames.view(*x.shape[:2], *frames.shape[1:])


def residual(function: nn.Module, x: Tensor, spikes: Spikes) -> Tensor:
    """Neuron, convolution, batch norm, twice."""
    assert isinstance(function.first_convolution, nn.Sequential)
    assert isinstance(function.second_convolution, nn.Sequential)
    return convolve(function.second_convolution, spikes(convolve(function.first_convolution, spikes(x))))


def revsresnet_by_hand(network: RevSResNet, x: Tensor, spikes: Spikes) -> Tensor:
    """The equations of the specification on the concatenated streams, with the network's weights."""
    stem = network.stem
    assert isinstance(stem, nn.Sequential)
    if network.input_shape.kind == "images":
        joined = convolve(stem, x.expand(network.timesteps, *x.shape).contiguous())
    else:
        joined = pool(convolve(stem, x))
    for index, stage in enumerate(network.stages):
        if index > 0:
            downsampling = network.downsamplings[index - 1]
            assert isinstance(downsampling.convolution, nn.Sequential)
            joined = convolve(downsampling.convolution, pool(spikes(joined)))
        assert isinstance(stage, ReversibleSequence)
        functions = list(stage.functions)
        for f, g in zip(functions[::2], functions[1::2], strict=True):
            x1, x2 = joined.chunk(2, dim=2)
            y1 = x1 + residual(f, x2, spikes)
            y2 = x2 + residual(g, y1, spikes)
            joined = torch.cat([y1, y2], dim=2)
    return spikes(joined).mean((-2, -1)) @ network.head.weight.T + network.head.bias


def msresnet_by_hand(network: MSResNet, x: Tensor, spikes: Spikes) -> Tensor:
    """The equations of the specification, with the network's weights."""
    stem = network.stem
    assert isinstance(stem, nn.Sequential)
    if network.input_shape.kind == "images":
        current = convolve(stem, x.expand(network.timesteps, *x.shape).contiguous())
    else:
        current = convolve(stem, x)
        current = F.max_pool2d(current.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
    for block in network.blocks:
        shortcut = current
        if not isinstance(block.shortcut, nn.Identity):
            assert isinstance(block.shortcut, nn.Module)
            assert isinstance(block.shortcut.convolution, nn.Sequential)
            shortcut = convolve(block.shortcut.convolution, spikes(current))
        assert isinstance(block.residual, nn.Module)
        current = shortcut + residual(block.residual, current, spikes)
    return spikes(current).mean((-2, -1)) @ network.head.weight.T + network.head.bias


@pytest.mark.parametrize("activations", ["recomputed", "stored"])
@pytest.mark.parametrize("name", REVERSIBLE)
def test_forward_of_revsresnet_is_that_of_the_equations(name: str, activations: Activations) -> None:
    """The logits equal those of the equations, written down with other operators and the same weights."""
    torch.manual_seed(0)
    if name == "revsresnet":
        network = revsresnet([1, 2, 1, 1], timesteps=3, width=4, activations=activations).double()
    else:
        network = revsresnet_events([1, 2, 1], timesteps=3, width=4, activations=activations).double()
        with_lively_stem(network)
    x = random_input(network, torch.float64)
    spikes = integrate_and_fire if name == "revsresnet" else leaky_integrate_and_fire
    with torch.no_grad():
        error = (network(x) - revsresnet_by_hand(network, x, spikes)).abs().max()
    assert float(error) <= 1e-12
    assert min(firing_rates(network, x)) > 0.01


@pytest.mark.parametrize("name", ["msresnet", "msresnet_event"])
def test_forward_of_msresnet_is_that_of_the_equations(name: str) -> None:
    """The logits equal those of the equations, written down with other operators and the same weights."""
    torch.manual_seed(0)
    if name == "msresnet":
        network = msresnet([1, 2, 1, 1], timesteps=3, width=8).double()
    else:
        network = msresnet_events([1, 2, 1], timesteps=3, width=4).double()
    x = random_input(network, torch.float64)
    spikes = integrate_and_fire if name == "msresnet" else leaky_integrate_and_fire
    with torch.no_grad():
        error = (network(x) - msresnet_by_hand(network, x, spikes)).abs().max()
    assert float(error) <= 1e-12
    assert min(firing_rates(network, x)) > 0.01
