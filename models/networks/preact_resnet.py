"""Spiking PreAct-ResNet-18 of SLTT (Meng et al., ICCV 2023, and its code).

Convolution 3x3 without bias; four stages of width, 2, 4, 8 times the width, the first block of stages 2 to 4 with
stride 2; batch norm, neurons, global average, linear read-out. A block, for the input $x$, with batch norm of every
timestep by itself and convolutions 3x3 with bias:

    s = LIF(norm(x)),   y = conv(LIF(norm(conv(s)))) + shortcut(s)

The shortcut passes on the *spikes* s, through a convolution 1x1 with bias where the shape changes. LIF with tau 1.1 and
an input that is not divided, soft reset, triangle with alpha 1. Its dropout is off.
"""

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor, nn

from revbench.models.networks.layers import OverFrames, initialise, staged_blocks
from revbench.models.networks.spiking import CIFAR, SpikingNetwork, pooled_logits
from revbench.models.networks.spiking_vgg import sltt_neuron
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.stepwise_norm import StepwiseBatchNorm
from revbench.models.neurons import Neuron


class Block(nn.Module):
    """The module's equation; `[T, B, C, H, W]` to the same with `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.first_norm = StepwiseBatchNorm(in_channels)
        self.first_neuron = sltt_neuron()
        self.first_convolution = OverFrames(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1))
        self.second_norm = StepwiseBatchNorm(out_channels)
        self.second_neuron = sltt_neuron()
        self.second_convolution = OverFrames(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = OverFrames(nn.Conv2d(in_channels, out_channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        spikes = self.first_neuron(self.first_norm(x))
        y: Tensor = self.shortcut(spikes) + self.second_convolution(
            self.second_neuron(self.second_norm(self.first_convolution(spikes)))
        )
        return y


class PreActResNet(SpikingNetwork):
    """The network of the module's description, for images 3x32x32.

    Static images go through the first convolution once, and its output is seen T times.

    Args:
        blocks: blocks of each stage.
        width: channels of the first stage.
        timesteps: T.
        num_classes: K.

    Raises:
        ValueError: another number of stages than four, or a stage without blocks.
    """

    criterion = StepwiseLoss(mse_share=0.05, one_hot=False)

    def __init__(self, blocks: Sequence[int], *, width: int, timesteps: int, num_classes: int) -> None:
        super().__init__()
        plan = staged_blocks(blocks, (1, 2, 4, 8))
        self.input_shape = CIFAR
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.stages = tuple(blocks)
        self.num_blocks = len(plan)
        self.num_layers = 2 + 2 * self.num_blocks
        self.stem = nn.Conv2d(CIFAR.channels, width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        channels = width
        for factor, stride in plan:
            self.blocks.append(Block(channels, factor * width, stride=stride))
            channels = factor * width
        self.last_norm = StepwiseBatchNorm(channels)
        self.last_neuron = sltt_neuron()
        self.head = nn.Linear(channels, num_classes)
        initialise(self)
        nn.init.zeros_(self.head.bias)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        x = self.stem_once(self.stem, x)
        for block in self.blocks:
            x = block(x)
        return pooled_logits(self.head, self.last_neuron(self.last_norm(x)))

    def stage_end_neurons(self) -> list[Neuron]:
        """See `SpikingNetwork`."""
        firsts = [self.blocks[index] for index in accumulate(self.stages[:-1])]
        return [*(block.first_neuron for block in firsts if isinstance(block, Block)), self.last_neuron]


def preact_resnet(blocks: Sequence[int], *, timesteps: int, width: int = 64, num_classes: int = 10) -> PreActResNet:
    """PreAct-ResNet for 32x32 images: 18 layers at 2, 2, 2, 2 blocks; 34 at 3, 4, 6, 3."""
    return PreActResNet(blocks, width=width, timesteps=timesteps, num_classes=num_classes)
