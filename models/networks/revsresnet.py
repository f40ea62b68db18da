"""RevSResNet: the reversible spiking residual network of RevSNN (Zhang & Zhang, AAAI 2024, section 3 and its code).

Two streams of equal width. A block is two couplings, `Y1 = X1 + F(X2)` and `Y2 = X2 + G(Y1)`, with the residual
function of MS-ResNet for F and G. The blocks of a stage are one reversible sequence; between stages the streams are
mixed by (neuron, average pooling 3x3 of stride 2, convolution 1x1, batch norm), which is not reversible.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import AveragePool, convolution_and_norm, initialise, over_frames
from revbench.models.networks.msresnet import MakeNeuron, ResidualFunction, cifar_neuron, event_neuron
from revbench.models.networks.published import with_published_buffers
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape, SpikingNetwork
from revbench.models.reversible import Activations, Coupling, ReversibleSequence

Streams = tuple[Tensor, ...]


class Downsampling(nn.Module):
    """Both streams to half the resolution and another width, mixed by a convolution 1x1.

    The pooled spikes are concatenated, not the streams: the same values with a quarter of the copying.
    """

    def __init__(self, neuron: MakeNeuron, in_width: int, out_width: int) -> None:
        super().__init__()
        self.neuron = neuron()
        self.pool = AveragePool(3, stride=2, padding=1)
        self.convolution = convolution_and_norm(2 * in_width, 2 * out_width, kernel_size=1)

    def forward(self, *streams: Tensor) -> Streams:
        """Two streams `[T, B, C, H, W]` to two of half the resolution."""
        pooled = torch.cat([over_frames(self.pool, self.neuron(x)) for x in streams], dim=2)
        return over_frames(self.convolution, pooled).chunk(2, dim=2)


class RevSResNet(SpikingNetwork):
    """RevSResNet with any number of blocks in each stage.

    Args:
        blocks: reversible blocks of each stage.
        widths: channels of one stream in each stage.
        stem: what makes `2 * widths[0]` channels of the input's frames.
        neuron: makes one layer of neurons.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        activations: `recomputed`, or `stored` for ordinary autograd over the same weights.
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
        activations: Activations = "recomputed",
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.num_blocks = sum(blocks)
        self.num_layers = 1 + len(widths) + 4 * self.num_blocks
        self.stem = stem
        self.stages = nn.ModuleList()
        self.downsamplings = nn.ModuleList()
        for stage, (num_blocks, width) in enumerate(zip(blocks, widths, strict=True)):
            if stage > 0:
                self.downsamplings.append(Downsampling(neuron, widths[stage - 1], width))
            self.stages.append(_stage(neuron, width, num_blocks, activations))
        self.last_neuron = neuron()
        self.head = nn.Linear(2 * widths[-1], num_classes)
        initialise(self)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        streams: Streams = self.stem_once(self.stem, x).chunk(2, dim=2)
        streams = self.stages[0](*streams)
        for downsampling, stage in zip(self.downsamplings, self.stages[1:], strict=True):
            streams = stage(*downsampling(*streams))
        features = torch.cat([self.last_neuron(x).mean((-2, -1)) for x in streams], dim=-1)
        logits: Tensor = self.head(features)
        return logits


def _stage(neuron: MakeNeuron, width: int, num_blocks: int, activations: Activations) -> ReversibleSequence:
    couplings = []
    for _ in range(num_blocks):
        couplings.append(Coupling(0, (1,), ResidualFunction(neuron, width, width)))
        couplings.append(Coupling(1, (0,), ResidualFunction(neuron, width, width)))
    return ReversibleSequence(couplings, activations)


def revsresnet(
    blocks: Sequence[int],
    *,
    timesteps: int,
    width: int = 64,
    num_classes: int = 10,
    activations: Activations = "recomputed",
    published_buffers: bool = False,
) -> RevSResNet:
    """RevSResNet for 32x32 images: 21 layers at 1, 1, 1, 1 blocks; 37 at 1, 2, 3, 2; 109 at 2, 4, 16, 4.

    The last stage is 7 and not 8 times as wide as the first, which brings the parameters near the counterpart's.

    `published_buffers`: see `networks.published`.
    """
    network = RevSResNet(
        blocks=blocks,
        widths=[width, 2 * width, 4 * width, 7 * width],
        stem=convolution_and_norm(CIFAR.channels, 2 * width),
        neuron=cifar_neuron,
        input_shape=CIFAR,
        timesteps=timesteps,
        num_classes=num_classes,
        activations=activations,
    )
    return with_published_buffers(network) if published_buffers else network


def revsresnet_events(
    blocks: Sequence[int],
    *,
    timesteps: int,
    width: int = 16,
    num_classes: int = 10,
    image_size: int = EVENTS.height,
    activations: Activations = "recomputed",
    published_buffers: bool = False,
) -> RevSResNet:
    """RevSResNet for event frames 2x128x128: 24 layers at 1, 2, 2 blocks.

    `published_buffers`: see `networks.published`.
    """
    network = RevSResNet(
        blocks=blocks,
        widths=[width, 2 * width, 3 * width],
        stem=nn.Sequential(
            *convolution_and_norm(EVENTS.channels, 2 * width, stride=2), AveragePool(3, stride=2, padding=1)
        ),
        neuron=event_neuron,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        activations=activations,
    )
    return with_published_buffers(network) if published_buffers else network
