r"""Spiking NF-ResNet: residual networks without any norm, of OTTT and SLTT for ImageNet.

Convolution 7x7 of stride 2, average pooling 3x3 of stride 2; four stages of width, 2, 4, 8 times the width, the first
block of stages 2 to 4 with stride 2; global average of the real-valued sum, linear read-out. All convolutions have
scaled weight standardisation and bias (OTTT, NeurIPS 2022; SLTT, ICCV 2023; both codes). A block, for the input $x$:

$$s = 2.74\,\mathrm{LIF}(x / \beta)$$
$$y = \mathrm{shortcut} + \alpha\,g\,\mathrm{conv}(2.74\,\mathrm{LIF}(\mathrm{conv}(s)))$$

The shortcut is $x$, or a convolution 1x1 of $s$ where the shape changes; $\alpha = 0.2$; the gain $g$ is learnt and
begins at 0, as do the weights of the read-out. $\beta^2$ is the expected variance of $x$: 1 at first, $\alpha^2$ more
behind each block, $1 + \alpha^2$ behind one whose shape changes. LIF with tau 2 and soft reset that is detached,
sigmoid with alpha 4, as in OTTT; the division by $\beta$ is the neuron's input scale.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import (
    AveragePool,
    OverFrames,
    SpikeConvolution,
    initialise_with_bias,
    staged_blocks,
)
from revbench.models.networks.spiking import IMAGENET, SpikingNetwork, pooled_logits
from revbench.models.networks.spiking_vgg import ottt_neuron
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.neurons import Neuron

ALPHA = 0.2
SMALLEST_SIDE = 32


class Block(nn.Module):
    r"""The module's equation; `[T, B, C, H, W]` to the same with `out_channels`.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        stride: 2 where the resolution is halved.
        variance: $\beta^2$.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, variance: float) -> None:
        super().__init__()
        self.first_neuron = Neuron(replace(ottt_neuron().dynamics, input_scale=1 / math.sqrt(variance)))
        self.first_convolution = OverFrames(SpikeConvolution(in_channels, out_channels, 3, stride=stride))
        self.second_neuron = ottt_neuron()
        self.second_convolution = OverFrames(SpikeConvolution(out_channels, out_channels, 3))
        self.residual_gain = nn.Parameter(torch.zeros(()))
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = OverFrames(SpikeConvolution(in_channels, out_channels, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        spikes = self.first_neuron(x)
        residual = self.second_convolution(self.second_neuron(self.first_convolution(spikes)))
        return torch.addcmul(
            x if self.shortcut is None else self.shortcut(spikes), residual, self.residual_gain, value=ALPHA
        )


class NFResNet(SpikingNetwork):
    """The network of the module's description, for images with 3 channels.

    Static images go through the first convolution and its pooling once, and the result is seen T times.

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage.
        image_size: height and width of the images.
        timesteps: T.
        num_classes: K.

    Raises:
        ValueError: images smaller than 32x32 (they are halved five times), or not blocks for four stages.
    """

    criterion = StepwiseLoss()
    head_reads_spikes = False

    def __init__(self, blocks: Sequence[int], *, width: int, image_size: int, timesteps: int, num_classes: int) -> None:
        super().__init__()
        if image_size < SMALLEST_SIDE:
            raise ValueError(
                f"images of {image_size}x{image_size} are too small to be halved five times; "
                f"NF-ResNet takes sides of at least {SMALLEST_SIDE}"
            )
        plan = staged_blocks(blocks, (1, 2, 4, 8))
        self.input_shape = IMAGENET.square(image_size)
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.num_blocks = len(plan)
        self.num_layers = 2 + 2 * self.num_blocks
        self.stem = nn.Sequential(
            StandardisedConv2d(IMAGENET.channels, width, 7, stride=2), AveragePool(3, stride=2, padding=1)
        )
        self.blocks = nn.ModuleList()
        channels, variance = width, 1.0
        for factor, stride in plan:
            block = Block(channels, factor * width, stride=stride, variance=variance)
            self.blocks.append(block)
            channels = factor * width
            variance = (variance if block.shortcut is None else 1.0) + ALPHA**2
        self.head = nn.Linear(channels, num_classes)
        initialise_with_bias(self)
        nn.init.zeros_(self.head.weight)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        x = self.stem_once(self.stem, x)
        for block in self.blocks:
            x = block(x)
        return pooled_logits(self.head, x)


def nf_resnet(
    blocks: Sequence[int], *, timesteps: int, width: int = 64, num_classes: int = 1000, image_size: int = 224
) -> NFResNet:
    """NF-ResNet: 18 layers at 2, 2, 2, 2 blocks; 34 at 3, 4, 6, 3."""
    return NFResNet(blocks, width=width, image_size=image_size, timesteps=timesteps, num_classes=num_classes)
