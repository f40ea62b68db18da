"""What a training step computes, dense: forward, recomputation, both gradients, neurons, traces, optimizer.

Counted over one real training step of a case on fake tensors, so any size takes seconds; the numbers depend on shapes
alone. One fused multiply-add is one operation. Memory that a reversible network saves is paid for in
`recomputed_macs`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from revbench.bench.cases import Case
from revbench.bench.energy.operators import FREE
from revbench.bench.training import Training, prepare, world
from revbench.models import annotations
from revbench.models.annotations import Phase

aten = torch.ops.aten
_MADE_EMPTY = frozenset((aten.empty, aten.zeros, aten.ones, aten.full, aten.scalar_tensor, aten.arange))
_COPIES_OF_WEIGHTS = frozenset((aten._to_copy, aten.t, aten.expand, aten.clone))
_PAIRS = frozenset((aten.bmm, aten.baddbmm))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWork:
    """Dense operations of one training step, summed over images and timesteps.

    Attributes:
        forward_macs: multiply-accumulates of the forward pass.
        recomputed_macs: of what the backward pass evaluates once more.
        input_gradient_macs: of gradients of what layers read; the factors of attention are such inputs.
        weight_gradient_macs: of gradients of weights.
        neuron_updates: of the forward pass, a neuron and timestep each; neurons without a memory (T-RevSNN) are
            element-wise operators and count among elements, as do their surrogates.
        recomputed_neuron_updates: of what the backward pass evaluates once more.
        surrogate_updates: derivatives of spikes, with the gradient of the potential, a neuron and timestep each.
        trace_updates: numbers written to traces of spikes, of rules that have them (OTTT).
        forward_elements: numbers written by all other operators of the forward pass.
        recomputed_elements: by those of the recomputation.
        backward_elements: by those of the backward pass.
        optimizer_elements: by the optimizer.
    """

    forward_macs: int = 0
    recomputed_macs: int = 0
    input_gradient_macs: int = 0
    weight_gradient_macs: int = 0
    neuron_updates: int = 0
    recomputed_neuron_updates: int = 0
    surrogate_updates: int = 0
    trace_updates: int = 0
    forward_elements: int = 0
    recomputed_elements: int = 0
    backward_elements: int = 0
    optimizer_elements: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the step."""
        return self.forward_macs + self.recomputed_macs + self.input_gradient_macs + self.weight_gradient_macs

    @property
    def recomputed_share(self) -> float:
        """Recomputed multiply-accumulates for one of the rest of the step: what saved memory is paid with."""
        rest = self.macs - self.recomputed_macs
        return self.recomputed_macs / rest if rest else 0.0


def training_work(case: Case) -> TrainingWork:
    """Dense operations of one training step of a case, whatever its device."""
    fake = replace(case, device="fake")
    with world(fake):
        return work_of_step(prepare(fake))


def work_of_step(training: Training) -> TrainingWork:
    """Dense operations of the next training step, which is run."""
    watch = _Watch(training.model)
    with watch.listening(), watch:
        training.step()
    names = {f.name for f in fields(TrainingWork)}
    return TrainingWork(**{name: number for name, number in watch.found.items() if name in names})


class _Watch(TorchDispatchMode):
    """Attributes operators to the part of the step that is announced, and to gradients of inputs or weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.phases: list[Phase] = []
        self.weights = {reference.cdata: reference for reference in map(_reference, model.parameters())}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Follows the phases inside this block."""

        def changed(phase: Phase, begins: bool) -> None:
            self.phases.append(phase) if begins else self.phases.remove(phase)

        with annotations.listening(changed):
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in _COPIES_OF_WEIGHTS and self._is_weight(args[0]):
            reference = _reference(result)
            self.weights[reference.cdata] = reference
        if self.phases:
            for name, number in self._counted(packet, args, kwargs, result):
                self.found[name] += number
        return result

    @property
    def part(self) -> str:
        """The phase, or `recomputed` within a backward pass."""
        return "recomputed" if annotations.current_kind() == "recomputation" else self.phases[-1]

    def _counted(self, packet: Any, args: Any, kwargs: Any, result: Any) -> Iterator[tuple[str, int]]:
        if packet is aten.convolution_backward:
            # Each gradient multiplies as often as the forward pass. Torch's formula for this operator gives G times as
            # many for the weights of G groups (found in torch 2.15).
            grad, x, weight, _, *geometry, wanted = args
            formula: Any = flop_registry[aten.convolution]
            macs = formula(x, weight, None, *geometry, out_val=grad) // 2
            for name, is_wanted in zip(("input", "weight"), wanted, strict=False):
                if is_wanted:
                    yield f"{name}_gradient_macs", macs
        elif packet in flop_registry:
            formula = flop_registry[packet]
            yield self._place_of_product(packet, args), formula(*args, **kwargs, out_val=result) // 2
        elif packet is torch.ops.revbench.multi_step:
            name = "recomputed_neuron_updates" if self.part == "recomputed" else "neuron_updates"
            yield name, args[0].numel()
        elif packet is torch.ops.revbench.multi_step_backward:
            yield "surrogate_updates", args[0].numel()
        elif packet not in FREE and packet not in _MADE_EMPTY:
            traced = annotations.current_kind() == "neuron_state" and self.phases[-1] == "forward"
            yield "trace_updates" if traced else f"{self.part}_elements", _size(result, args)

    def _place_of_product(self, packet: Any, args: tuple[Any, ...]) -> str:
        """In the backward pass, a product with a weight gives the gradient of what the layer read."""
        if self.part != "backward":
            return f"{self.part}_macs"
        with_weight = any(self._is_weight(argument) for argument in args if isinstance(argument, Tensor))
        return "input_gradient_macs" if with_weight or packet in _PAIRS else "weight_gradient_macs"

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.weights


def _reference(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())


def _size(result: Any, args: tuple[Any, ...]) -> int:
    """Elements of the first tensor that is returned; of all that are changed, where many are at once."""
    returned = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    if returned:
        return sum(leaf.numel() for leaf in returned) if isinstance(result, list) else returned[0].numel()
    changed = args[0] if args and isinstance(args[0], list | tuple) else args[:1]
    return sum(leaf.numel() for leaf in changed if isinstance(leaf, Tensor))
