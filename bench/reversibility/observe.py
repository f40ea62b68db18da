"""What a reversible model restores in its backward pass, beside what was there in its forward pass."""

import math
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from revbench.models import annotations
from revbench.models.neurons import Neuron
from revbench.models.neurons.memoryless import MemorylessNeuron
from revbench.models.reversible import ReversibleSequence


@dataclass
class Observer:
    """Compares both evaluations of every function of the reversible sequences of a model while it is entered.

    Attributes:
        model: whose sequences are watched.
        reconstruction_error: the largest relative distance (L2) of a restored stream from the original, of the streams
            that functions read; None if nothing was compared.
        num_flipped: spikes that came out otherwise in the second evaluation.
        num_spikes: spikes, fired or not, that were compared.
        firing_rates: of each layer of neurons, each time that it was evaluated forwards.
    """

    model: nn.Module
    reconstruction_error: float | None = None
    num_flipped: int = 0
    num_spikes: int = 0
    firing_rates: list[float] = field(default_factory=list)
    _streams: dict[nn.Module, list[list[Tensor]]] = field(default_factory=dict)
    _spikes: dict[nn.Module, list[Tensor]] = field(default_factory=dict)
    _handles: list[RemovableHandle] = field(default_factory=list)

    def __enter__(self) -> Self:
        for sequence in self.model.modules():
            if not isinstance(sequence, ReversibleSequence):
                continue
            # Codes stand for streams without their values, which there is nothing to compare with.
            if sequence.states != "coded":
                functions = dict.fromkeys(sequence.functions)
                self._handles += [function.register_forward_pre_hook(self._see_streams) for function in functions]
            layers = [m for m in sequence.functions.modules() if isinstance(m, (Neuron, MemorylessNeuron))]
            self._handles += [layer.register_forward_hook(self._see_spikes) for layer in layers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def flipped_spike_share(self) -> float:
        """Flipped of all spikes that were compared."""
        return self.num_flipped / self.num_spikes if self.num_spikes else 0.0

    def _see_streams(self, function: nn.Module, streams: tuple[Tensor, ...]) -> None:
        """A module that several couplings share is undone in the reverse order, so the last one kept comes first."""
        if annotations.current_kind() != "recomputation":
            # Copies, since the engine changes streams in place.
            self._streams.setdefault(function, []).append([stream.detach().clone() for stream in streams])
            return
        for original, restored in zip(self._streams[function].pop(), streams, strict=True):
            error = _relative_error(restored.detach(), original)
            self.reconstruction_error = max(self.reconstruction_error or 0.0, error)

    def _see_spikes(self, layer: nn.Module, _inputs: Any, spikes: Tensor) -> None:
        fired = spikes.detach().bool()
        if annotations.current_kind() != "recomputation":
            self._spikes.setdefault(layer, []).append(fired)
            self.firing_rates.append(float(fired.double().mean()))
            return
        self.num_flipped += int((self._spikes[layer].pop() != fired).sum())
        self.num_spikes += fired.numel()


def _relative_error(found: Tensor, expected: Tensor) -> float:
    """Distance over norm, for a stream of zeros the distance; infinite where numbers overflowed."""
    difference, norm = (torch.linalg.vector_norm(x.double()) for x in (found.double() - expected.double(), expected))
    error = float(difference / norm if norm else difference)
    return math.inf if math.isnan(error) else error
