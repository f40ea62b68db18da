"""Layers over sequences `[T, B, C, H, W]` that several networks share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from revbench.models.networks.standardised import StandardisedConv2d, standardise
from revbench.models.neurons import Neuron


def over_frames(module: nn.Module, x: Tensor) -> Tensor:
    """Applies a module that knows no time to every frame of `[T, B, C, H, W]`."""
    frames: Tensor = module(x.flatten(0, 1))
    return frames.view(*x.shape[:2], *frames.shape[1:])


def convolution_and_norm(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    """A convolution without bias that keeps the resolution (but for the stride), and its batch norm, on frames."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class SpikingConvolution(nn.Module):
    """Neuron, convolution, batch norm: the pre-activation unit of MS-ResNet; `[T, B, C, H, W]` to the same form."""

    def __init__(
        self, neuron: Neuron, in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.convolution = convolution_and_norm(in_channels, out_channels, kernel_size=kernel_size, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return over_frames(self.convolution, self.neuron(x))


class AveragePool(nn.Module):
    """Average pooling that keeps nothing for the backward pass, since it is linear; frames `[N, C, H, W]`."""

    def __init__(self, kernel_size: int, stride: int, padding: int) -> None:
        super().__init__()
        self.geometry = ([kernel_size] * 2, [stride] * 2, [padding] * 2)

    def forward(self, x: Tensor) -> Tensor:
        """Means over the windows; padding counts as zeros."""
        pooled: Tensor = _AveragePool.apply(x, self.geometry)
        return pooled

    def extra_repr(self) -> str:
        """Kernel, stride and padding."""
        return "kernel_size={}, stride={}, padding={}".format(*(sides[0] for sides in self.geometry))


class _AveragePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: tuple[list[int], list[int], list[int]]) -> Tensor:
        ctx.shape, ctx.geometry = x.shape, geometry
        return torch.ops.aten.avg_pool2d(x, *geometry)  # type: ignore[no-any-return]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # The operator reads the shape of its second argument, not the values: one element stands for all.
        shape_only = grad.new_empty(()).expand(ctx.shape)
        return torch.ops.aten.avg_pool2d_backward(grad, shape_only, *ctx.geometry, False, True, None), None


def initialise(network: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, 1 and 0 for batch norms (RevSNN's code, all residual networks)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ConvolutionAndNeuron(nn.Module):
    """A convolution with its batch norm, and the neurons that read it: spikes to spikes, `[T, B, C, H, W]`.

    Chained, such units leave nothing alive between them but the spikes, which the next convolution keeps anyway.
    """

    def __init__(self, convolution: nn.Module, neuron: Neuron) -> None:
        super().__init__()
        self.convolution = convolution
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        spikes: Tensor = self.neuron(over_frames(self.convolution, x))
        return spikes


class OverFrames(nn.Sequential):
    """Modules that know no time, applied to every frame of `[T, B, C, H, W]`."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        frames: Tensor = super().forward(x.flatten(0, 1))
        return frames.view(*x.shape[:2], *frames.shape[1:])


SPIKE_GAIN = 2.74
"""What a spike counts in networks with scaled weight standardisation (OTTT): it brings the variance to about 1."""


class SpikeConvolution(StandardisedConv2d):
    """A standardised convolution of `SPIKE_GAIN` times its input, spikes.

    The gain is applied to the weight: up to rounding the same numbers, without another tensor of the input's size.
    """

    def standardised_weight(self) -> Tensor:
        """The weight times the gain, `[out, in, k, k]`."""
        return standardise(self.weight, self.gain * SPIKE_GAIN, correction=self.correction, epsilon=self.epsilon)


def initialise_with_bias(network: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, whose biases begin at 0 (OTTT's and SLTT's code)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def staged_blocks(blocks: Sequence[int], factors: Sequence[int]) -> list[tuple[int, int]]:
    """Width factor and stride of every block, for stages whose first block halves the resolution but for the first.

    Raises:
        ValueError: another number of stages than factors, or a stage without blocks.
    """
    if len(blocks) != len(factors) or min(blocks) < 1:
        raise ValueError(f"blocks are given for {len(factors)} stages, at least one for each, not {list(blocks)}")
    return [
        (factor, 2 if stage > 0 and index == 0 else 1)
        for stage, (number, factor) in enumerate(zip(blocks, factors, strict=True))
        for index in range(number)
    ]
