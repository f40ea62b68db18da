"""Networks that were written with SpikingJelly, for the rules and the measurements of this suite.

SpikingJelly's neurons keep their potential themselves. They are reset where a simulation begins and ends, and detached
where a part of it begins; a plain call of the network is a simulation of all timesteps. Neither the neurons nor the
layers are replaced: what is measured is SpikingJelly, under the rules of this suite.

This module alone needs SpikingJelly (`pip install revbench[spikingjelly]`).
"""

from collections.abc import Iterable

import torch
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from revbench.models.networks.outside import UNKNOWN_CLASSES, OutsideNetwork
from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.networks.stepwise_loss import StepwiseLoss

NEURONS = (neuron.BaseNode, neuron.SimpleBaseNode)
DIVIDABLE = (
    *NEURONS,
    layer.Dropout,
    layer.SeqToANNContainer,
    layer.MultiStepContainer,
    layer.ThresholdDependentBatchNorm1d,
    layer.ThresholdDependentBatchNorm2d,
    layer.ThresholdDependentBatchNorm3d,
)
"""Of the modules that remember, or see several timesteps at once: those that go on where the part before ended."""
LEAKY = (neuron.LIFNode, neuron.SimpleLIFNode)
LEAKLESS = (neuron.IFNode, neuron.SimpleIFNode)
ONLINE = (neuron.OTTTLIFNode, neuron.SLTTLIFNode)
TRACEABLE = (nn.Conv2d, nn.Linear, layer.Conv2d, layer.Linear)
NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


class SpikingJellyNetwork(SpikingNetwork):
    """A network of SpikingJelly's neurons.

    Batch norms that see several timesteps at once take the statistics of a part, as everywhere. OTTT takes the first
    convolution or linear layer in the order of registration for the one that reads the input, and the last for the
    read-out.

    Args:
        module: in single-step mode maps the input of a timestep to logits `[B, K]`; in multi-step mode `[T, B, ...]` to
            `[T, B, K]`.
        input_shape: what the network reads; static images are seen T times.
        timesteps: T.
        num_classes: K; None where it is not known.
        loss: where it is a mean over timesteps; None for the cross entropy of the mean of the logits.

    Raises:
        NotImplementedError: the neurons are made for one rule.
    """

    def __init__(
        self,
        module: nn.Module,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int | None = None,
        *,
        loss: StepwiseLoss | None = None,
    ) -> None:
        super().__init__()
        if online := _names(part for part in module.modules() if isinstance(part, ONLINE)):
            raise NotImplementedError(
                f"{online} detaches its potential in every rule; use LIFNode, and the rule ottt_a or sltt"
            )
        self.module = module
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes or UNKNOWN_CLASSES
        self._knows_classes = num_classes is not None
        self.num_layers = sum(isinstance(part, _ConvNd | nn.Linear) for part in module.modules())
        self.num_blocks = 0
        self.criterion = loss
        self.multi_step = any(_sees_sequences(part) for part in module.modules())
        undividable = _names(
            part
            for part in module.modules()
            if isinstance(part, base.MemoryModule | base.MultiStepModule) and not isinstance(part, DIVIDABLE)
        )
        if undividable:
            self.undividable = (
                f"{undividable} cannot go on from one part of a simulation to the next; use the rule bptt, or of "
                "SpikingJelly's neurons those derived from BaseNode"
            )
        self._in_simulation = False

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`.

        Raises:
            ValueError: the module returns something else.
        """
        if self._in_simulation:
            return self._logits(x)
        functional.reset_net(self.module)
        try:
            return self._logits(x)
        finally:
            functional.reset_net(self.module)

    def _logits(self, x: Tensor) -> Tensor:
        sequence = x.expand(self.timesteps, *x.shape) if self.input_shape.kind == "images" else x
        found: Tensor = (
            self.module(sequence) if self.multi_step else torch.stack([self.module(x_t) for x_t in sequence])
        )
        num_classes = self.num_classes if self._knows_classes else found.shape[-1]
        expected = (self.timesteps, sequence.shape[1], num_classes)
        if found.shape != expected:
            raise ValueError(f"the logits have shape {list(found.shape)}, not [T, B, K] = {list(expected)}")
        return found

    def spiking_layers(self) -> list[nn.Module]:
        """See `SpikingNetwork`."""
        return [part for part in self.module.modules() if isinstance(part, NEURONS)]

    def leaks(self) -> set[float]:
        """See `SpikingNetwork`."""
        others = _names(part for part in self.spiking_layers() if type(part) not in LEAKY + LEAKLESS)
        if others:
            raise NotImplementedError(f"the leak of {others} is not known to be constant; IFNode and LIFNode have one")
        return {1 - 1 / part.tau if isinstance(part, LEAKY) else 1.0 for part in self.spiking_layers()}

    def traceable_layers(self) -> list[nn.Module]:
        """See `SpikingNetwork`."""
        learning = [part for part in self.module.modules() if next(part.parameters(recurse=False), None) is not None]
        layers = [part for part in learning if not isinstance(part, NORMS)]
        if others := _names(part for part in layers if type(part) not in TRACEABLE or not _pads_with_zeros(part)):
            raise NotImplementedError(
                f"{others} cannot learn from a trace; Conv2d that pads with zeros and Linear can, or use the rule sltt"
            )
        return layers

    def begin_simulation(self) -> None:
        """See `SpikingNetwork`."""
        functional.reset_net(self.module)
        self._in_simulation = True

    def begin_part(self) -> None:
        """See `SpikingNetwork`."""
        functional.detach_net(self.module)

    def end_simulation(self) -> None:
        """See `SpikingNetwork`."""
        functional.reset_net(self.module)
        self._in_simulation = False

    def checkpoint_groups(self) -> list[list[nn.Module]]:
        """See `SpikingNetwork`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a second evaluation would move the potential of SpikingJelly's neurons on; use activations that are stored"
        )


class LoopingNetwork(OutsideNetwork):
    """A module that loops over time itself: its neurons are reset before and after, as its users would.

    Args and raises: see `OutsideNetwork`.
    """

    def logits(self, x: Tensor) -> Tensor:
        """See `OutsideNetwork`."""
        functional.reset_net(self.module)
        try:
            return super().logits(x)
        finally:
            functional.reset_net(self.module)


def has_neurons(module: nn.Module) -> bool:
    """Whether neurons of SpikingJelly are in the module."""
    return any(isinstance(part, NEURONS) for part in module.modules())


def _sees_sequences(part: nn.Module) -> bool:
    return isinstance(part, base.MultiStepModule) or getattr(part, "step_mode", "s") == "m"


def _pads_with_zeros(part: nn.Module) -> bool:
    return not isinstance(part, nn.Conv2d) or (part.padding_mode == "zeros" and not isinstance(part.padding, str))


def _names(parts: Iterable[nn.Module]) -> str:
    return ", ".join(sorted({type(part).__name__ for part in parts}))
