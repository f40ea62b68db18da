r"""One level of one timestep of T-RevSNN (Hu et al., ICML 2024, and its code): fusion, then ConvNeXt-like blocks.

With the spike $q$, the state below of the same timestep and those above of the timestep before:

$$z = bottom(c_{l-1}^t) + \sum_i top_i(c_i^{t-1}), \qquad
  block(z) = z + \gamma \odot DW_2\,PW_2\,q(PW_1\,DW_1\,q(z))$$

DW is a depthwise convolution, PW a 1x1 convolution with scaled weight standardisation to and from 4 times the width.
The last block of a level, "reuse", has no scale $\gamma$, and its PW_2 and DW_2 are the same in all timesteps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.standardised import residual_convolution
from revbench.models.neurons.memoryless import MemorylessNeuron

EXPANSION = 4


class ScaledDepthwise(nn.Conv2d):
    r"""A depthwise convolution and the scale $\gamma$ of the residual, a number a channel, 1 at the beginning.

    The scale multiplies the kernel and not the result, which need not be kept then.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Frames `[B, C, H, W]` to the same."""
        scale = self.scale.view(-1, 1, 1, 1)
        assert self.bias is not None
        bias = self.bias * self.scale.flatten()
        return F.conv2d(x, self.weight * scale, bias, padding=self.padding, groups=self.groups)


def depthwise(channels: int, kernel_size: int) -> nn.Conv2d:
    """A depthwise convolution with bias that keeps the resolution."""
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


class Projection(nn.Module):
    """PW_2 and the depthwise convolution after it: spikes `[B, 4C, H, W]` to `[B, C, H, W]`."""

    def __init__(self, channels: int, kernel_size: int, *, scaled: bool) -> None:
        super().__init__()
        self.pointwise = residual_convolution(EXPANSION * channels, channels, 1)
        self.depthwise = (ScaledDepthwise if scaled else depthwise)(channels, kernel_size)

    def forward(self, spikes: Tensor) -> Tensor:
        """See the class."""
        projected: Tensor = self.depthwise(self.pointwise(spikes))
        return projected


class Block(nn.Module):
    """The residual block of the module's equation, `[B, C, H, W]` to the same.

    Args:
        channels: C.
        kernel_size: of the depthwise convolutions.
        projection: PW_2 and DW_2, which blocks may share.
    """

    def __init__(self, channels: int, kernel_size: int, projection: Projection) -> None:
        super().__init__()
        self.neuron = MemorylessNeuron()
        self.depthwise = depthwise(channels, kernel_size)
        self.pointwise = residual_convolution(channels, EXPANSION * channels, 1)
        self.hidden_neuron = MemorylessNeuron()
        self.projection = projection

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        # One expression: a name for what is in between would keep it alive until the end.
        residual: Tensor = z + self.projection(self.hidden_neuron(self.pointwise(self.depthwise(self.neuron(z)))))
        return residual


class SpikingPath(nn.Module):
    """Spike, convolution without bias, batch norm, nearest upsampling: from one state into another level.

    Args:
        in_channels: of the state that is read.
        out_channels: of the level.
        kernel_size: of the convolution.
        stride: of the convolution.
        upsampling: times that the resolution grows.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int = 1, stride: int = 1, upsampling: int = 1
    ) -> None:
        super().__init__()
        self.neuron = MemorylessNeuron()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.upsampling = upsampling

    def forward(self, state: Tensor) -> Tensor:
        """A state `[B, C, H, W]` as the level adds it."""
        path: Tensor = self.norm(self.convolution(self.neuron(state)))
        return path if self.upsampling == 1 else F.interpolate(path, scale_factor=self.upsampling)


class Group(nn.Module):
    """One of T equal groups of the encoded channels, and its projection to the width of the first level (the paper)."""

    def __init__(self, channels: int, index: int, num_groups: int) -> None:
        super().__init__()
        size = channels // num_groups
        self.start, self.stop = index * size, (index + 1) * size
        self.projection = residual_convolution(size, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The encoded image `[B, C, H, W]` as this timestep sees it, `[B, C, H, W]`."""
        projected: Tensor = self.projection(x[:, self.start : self.stop])
        return projected


class Level(nn.Module):
    """Fusion and blocks of one level in one timestep.

    Args:
        bottom: what is made of the state below (or of the input).
        tops: what is made of the states above of the timestep before, in the order of the sources.
        blocks: the residual blocks.
    """

    def __init__(self, bottom: nn.Module, tops: Sequence[nn.Module], blocks: Sequence[Block]) -> None:
        super().__init__()
        self.bottom = bottom
        self.tops = nn.ModuleList(tops)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, below: Tensor, *above: Tensor) -> Tensor:
        """States `[B, C, H, W]` to this level's contribution to its own state."""
        z: Tensor = self.bottom(below)
        for top, state in zip(self.tops, above, strict=True):
            z = z + top(state)
        for block in self.blocks:
            z = block(z)
        return z


class Pool(nn.Module):
    """Global average of a state, of its spikes if a neuron is given: `[B, C, H, W]` to `[B, C, 1, 1]`."""

    def __init__(self, *, spiking: bool) -> None:
        super().__init__()
        self.neuron: nn.Module = MemorylessNeuron() if spiking else nn.Identity()

    def forward(self, state: Tensor) -> Tensor:
        """See the class."""
        pooled: Tensor = self.neuron(state).mean((-2, -1), keepdim=True)
        return pooled
