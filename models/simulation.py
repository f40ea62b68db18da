"""A simulation in parts: some timesteps at a time, between which the neurons remember their potential."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron
from revbench.models.neurons.memory import Memory
from revbench.models.neurons.published import PublishedNeuron
from revbench.models.reversible import ReversibleSequence


class Simulation:
    """One presentation of an input to a network; what is remembered ends with the block.

    What is remembered is a constant for autograd, so that gradients end at the beginning of a part. A part that is
    simulated while gradients are enabled must have its backward pass before the next one begins. Static images go
    through the stem in each part. Batch norms that take their statistics over all timesteps take those of a part.

    Args:
        network: any whose timesteps can be divided.
        inputs: `[B, C, H, W]` (images) or `[T, B, C, H, W]` (event frames).
        recomputed: layers beside those of reversible sequences that are evaluated once more in the backward pass.

    Attributes:
        timesteps: T.
        part: the timesteps that were simulated last.

    Raises:
        NotImplementedError: the timesteps of this network cannot be divided; the message says why.
    """

    def __init__(self, network: SpikingNetwork, inputs: Tensor, *, recomputed: Iterable[nn.Module] = ()) -> None:
        check_dividable(network)
        self.network = network
        self.inputs = inputs
        self.timesteps = network.timesteps
        self.part = range(0)
        self._recomputed = {*recomputed_parts(network), *recomputed}
        self._memories: list[tuple[Memory, bool]] = []

    def __enter__(self) -> Self:
        for neuron in _neurons(self.network):
            neuron.memory = self.remember(neuron)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for neuron in _neurons(self.network):
            neuron.memory = None
        self.network.timesteps = self.timesteps
        self._memories.clear()

    def remember(self, layer: nn.Module) -> Memory:
        """A memory for a layer of the network, which lives as long as the simulation."""
        memory = Memory()
        self._memories.append((memory, layer in self._recomputed))
        return memory

    def logits(self, part: range) -> Tensor:
        """Logits `[len(part), B, K]` of the timesteps of a part, which begins where the last one ended.

        Raises:
            RuntimeError: the last part learns, and its backward pass did not take place.
        """
        for memory, recomputed in self._memories:
            if not memory.was_noted:
                raise RuntimeError("a part of a simulation was begun before the backward pass of the one before")
            memory.begin_part(evaluated_twice=recomputed and torch.is_grad_enabled())
        self.part = part
        self.network.timesteps = len(part)
        images = self.network.input_shape.kind == "images"
        logits: Tensor = self.network(self.inputs if images else self.inputs[part.start : part.stop])
        return logits


def check_dividable(network: SpikingNetwork) -> None:
    """Raises NotImplementedError, with the reason, for a network whose timesteps cannot be simulated in parts."""
    if network.undividable:
        raise NotImplementedError(network.undividable)
    neurons = _neurons(network)
    if not neurons:
        raise NotImplementedError("a network without spiking neurons has no timesteps to divide; use the rule bptt")
    if any(isinstance(neuron, PublishedNeuron) for neuron in neurons):
        raise NotImplementedError("the published code's buffers are those of bptt; use the model without them")


def recomputed_parts(network: nn.Module) -> list[nn.Module]:
    """All modules that are evaluated a second time in the backward pass of a reversible sequence."""
    sequences = [module for module in network.modules() if isinstance(module, ReversibleSequence)]
    recomputed = [sequence for sequence in sequences if sequence.activations == "recomputed"]
    return [part for sequence in recomputed for part in sequence.functions.modules()]


def _neurons(network: nn.Module) -> list[Neuron]:
    return [module for module in network.modules() if isinstance(module, Neuron)]
