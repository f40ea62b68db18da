r"""Patch splitting: from frames to a map of tokens of width D, by convolutions 3x3 and max pooling.

All three networks halve the resolution where `pooling` says so, over channels D/8, D/4, D/2, D, D (no bias):

* Spikingformer and RevSFormer (RevSNN, AAAI 2024, section 3 and its code):
  conv, BN, four times (neuron, [pool], conv, BN). 32x32 images pool in front of the last two convolutions, event
  frames 128x128 in front of the last four; both give 8x8 tokens. The published code writes 128 down; here any size
  is taken that can be halved as often.
* Spike-driven Transformer (SDT, NeurIPS 2023, section 3 and its code):
  three times (conv, BN, neuron, [pool]), then $u$ = (conv, BN, [pool]) and $y = BN(conv(neuron(u))) + u$, whose last
  part stands for a position code.

Both end in real numbers: the membrane potential that the blocks add to. Their codes repeat a static image T times in
front of the first convolution; here it goes through once (`SpikingNetwork.stem_once`). The batch statistics over T
equal copies are the same, so the values are; only the running variance differs, by the factor
$(1 - 1/(TBHW)) / (1 - 1/(BHW))$, since it is the unbiased one.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from revbench.models.networks.layers import ConvolutionAndNeuron, convolution_and_norm, over_frames
from revbench.models.networks.max_pooling import MaxPool, MaxPooledNeuron
from revbench.models.networks.spiking import InputShape
from revbench.models.neurons import LIF, Neuron

Encode = Callable[[nn.Module, Tensor], Tensor]
"""How a network takes its input through a stem: `SpikingNetwork.stem_once`."""


def check_geometry(shape: InputShape, width: int, pooling: Sequence[bool]) -> None:
    """Refuses a width or an image size that the patch splitting cannot take.

    Raises:
        ValueError: the width is no multiple of 8, or a side cannot be halved as often as there is pooling.
    """
    if width < 8 or width % 8:
        raise ValueError(f"the width is {width}; it must be a multiple of 8, for the first convolution has width / 8")
    divisor = 2 ** sum(pooling)
    if min(shape.height, shape.width) < divisor or shape.height % divisor or shape.width % divisor:
        raise ValueError(
            f"the images have {shape.height}x{shape.width} pixels; both sides must be multiples of {divisor}, "
            f"for the patch splitting halves them {sum(pooling)} times"
        )


class SpikingStages(nn.Module):
    """As often as `pooling` is long: convolution 3x3, batch norm, neuron, and max pooling where it is true.

    Args:
        in_channels: of the input's frames.
        widths: channels of each stage.
        pooling: whether the spikes of each stage are pooled.
        tau: of the neurons.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], pooling: Sequence[bool], *, tau: float) -> None:
        super().__init__()
        neurons = [_neuron(tau, pool) for pool in pooling]
        self.stem = convolution_and_norm(in_channels, widths[0])
        self.neuron = neurons[0]
        self.stages = nn.Sequential(
            *(
                ConvolutionAndNeuron(convolution_and_norm(before, width), neuron)
                for before, width, neuron in zip(widths, widths[1:], neurons[1:], strict=False)
            )
        )

    def forward(self, x: Tensor, encode: Encode) -> Tensor:
        """Spikes `[T, B, C, H, W]` of a network's input; `encode` takes it through the stem."""
        # One expression: what the stem makes is as large as anything here, and gone once the neurons have read it.
        spikes: Tensor = self.stages(self.neuron(encode(self.stem, x)))
        return spikes


class SpikingTokenizer(nn.Module):
    """The patch splitting of Spikingformer and RevSFormer.

    Args:
        in_channels: of the input's frames.
        width: D.
        pooling: four flags, whether the spikes in front of each of the last four convolutions are pooled.
        tau: of the neurons.
    """

    def __init__(self, in_channels: int, width: int, pooling: Sequence[bool], *, tau: float) -> None:
        super().__init__()
        self.stages = SpikingStages(in_channels, _widths(width), pooling, tau=tau)
        self.convolution = convolution_and_norm(width, width)

    def forward(self, x: Tensor, encode: Encode) -> Tensor:
        """The map of tokens `[T, B, D, H, W]`, real numbers."""
        return over_frames(self.convolution, self.stages(x, encode))


class SpikeDrivenTokenizer(nn.Module):
    """The patch splitting of the Spike-driven Transformer.

    Args:
        in_channels: of the input's frames.
        width: D.
        pooling: four flags, whether each of the first four stages is pooled: the fourth in front of its neurons.
    """

    def __init__(self, in_channels: int, width: int, pooling: Sequence[bool]) -> None:
        super().__init__()
        *widths, _ = _widths(width)
        self.stages = SpikingStages(in_channels, widths, pooling[:3], tau=2.0)
        self.convolution = convolution_and_norm(width // 2, width)
        if pooling[3]:
            self.convolution.append(MaxPool(stride=2))
        self.neuron = LIF(tau=2.0)
        self.position = convolution_and_norm(width, width)

    def forward(self, x: Tensor, encode: Encode) -> Tensor:
        """The map of tokens `[T, B, D, H, W]`, real numbers."""
        u = over_frames(self.convolution, self.stages(x, encode))
        return over_frames(self.position, self.neuron(u)) + u


def _widths(width: int) -> list[int]:
    return [width // 8, width // 4, width // 2, width]


def _neuron(tau: float, pool: bool) -> Neuron:
    neuron = LIF(tau=tau)
    return MaxPooledNeuron(neuron, stride=2) if pool else neuron
