"""A simulation in parts: some timesteps at a time, between which the neurons remember their potential."""

from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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
        recomputed: groups of modules beside reversible sequences that the backward pass evaluates once more. The first
            of a group is called with what goes into the group.

    Attributes:
        timesteps: T.
        part: the timesteps that were simulated last.

    Raises:
        NotImplementedError: the timesteps of this network cannot be divided; the message says why.
    """

    def __init__(
        self, network: SpikingNetwork, inputs: Tensor, *, recomputed: Iterable[Sequence[nn.Module]] = ()
    ) -> None:
        check_dividable(network)
        self.network = network
        self.inputs = inputs
        self.timesteps = network.timesteps
        self.part = range(0)
        self._recomputed = [*([sequence] for sequence in recomputed_sequences(network)), *recomputed]
        self._memories: list[tuple[Memory, nn.Module]] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for neuron in _neurons(self.network):
            neuron.memory = self.remember(neuron)
        for group in self._recomputed:
            self._hooks.append(group[0].register_forward_pre_hook(partial(self._group_begins, group)))
        self.network.begin_simulation()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for neuron in _neurons(self.network):
            neuron.memory = None
        while self._hooks:
            self._hooks.pop().remove()
        self.network.end_simulation()
        self.network.timesteps = self.timesteps
        self._memories.clear()

    def remember(self, layer: nn.Module) -> Memory:
        """A memory for a layer of the network, which lives as long as the simulation."""
        memory = Memory()
        self._memories.append((memory, layer))
        return memory

    def logits(self, part: range) -> Tensor:
        """Logits `[len(part), B, K]` of the timesteps of a part, which begins where the last one ended.

        Raises:
            RuntimeError: the last part learns, and its backward pass did not take place.
        """
        for memory, _ in self._memories:
            if not memory.was_noted:
                raise RuntimeError("a part of a simulation was begun before the backward pass of the one before")
            memory.begin_part()
        self.network.begin_part()
        self.part = part
        self.network.timesteps = len(part)
        images = self.network.input_shape.kind == "images"
        logits: Tensor = self.network(self.inputs if images else self.inputs[part.start : part.stop])
        return logits

    def _group_begins(self, group: Sequence[nn.Module], _first: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A group is evaluated once more if it learns, or what it reads does; else there is nothing to go back for."""
        layers = {layer for module in group for layer in module.modules()}
        read = [*inputs, *(parameter for module in group for parameter in module.parameters())]
        if torch.is_grad_enabled() and any(getattr(each, "requires_grad", False) for each in read):
            for memory, layer in self._memories:
                memory.evaluated_twice |= layer in layers


def check_dividable(network: SpikingNetwork) -> None:
    """Raises NotImplementedError, with the reason, for a network whose timesteps cannot be simulated in parts."""
    if network.undividable:
        raise NotImplementedError(network.undividable)
    layers = network.spiking_layers()
    if not layers:
        raise NotImplementedError("a network without spiking neurons has no timesteps to divide; use the rule bptt")
    if any(isinstance(layer, PublishedNeuron) for layer in layers):
        raise NotImplementedError("the published code's buffers are those of bptt; use the model without them")


def recomputed_sequences(network: nn.Module) -> list[ReversibleSequence]:
    """The reversible sequences whose functions are evaluated a second time in the backward pass."""
    sequences = [module for module in network.modules() if isinstance(module, ReversibleSequence)]
    return [sequence for sequence in sequences if sequence.activations == "recomputed"]


def _neurons(network: nn.Module) -> list[Neuron]:
    return [module for module in network.modules() if isinstance(module, Neuron)]
