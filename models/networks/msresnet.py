"""MS-ResNet: the spiking residual network with membrane shortcuts, the counterpart of RevSResNet.

Residual function: (neuron, convolution, batch norm) twice; nothing after the addition (Hu et al., 2021, as built in
the code of RevSNN, AAAI 2024). CIFAR networks: convolution 3x3 and four stages of width, 2, 4, 8 times the width; the
first block of stages 2 to 4 halves the resolution, with (neuron, convolution 1x1 of stride 2, batch norm) as shortcut.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

from torch import Tensor, nn

from revbench.models.networks.layers import (
    OverFrames,
    SpikingConvolution,
    convolution_and_norm,
    initialise,
    over_frames,
)
from revbench.models.networks.published import with_published_buffers
from revbench.models.networks.spiking import CIFAR, EVENTS, IMAGENET, InputShape, SpikingNetwork, pooled_logits
from revbench.models.neurons import IF, LIF, ArcTan, Neuron, Rectangle, Sigmoid

MakeNeuron = Callable[[], Neuron]


def cifar_neuron() -> Neuron:
    """The neuron of RevSNN's CIFAR ResNets: IF, hard reset to 0, reset detached, arctan with alpha 2."""
    return IF(surrogate=ArcTan(2.0))


def event_neuron() -> Neuron:
    """The neuron of RevSNN's event ResNets: LIF with tau 1.5, hard reset to 0, reset detached, sigmoid with alpha 4."""
    return LIF(tau=1.5, surrogate=Sigmoid(4.0))


class ResidualFunction(nn.Module):
    """Twice (neuron, convolution 3x3, batch norm): `[T, B, C, H, W]` to the same with `out_channels`."""

    def __init__(self, neuron: MakeNeuron, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first_neuron = neuron()
        self.first_convolution = convolution_and_norm(in_channels, out_channels, stride=stride)
        self.second_neuron = neuron()
        self.second_convolution = convolution_and_norm(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        # One expression: a name for what is in between would keep it alive until the end.
        return over_frames(
            self.second_convolution,
            self.second_neuron(over_frames(self.first_convolution, self.first_neuron(x))),
        )


def imagenet_neuron() -> Neuron:
    """The neuron of MS-ResNet's own code: a quarter of the potential stays, threshold 0.5, rectangle of width 1."""
    return LIF(tau=4 / 3, decay_input=False, threshold=0.5, surrogate=Rectangle(1.0))


class Block(nn.Module):
    """`shortcut(x) + residual(x)`; the shortcut is the identity unless the shape changes.

    Args:
        neuron: makes one layer of neurons.
        in_channels: channels that come in.
        out_channels: channels that go out.
        stride: of the first convolution and of the shortcut.
        spiking_shortcut: whether the shortcut's convolution reads spikes (RevSNN's code) or potentials (MS-ResNet's).
    """

    def __init__(
        self,
        neuron: MakeNeuron,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        spiking_shortcut: bool = True,
    ) -> None:
        super().__init__()
        self.residual = ResidualFunction(neuron, in_channels, out_channels, stride=stride)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = (
                SpikingConvolution(neuron(), in_channels, out_channels, kernel_size=1, stride=stride)
                if spiking_shortcut
                else OverFrames(*convolution_and_norm(in_channels, out_channels, kernel_size=1, stride=stride))
            )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.shortcut(x) + self.residual(x)  # type: ignore[no-any-return]

    def reading_neurons(self) -> list[Neuron]:
        """The layers of neurons that read `x`: one, or two where the shortcut has its own."""
        first = self.residual.first_neuron
        return [first, self.shortcut.neuron] if isinstance(self.shortcut, SpikingConvolution) else [first]


class MSResNet(SpikingNetwork):
    """MS-ResNet with any number of blocks in each stage.

    Args:
        blocks: blocks of each stage.
        widths: channels of each stage.
        stem: what makes `widths[0]` channels of the input's frames.
        neuron: makes one layer of neurons.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        first_stride: of the first stage.
        spiking_shortcuts: see `Block`.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int],
        widths: Sequence[int],
        stem: nn.Module,
        neuron: MakeNeuron,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int,
        first_stride: int = 1,
        spiking_shortcuts: bool = True,
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.stages = tuple(blocks)
        self.num_blocks = sum(blocks)
        self.num_layers = 2 + 2 * self.num_blocks
        self.stem = stem
        self.blocks = nn.Sequential()
        channels = widths[0]
        for stage, (num_blocks, width) in enumerate(zip(blocks, widths, strict=True)):
            for index in range(num_blocks):
                stride = 1 if index else 2 if stage else first_stride
                block = Block(neuron, channels, width, stride=stride, spiking_shortcut=spiking_shortcuts)
                self.blocks.append(block)
                channels = width
        self.last_neuron = neuron()
        self.head = nn.Linear(channels, num_classes)
        initialise(self)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        return pooled_logits(self.head, self.last_neuron(self.blocks(self.stem_once(self.stem, x))))

    def stage_end_neurons(self) -> list[Neuron]:
        """See `SpikingNetwork`."""
        firsts = [self.blocks[index] for index in accumulate(self.stages[:-1])]
        readers = [neuron for block in firsts if isinstance(block, Block) for neuron in block.reading_neurons()]
        return [*readers, self.last_neuron]


def msresnet(
    blocks: Sequence[int],
    *,
    timesteps: int,
    width: int = 64,
    num_classes: int = 10,
    published_buffers: bool = False,
) -> MSResNet:
    """MS-ResNet for 32x32 images: 18 layers at 2, 2, 2, 2 blocks; 34 at 3, 4, 6, 3; 104 at 3, 8, 32, 8.

    `published_buffers`: see `networks.published`.
    """
    network = MSResNet(
        blocks=blocks,
        widths=[width, 2 * width, 4 * width, 8 * width],
        stem=convolution_and_norm(CIFAR.channels, width),
        neuron=cifar_neuron,
        input_shape=CIFAR,
        timesteps=timesteps,
        num_classes=num_classes,
    )
    return with_published_buffers(network) if published_buffers else network


def msresnet_imagenet(
    blocks: Sequence[int],
    *,
    timesteps: int,
    width: int = 64,
    num_classes: int = 1000,
    image_size: int = IMAGENET.height,
) -> MSResNet:
    """MS-ResNet for 224x224 images (Hu et al., 2021, and its code): the baseline of T-RevSNN's ablation at 34 layers.

    Stem: convolution 7x7 of stride 2, batch norm, no pooling; every stage halves the resolution. The initialisation is
    that of RevSNN's networks; MS-ResNet's code begins with batch norm gains of 0.5, and 0 at the end of each block.
    """
    return MSResNet(
        blocks=blocks,
        widths=[width, 2 * width, 4 * width, 8 * width],
        stem=convolution_and_norm(IMAGENET.channels, width, kernel_size=7, stride=2),
        neuron=imagenet_neuron,
        input_shape=IMAGENET.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        first_stride=2,
        spiking_shortcuts=False,
    )


def msresnet_events(
    blocks: Sequence[int],
    *,
    timesteps: int,
    width: int = 16,
    num_classes: int = 10,
    image_size: int = EVENTS.height,
    published_buffers: bool = False,
) -> MSResNet:
    """MS-ResNet for event frames 2x128x128: 20 layers at 3, 3, 3 blocks (RevSNN's `ms_resnet20`).

    `published_buffers`: see `networks.published`.
    """
    network = MSResNet(
        blocks=blocks,
        widths=[width, 2 * width, 4 * width],
        stem=nn.Sequential(
            *convolution_and_norm(EVENTS.channels, width, stride=2), nn.MaxPool2d(3, stride=2, padding=1)
        ),
        neuron=event_neuron,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
    )
    return with_published_buffers(network) if published_buffers else network
