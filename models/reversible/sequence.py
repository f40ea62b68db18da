r"""One autograd function for a sequence of additive couplings, which stores only the outputs.

A coupling adds a function of some streams to another stream:

$$x_{target} \leftarrow x_{target} + f(x_{sources}), \qquad target \notin sources$$

so the stream before it is $x_{target} - f(x_{sources})$. In the backward pass each function is evaluated once more:
the value restores the stream, the graph of the same evaluation gives the gradients (RevSNN, section 3.2).
Parameters are inputs of the autograd function and their gradients are its outputs, so frozen streams,
`torch.autograd.grad`, hooks and DistributedDataParallel see what they see in any other module.
Limits: one backward pass per forward pass, no double backward; a function must give the same value twice
(random numbers drawn from torch's generators are replayed), and all its parameters must be registered in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from revbench.models import annotations
from revbench.models.reversible.surroundings import (
    Autocast,
    RandomState,
    frozen_statistics,
    replayed,
    reset_states,
    without_hooks,
)

Activations = Literal["recomputed", "stored"]


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """`streams[target] += function(*[streams[s] for s in sources])`."""

    target: int
    sources: tuple[int, ...]
    function: nn.Module

    def __post_init__(self) -> None:
        if self.target in self.sources:
            raise ValueError(f"stream {self.target} is both target and source of a coupling; it cannot be restored")


class ReversibleSequence(nn.Module):
    """A sequence of couplings over streams `[T, B, C, H, W]` (any shape; the number of streams is free).

    Args:
        couplings: in the order of the forward pass.
        activations: `recomputed` stores only the outputs; `stored` runs the same weights with ordinary autograd.

    Streams of half precision are raised to float32: one rounding error in a residual stream flips spikes in the
    recomputation, and the rest of the chain is then wrong (RevSNN specification, section 4).

    Raises:
        ValueError: the couplings leave a gap in the streams, or `activations` is neither of the two.
    """

    def __init__(self, couplings: Iterable[Coupling], activations: Activations = "recomputed") -> None:
        super().__init__()
        if activations not in get_args(Activations):
            raise ValueError(f"activations are {' or '.join(get_args(Activations))}, not {activations!r}")
        self.couplings = tuple(couplings)
        self.functions = nn.ModuleList(coupling.function for coupling in self.couplings)
        self.activations: Activations = activations
        self.num_streams = len({coupling.target for coupling in self.couplings})
        named = {s for coupling in self.couplings for s in (coupling.target, *coupling.sources)}
        if not named or named != set(range(self.num_streams)):
            raise ValueError("the streams of a reversible sequence are 0, 1, ..., and each is the target of a coupling")

    def forward(self, *streams: Tensor) -> tuple[Tensor, ...]:
        """The streams after all couplings.

        Raises:
            ValueError: another number of streams than the couplings name, or a function's value has another shape
                than its target stream.
            RuntimeError: in the backward pass, if it is the second one, or an output or a parameter was changed since.
        """
        if len(streams) != self.num_streams:
            raise ValueError(f"{len(streams)} streams given to a reversible sequence over {self.num_streams}")
        streams = tuple(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in streams)
        if self.activations == "stored":
            return self._forward_stored(streams)
        outputs: tuple[Tensor, ...] = _Recompute.apply(self, *streams, *self.parameters())
        return outputs

    def _forward_stored(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        current = list(streams)
        for coupling in self.couplings:
            current[coupling.target] = current[coupling.target] + _evaluate(coupling, current)
        return tuple(current)


class _Recompute(torch.autograd.Function):
    """Forward without a graph; backward from the last coupling to the first."""

    @staticmethod
    def forward(ctx: Any, sequence: ReversibleSequence, *tensors: Tensor) -> tuple[Tensor, ...]:
        streams, parameters = list(tensors[: sequence.num_streams]), tensors[sequence.num_streams :]
        device = streams[0].device
        autocast = Autocast.capture(device.type)
        owned: set[int] = set()
        random_states: list[RandomState | None] = []
        for coupling in sequence.couplings:
            before = RandomState.capture(device)
            with autocast.entered():
                value = _evaluate(coupling, streams)
            random_states.append(None if before.same_as(RandomState.capture(device)) else before)
            _add(streams, coupling.target, value, owned)
            del value
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*streams)
        ctx.couplings = sequence.couplings
        ctx.parameters = parameters
        ctx.parameter_versions = _versions(parameters)
        ctx.autocast = autocast
        ctx.random_states = random_states
        ctx.backward_was_run = False
        return tuple(streams)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.backward_was_run:
            raise RuntimeError(
                "the backward pass of a reversible sequence was run a second time; its inputs are restored only once, "
                "so add the losses up before backward, or run the forward pass again"
            )
        walk = _Walk(ctx)
        ctx.maybe_clear_saved_tensors()
        ctx.backward_was_run = True
        grads: list[Tensor | None] = list(grad_outputs)
        del grad_outputs
        for index in reversed(range(len(ctx.couplings))):
            walk.undo(index, grads)
        return None, *walk.stream_grads(grads), *walk.parameter_grads


class _Walk:
    """The state of one backward pass: the streams as they are restored, and the gradients found so far."""

    def __init__(self, ctx: Any) -> None:
        self.streams: list[Tensor] = list(ctx.saved_tensors)
        self.owned: set[int] = set()
        self.owned_grads: set[int] = set()
        self.couplings: tuple[Coupling, ...] = ctx.couplings
        self.autocast: Autocast = ctx.autocast
        self.random_states: list[RandomState | None] = ctx.random_states
        self.input_needs_grad: tuple[bool, ...] = ctx.needs_input_grad[1 : 1 + len(self.streams)]
        self.position = {id(parameter): i for i, parameter in enumerate(ctx.parameters)}
        self.parameter_grads: list[Tensor | None] = [None] * len(ctx.parameters)
        if _versions(ctx.parameters) != ctx.parameter_versions or not self._knows_all_parameters():
            raise RuntimeError(
                "the parameters of a reversible sequence were changed or replaced between its forward pass and its "
                "backward pass, so its inputs cannot be restored; run backward before the optimizer's step"
            )
        self.stream_needs_grad = self._flow_of_gradients()

    def _knows_all_parameters(self) -> bool:
        return all(id(p) in self.position for coupling in self.couplings for p in coupling.function.parameters())

    def _flow_of_gradients(self) -> list[tuple[bool, ...]]:
        """For each coupling, whether the streams that it reads lead to something that wants a gradient."""
        needed = list(self.input_needs_grad)
        before = []
        for coupling in self.couplings:
            before.append(tuple(needed))
            needed[coupling.target] |= any(needed[s] for s in coupling.sources) or any(
                p.requires_grad for p in coupling.function.parameters()
            )
        return before

    def undo(self, index: int, grads: list[Tensor | None]) -> None:
        """Restores the target stream before coupling `index` and adds the gradients of its function."""
        coupling, grad = self.couplings[index], grads[self.couplings[index].target]
        needs_grad = self.stream_needs_grad[index]
        leaves = [self.streams[s].detach().requires_grad_(needs_grad[s]) for s in coupling.sources]
        parameters = [p for p in coupling.function.parameters() if p.requires_grad]
        wanted = [leaf for leaf in leaves if leaf.requires_grad] + parameters
        with (
            annotations.kind("recomputation"),
            torch.set_grad_enabled(grad is not None and bool(wanted)),
            frozen_statistics(coupling.function),
            replayed(self.random_states[index]),
            self.autocast.entered(),
        ):
            value = _call(coupling.function, leaves)
        _add(self.streams, coupling.target, value.detach(), self.owned, sign=-1)
        if grad is None or not value.requires_grad:
            return
        # The value itself is needed no more; the graph is reached through its last node alone.
        edge, dtype = torch.autograd.graph.get_gradient_edge(value), value.dtype
        del value
        with without_hooks(parameters):
            found = list(torch.autograd.grad(edge, wanted, grad.to(dtype), allow_unused=True))
        if any(_same_storage(grad, other) for other in found):
            # The gradient passed through unchanged, so it now belongs to a source or a parameter as well.
            self.owned_grads.discard(coupling.target)
        del edge, grad
        for source, leaf in zip(coupling.sources, leaves, strict=True):
            if leaf.requires_grad:
                self._add_stream_grad(grads, source, found.pop(0))
        for parameter, parameter_grad in zip(parameters, found, strict=True):
            self._add_parameter_grad(parameter, parameter_grad)

    def _add_stream_grad(self, grads: list[Tensor | None], stream: int, grad: Tensor | None) -> None:
        if grad is None:
            return
        known = grads[stream]
        if known is None:
            grads[stream] = grad
        elif stream in self.owned_grads:
            known.add_(grad)
        else:
            grads[stream] = known + grad
            self.owned_grads.add(stream)

    def _add_parameter_grad(self, parameter: nn.Parameter, grad: Tensor | None) -> None:
        if grad is None:
            return
        position = self.position[id(parameter)]
        known = self.parameter_grads[position]
        self.parameter_grads[position] = grad if known is None else known + grad

    def stream_grads(self, grads: list[Tensor | None]) -> list[Tensor | None]:
        """The gradients of the streams that went in, for those that want one."""
        return [grad if needed else None for grad, needed in zip(grads, self.input_needs_grad, strict=True)]


def _versions(parameters: Iterable[Tensor]) -> list[int]:
    """How often each parameter was changed in place; autograd counts for all but tensors of inference mode."""
    return [0 if parameter.is_inference() else parameter._version for parameter in parameters]


def _same_storage(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.untyped_storage()._cdata == b.untyped_storage()._cdata


def _evaluate(coupling: Coupling, streams: Sequence[Tensor]) -> Tensor:
    value, target = _call(coupling.function, [streams[s] for s in coupling.sources]), streams[coupling.target]
    if value.shape != target.shape:
        raise ValueError(
            f"a function of a reversible sequence returned the shape {list(value.shape)} for stream "
            f"{coupling.target}, whose shape is {list(target.shape)}; they must be equal"
        )
    return value


def _call(function: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """The function's value, from a clean state and leaving none behind."""
    reset_states(function)
    value: Tensor = function(*inputs)
    reset_states(function)
    return value


def _add(streams: list[Tensor], target: int, value: Tensor, owned: set[int], sign: int = 1) -> None:
    """`streams[target] += sign * value`, in place if the sequence made that tensor itself."""
    if target in owned:
        streams[target].add_(value, alpha=sign)
    else:
        streams[target] = torch.add(streams[target], value, alpha=sign)
        owned.add(target)
