"""Spiking VGG-11: scaled weight standardisation for OTTT, batch norm for SLTT.

OTTT (Xiao et al., NeurIPS 2022, and its code): convolutions 3x3 with bias and standardised weight, of 64, 128, P, 256,
256, P, 512, 512, P, 512, 512 channels, each with neurons behind it whose spikes count 2.74; P is average pooling by 2;
global average and linear read-out. LIF with tau 2, soft reset that is detached, sigmoid with alpha 4.

SLTT (Meng et al., ICCV 2023, and its code): convolutions with bias, batch norm of every timestep by itself, and
neurons, of 64, P, 128, P, 256, 256, P, 512, 512, P, 512, 512, P channels; adaptive average to 7x7 (smaller maps are
spread: 1x1 into 49 copies) and linear read-out. LIF with tau 1.1, soft reset, triangle with alpha 1. No dropout.

No neuron divides its input. Of the three linear layers of the original VGG-11 one is left, so there are 9 layers.
VGG-F, OTTT's variant with a feedback connection, is left out.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import zip_longest

import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.layers import (
    SPIKE_GAIN,
    AveragePool,
    OverFrames,
    SpikeConvolution,
    initialise_with_bias,
)
from revbench.models.networks.spiking import CIFAR, InputShape, SpikingNetwork
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.stepwise_norm import StepwiseBatchNorm
from revbench.models.neurons import LIF, Neuron, Sigmoid, Triangle

VGG11 = (1, 1, 2, 2, 2)
"""Convolutions of each group."""


def ottt_neuron() -> Neuron:
    """The neuron of OTTT's networks."""
    return LIF(tau=2.0, decay_input=False, v_reset=None, detach_reset=True, surrogate=Sigmoid(4.0))


def sltt_neuron() -> Neuron:
    """The neuron of SLTT's networks with batch norm."""
    return LIF(tau=1.1, decay_input=False, v_reset=None, detach_reset=False, surrogate=Triangle(1.0))


def _is_pooling(layer: nn.Module) -> bool:
    return isinstance(layer, OverFrames) and isinstance(layer[0], AveragePool)


class SpikingVGG(SpikingNetwork):
    """Five groups of convolutions, average pooling behind some, and one linear read-out.

    Static images go through the first convolution once, and its output is seen T times.

    Args:
        convolutions: how many each group has.
        width: channels of the first group; the others have 2, 4, 8 and 8 times as many.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        loss: of the logits of all timesteps.

    Raises:
        ValueError: another number of groups, an empty group, or frames that the poolings leave nothing of.
    """

    pooled_groups: tuple[int, ...]
    """The groups behind which average pooling halves the resolution."""

    def __init__(
        self,
        convolutions: Sequence[int],
        *,
        width: int,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int,
        loss: StepwiseLoss,
    ) -> None:
        super().__init__()
        if len(convolutions) != 5 or min(convolutions) < 1:
            raise ValueError(f"a VGG has five groups of at least one convolution each, not {list(convolutions)}")
        smallest = 2 ** len(self.pooled_groups)
        if min(input_shape.height, input_shape.width) < smallest:
            raise ValueError(
                f"frames of {input_shape.height}x{input_shape.width} are too small for {len(self.pooled_groups)} "
                f"poolings by 2; this VGG takes sides of at least {smallest}"
            )
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.num_layers = sum(convolutions) + 1
        self.num_blocks = 0
        self.criterion = loss
        layers: list[nn.Module] = []
        channels = input_shape.channels
        for group, (number, factor) in enumerate(zip(convolutions, (1, 2, 4, 8, 8), strict=True)):
            for _ in range(number):
                layers += self.unit(channels, factor * width, first=not layers)
                channels = factor * width
            if group in self.pooled_groups:
                layers.append(OverFrames(AveragePool(2, stride=2, padding=0)))
        self.stem = layers[0]
        self.layers = nn.ModuleList(layers[1:])
        self.head = self.make_head(channels)
        initialise_with_bias(self)
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    @abstractmethod
    def unit(self, in_channels: int, out_channels: int, *, first: bool) -> Iterable[nn.Module]:
        """A convolution and what belongs to it, over sequences; the network's first convolution over frames."""

    @abstractmethod
    def make_head(self, channels: int) -> nn.Linear:
        """The linear read-out."""

    @abstractmethod
    def read_out(self, spikes: Tensor) -> Tensor:
        """Logits `[T, B, K]` of the last spikes `[T, B, C, H, W]`."""

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        x = self.stem_once(self.stem, x)
        # Each layer by itself: whoever calls a sequence of layers keeps its input until the end.
        for layer in self.layers:
            x = layer(x)
        return self.read_out(x)

    def stage_end_neurons(self) -> list[Neuron]:
        """See `SpikingNetwork`: the neurons before each pooling, and the last."""
        layers = [*self.layers]
        return [
            layer
            for layer, next_layer in zip_longest(layers, layers[1:])
            if isinstance(layer, Neuron) and (next_layer is None or _is_pooling(next_layer))
        ]

    def checkpoint_groups(self) -> list[list[nn.Module]]:
        """A convolution and what follows, down to the next one."""
        groups: list[list[nn.Module]] = [[]]
        for layer in self.layers:
            if groups[-1] and any(isinstance(part, nn.Conv2d) for part in layer.modules()):
                groups.append([])
            groups[-1].append(layer)
        return groups


class StandardisedVGG(SpikingVGG):
    """OTTT's: see the module."""

    pooled_groups = (1, 2, 3)

    def unit(self, in_channels: int, out_channels: int, *, first: bool) -> Iterable[nn.Module]:
        """Convolution and neurons."""
        if first:
            return [StandardisedConv2d(in_channels, out_channels, 3), ottt_neuron()]
        return [OverFrames(SpikeConvolution(in_channels, out_channels, 3)), ottt_neuron()]

    def make_head(self, channels: int) -> nn.Linear:
        """Reads one number a channel."""
        return nn.Linear(channels, self.num_classes)

    def read_out(self, spikes: Tensor) -> Tensor:
        """Of the mean over pixels, times the gain."""
        logits: Tensor = self.head(spikes.mean((-2, -1)) * SPIKE_GAIN)
        return logits


class BatchNormVGG(SpikingVGG):
    """SLTT's: see the module."""

    pooled_groups = (0, 1, 2, 3, 4)
    side = 7

    def unit(self, in_channels: int, out_channels: int, *, first: bool) -> Iterable[nn.Module]:
        """Convolution, batch norm and neurons."""
        convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        return [convolution if first else OverFrames(convolution), StepwiseBatchNorm(out_channels), sltt_neuron()]

    def make_head(self, channels: int) -> nn.Linear:
        """Reads 7x7 numbers a channel."""
        return nn.Linear(channels * self.side**2, self.num_classes)

    def read_out(self, spikes: Tensor) -> Tensor:
        """Of the adaptive average."""
        logits: Tensor = self.head(F.adaptive_avg_pool2d(spikes.flatten(0, 1), self.side).flatten(1))
        return logits.view(*spikes.shape[:2], -1)


def events_of_side(image_size: int) -> InputShape:
    """Event frames of two polarities."""
    return InputShape(kind="events", channels=2, height=image_size, width=image_size)


def vgg_sws(
    convolutions: Sequence[int] = VGG11, *, timesteps: int, width: int = 64, num_classes: int = 10, image_size: int = 32
) -> StandardisedVGG:
    """OTTT's VGG for images: 5 % of the loss is the mean squared error."""
    return StandardisedVGG(
        convolutions,
        width=width,
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        loss=StepwiseLoss(mse_share=0.05),
    )


def vgg_sws_events(
    convolutions: Sequence[int] = VGG11, *, timesteps: int, width: int = 64, num_classes: int = 10, image_size: int = 48
) -> StandardisedVGG:
    """OTTT's VGG for event frames (CIFAR10-DVS, DVS-Gesture): 0.1 % of the loss is the mean squared error."""
    return StandardisedVGG(
        convolutions,
        width=width,
        input_shape=events_of_side(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        loss=StepwiseLoss(mse_share=0.001),
    )


def vgg_bn(
    convolutions: Sequence[int] = VGG11, *, timesteps: int, width: int = 64, num_classes: int = 10, image_size: int = 32
) -> BatchNormVGG:
    """SLTT's VGG for images, which the paper does not train; loss as for its CIFAR networks."""
    return BatchNormVGG(
        convolutions,
        width=width,
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        loss=StepwiseLoss(mse_share=0.05, one_hot=False),
    )


def vgg_bn_events(
    convolutions: Sequence[int] = VGG11,
    *,
    timesteps: int,
    width: int = 64,
    num_classes: int = 10,
    image_size: int = 48,
    one_hot: bool = True,
) -> BatchNormVGG:
    """SLTT's VGG for event frames: 48x48 and one-hot for CIFAR10-DVS; 128x128, 11 classes and not for DVS-Gesture."""
    return BatchNormVGG(
        convolutions,
        width=width,
        input_shape=events_of_side(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        loss=StepwiseLoss(mse_share=0.05, one_hot=one_hot),
    )
