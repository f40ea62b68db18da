"""ResNet-19 for CIFAR, with spiking neurons or with ReLU, from one description.

Convolution 3x3, batch norm, activation; three stages of 2, 4, 8 times the width with 3, 3, 2 blocks, the first block of
stages 2 and 3 with stride 2; global average; linear to 4 times the width, activation, linear read-out. A block:

    y = activation(norm(conv(activation(norm(conv(x))))) + shortcut(x))

with (convolution 1x1, batch norm) as shortcut where the shape changes. Convolutions have no bias, and batch norms one
mean and variance for all frames (temporal efficient training, Deng et al., ICLR 2022, and its code, whose "tdBN" is
this; the threshold-dependent batch norm of other versions is left out, as is their norm on an unchanged shortcut).

The spiking network's neuron: h = v/2 + x, spike where h reaches 1, hard reset to 0 that is *not* detached, triangle
with alpha 1. The published code fires above 1 only; that differs where h is exactly 1.

The hidden linear layer begins with larger weights than in the published code, whose default gives its neurons currents
of about 0.1 for a threshold of 1: they are silent at first, and after eight epochs on digits half of those of a small
network still were, with 91 % of the test digits told apart instead of 98 %.

Its counterpart has ReLU for neurons and no time: one pass over the image, whatever T.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from torch import Tensor, nn

from revbench.models.networks.layers import OverFrames, convolution_and_norm, initialise, staged_blocks
from revbench.models.networks.spiking import CIFAR, SpikingNetwork
from revbench.models.neurons import LIF, Neuron, Triangle

RESNET19 = (3, 3, 2)
"""Blocks of each stage."""

HIDDEN_GAIN = 4.0
"""Of the weights of the hidden linear layer: firing rates, of 0.2 to 0.3, times this give currents of about 1."""

MakeActivation = Callable[[], nn.Module]


def tet_neuron() -> Neuron:
    """The neuron of the module's description."""
    return LIF(tau=2.0, decay_input=False, v_reset=0.0, detach_reset=False, surrogate=Triangle(1.0))


class Block(nn.Module):
    """The module's equation; `[T, B, C, H, W]` to the same with `out_channels`."""

    def __init__(self, activation: MakeActivation, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.first_convolution = OverFrames(*convolution_and_norm(in_channels, out_channels, stride=stride))
        self.first_activation = activation()
        self.second_convolution = OverFrames(*convolution_and_norm(out_channels, out_channels))
        self.second_activation = activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = OverFrames(*convolution_and_norm(in_channels, out_channels, kernel_size=1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.second_activation(
            self.second_convolution(self.first_activation(self.first_convolution(x))) + self.shortcut(x)
        )
        return y


class SpikingResNet(SpikingNetwork):
    """The spiking network of the module's description, for images 3x32x32.

    Static images go through the first convolution and batch norm once, and the result is seen T times: the values of
    T copies normalised together (the running variance alone differs, by the correction for the number of pixels).

    Args:
        blocks: blocks of each of the three stages.
        width: half the channels of the first stage.
        stem_width: channels of the first convolution; by default `width` (other versions: twice as many).
        hidden_layer: whether there is a layer between the global average and the read-out.
        timesteps: T.
        num_classes: K.

    Raises:
        ValueError: another number of stages than three, or a stage without blocks.
    """

    activation: MakeActivation = staticmethod(tet_neuron)

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        timesteps: int,
        width: int = 64,
        num_classes: int = 10,
        stem_width: int | None = None,
        hidden_layer: bool = True,
    ) -> None:
        super().__init__()
        plan = staged_blocks(blocks, (2, 4, 8))
        self.input_shape = CIFAR
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.stages = tuple(blocks)
        self.num_blocks = len(plan)
        self.num_layers = 2 + 2 * self.num_blocks + hidden_layer
        channels = stem_width or width
        self.stem = convolution_and_norm(CIFAR.channels, channels)
        self.stem_activation = self.activation()
        self.blocks = nn.ModuleList()
        for factor, stride in plan:
            self.blocks.append(Block(self.activation, channels, factor * width, stride=stride))
            channels = factor * width
        self.head = nn.Sequential()
        if hidden_layer:
            hidden, activation = nn.Linear(channels, 4 * width), self.activation()
            if isinstance(activation, Neuron):
                nn.init.normal_(hidden.weight, std=HIDDEN_GAIN / math.sqrt(channels))
            self.head.extend([hidden, activation])
            channels = 4 * width
        self.head.append(nn.Linear(channels, num_classes))
        initialise(self)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        x = self.stem_activation(self.stem_once(self.stem, x))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean((-2, -1)))
        return logits

    def stage_end_neurons(self) -> list[Neuron]:
        """See `SpikingNetwork`; none where activations are no neurons."""
        lasts = [self.blocks[index - 1] for index in accumulate(self.stages)]
        ends = [block.second_activation for block in lasts if isinstance(block, Block)]
        return [end for end in ends if isinstance(end, Neuron)] or super().stage_end_neurons()


class ANNResNet(SpikingResNet):
    """The same network with ReLU for neurons: no spikes and no time.

    A `SpikingNetwork` for the sake of those who train it. `timesteps` is accepted, but the image is seen once, and the
    logits are `[1, B, K]`.
    """

    activation = staticmethod(nn.ReLU)

    def stem_once(self, stem: nn.Module, x: Tensor) -> Tensor:
        """The stem's output as a sequence of length 1."""
        encoded: Tensor = stem(x)
        return encoded.unsqueeze(0)
