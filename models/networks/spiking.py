"""What every network of the suite is to its callers: input, timesteps, logits per timestep, and its own counts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.layers import over_frames
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.neurons import Neuron
from revbench.models.reversible import ReversibleSequence

InputKind = Literal["images", "events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputShape:
    """What a network reads: static images `[B, C, H, W]`, or event frames `[T, B, C, H, W]`."""

    kind: InputKind
    channels: int
    height: int
    width: int

    def square(self, image_size: int) -> "InputShape":
        """The same kind of input with sides of `image_size` pixels."""
        return replace(self, height=image_size, width=image_size)

    def of_batch(self, batch_size: int, timesteps: int) -> tuple[int, ...]:
        """The shape of the input tensor."""
        frame = (self.channels, self.height, self.width)
        return (batch_size, *frame) if self.kind == "images" else (timesteps, batch_size, *frame)

    def __str__(self) -> str:
        """As it is written on the command line: `3x32x32`, or `Tx2x128x128`."""
        return f"{'Tx' if self.kind == 'events' else ''}{self.channels}x{self.height}x{self.width}"


IMAGENET = InputShape(kind="images", channels=3, height=224, width=224)
CIFAR = InputShape(kind="images", channels=3, height=32, width=32)
EVENTS = InputShape(kind="events", channels=2, height=128, width=128)


class SpikingNetwork(nn.Module, ABC):
    """A classifier over T timesteps; maps its input to logits of every timestep, `[T, B, K]`.

    Attributes:
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        num_layers: weighted layers, counted as in the model's name.
        num_blocks: residual blocks.
        criterion: the loss, where it is a mean over timesteps; None where it is that of the mean of the logits.
        head_reads_spikes: whether the read-out reads spikes, or their mean over pixels, and not a residual stream.
        undividable: why the timesteps cannot be simulated in parts; empty where they can.
    """

    input_shape: InputShape
    timesteps: int
    num_classes: int
    num_layers: int
    num_blocks: int
    criterion: StepwiseLoss | None = None
    head_reads_spikes: bool = True
    undividable: str = ""

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`.

        Raises:
            ValueError: the input has another form than `input_shape` and `timesteps` say.
        """
        expected = self.input_shape.of_batch(x.shape[-4] if x.ndim >= 4 else 0, self.timesteps)
        if tuple(x.shape) != expected:
            form = "[B, C, H, W]" if self.input_shape.kind == "images" else "[T, B, C, H, W]"
            wanted = self.input_shape.of_batch(-1, self.timesteps)
            shown = ", ".join("B" if size == -1 else str(size) for size in wanted)
            raise ValueError(f"the input has shape {list(x.shape)}; this network reads {form} = [{shown}]")
        return self.logits(x)

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`, for a checked input."""

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss that the network is trained with: its criterion, or the cross entropy of the logits' mean (RevSNN).

        Args:
            logits: `[T, B, K]`, as the network returns them.
            targets: class indices `[B]`.
        """
        return (self.criterion or mean_logits)(logits, targets)

    def scores(self, logits: Tensor) -> Tensor:
        """What classes are told apart by, `[B, K]`: here the mean of the logits over timesteps."""
        return logits.mean(0)

    def checkpoint_groups(self) -> list[list[nn.Module]]:
        """What activation checkpointing takes as one: here each block, or each function of a reversible sequence.

        The members of a group are called one after the other, each with the value of the one before.
        """
        sequences = [module for module in self.modules() if isinstance(module, ReversibleSequence)]
        blocks = getattr(self, "blocks", ())
        own = blocks if isinstance(blocks, nn.Sequential | nn.ModuleList) else ()
        return [[block] for block in (*own, *(function for sequence in sequences for function in sequence.functions))]

    def stage_end_neurons(self) -> list[Neuron]:
        """The layers of neurons at the ends of the stages: those where T-RevSNN (ICML 2024) keeps temporal gradients.

        A stage is all that works at one resolution. Its end is its last layer of neurons. In pre-activation networks,
        where a stage ends in a residual stream, it is the neurons that read that stream: those that the next stage
        begins with, in its shortcut too, and behind the last stage those before the read-out.

        Raises:
            NotImplementedError: the network has no such stages.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no stage ends that are known; MS-ResNet, PreAct-ResNet, spiking ResNet and "
            "spiking VGG have"
        )

    def spiking_layers(self) -> list[nn.Module]:
        """The layers of neurons, whose potential goes from timestep to timestep."""
        return [module for module in self.modules() if isinstance(module, Neuron)]

    def leaks(self) -> set[float]:
        """The shares of the potential that stay in a timestep, of all layers of neurons.

        Raises:
            NotImplementedError: they are no constants.
        """
        return {module.dynamics.leak for module in self.modules() if isinstance(module, Neuron)}

    def traceable_layers(self) -> list[nn.Module]:
        """The convolutions and linear layers, in order: those that can learn from a trace of their input.

        Raises:
            NotImplementedError: there are others that learn a product of their input.
        """
        return [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]

    def begin_simulation(self) -> None:
        """Called before the first part of a simulation in parts, for neurons that keep their potential themselves."""

    def begin_part(self) -> None:
        """Called before each part: the potential is a constant for autograd from here on."""

    def end_simulation(self) -> None:
        """Called after the last part, or an error: nothing stays."""

    def stem_once(self, stem: nn.Module, x: Tensor) -> Tensor:
        """The stem's output as a sequence `[T, B, C, H, W]`: images go through once and are seen T times."""
        if self.input_shape.kind == "images":
            encoded: Tensor = stem(x)
            return encoded.expand(self.timesteps, *encoded.shape)
        return over_frames(stem, x)


def mean_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy of the logits' mean over timesteps (RevSNN)."""
    return F.cross_entropy(logits.mean(0), targets)


def pooled_logits(head: nn.Linear, features: Tensor) -> Tensor:
    """Global average pooling and the linear read-out: `[T, B, C, H, W]` to `[T, B, K]`."""
    logits: Tensor = head(features.mean((-2, -1)))
    return logits
