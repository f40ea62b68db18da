"""The backward pass of a reversible sequence: from the last coupling to the first, one function's graph at a time."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from revbench.models import annotations
from revbench.models.reversible.codes import Coded, decode
from revbench.models.reversible.couplings import Carry, Coupling
from revbench.models.reversible.evaluation import call, inverse, same_storage
from revbench.models.reversible.surroundings import Autocast, RandomState, frozen_statistics, replayed, without_hooks


class Walk:
    """The state of one backward pass: the streams as they are restored, and the gradients found so far.

    Args:
        ctx: of the autograd function, see `sequence`.
        grad_outputs: the gradients of the sequence's outputs.

    Raises:
        RuntimeError: an output or a parameter was changed since the forward pass.
    """

    def __init__(self, ctx: Any, grad_outputs: Iterable[Tensor | None]) -> None:
        sequence = ctx.sequence
        self.couplings: tuple[Coupling, ...] = sequence.couplings
        self.inputs: tuple[int, ...] = sequence.wiring.inputs
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        num_exact = len(ctx.exact_moments)
        self.kept: dict[int, Tensor] = dict(zip(ctx.exact_moments, saved[:num_exact], strict=True))
        self.kept_codes: dict[int, Coded] = {
            moment: Coded(codes, *form)
            for (moment, form), codes in zip(ctx.coded_forms.items(), saved[num_exact:], strict=True)
        }
        del saved
        self.exact: dict[int, Tensor] = {}
        self.coded: dict[int, Coded] = {}
        for stream in range(sequence.wiring.num_streams):
            self._take_kept(len(self.couplings) + stream, stream)
        self.owned: set[int] = set()
        self.grads: list[Tensor | None] = [None] * sequence.wiring.num_streams
        self.owned_grads: set[int] = set()
        for stream, grad in zip(sequence.outputs, grad_outputs, strict=True):
            self.grads[stream] = grad
        self.autocast: Autocast = ctx.autocast
        self.random_states: list[RandomState | None] = ctx.random_states
        self.input_needs_grad: tuple[bool, ...] = ctx.needs_input_grad[1 : 1 + len(self.inputs)]
        self.position = {id(parameter): i for i, parameter in enumerate(ctx.parameters)}
        self.parameter_grads: list[Tensor | None] = [None] * len(ctx.parameters)
        self.num_held: int = sequence.published_graphs_held
        self.held: list[Any] = []
        if versions(ctx.parameters) != ctx.parameter_versions or not self._knows_all_parameters():
            raise RuntimeError(
                "the parameters of a reversible sequence were changed or replaced between its forward pass and its "
                "backward pass, so its inputs cannot be restored; run backward before the optimizer's step"
            )
        self.stream_needs_grad = self._flow_of_gradients()

    def _knows_all_parameters(self) -> bool:
        modules = (module for coupling in self.couplings for module in (coupling.function, coupling.carry))
        return all(id(p) in self.position for module in modules if module is not None for p in module.parameters())

    def _flow_of_gradients(self) -> list[tuple[bool, ...]]:
        """For each coupling, whether the streams that it reads lead to something that wants a gradient."""
        needed = [False] * len(self.grads)
        for stream, needs in zip(self.inputs, self.input_needs_grad, strict=True):
            needed[stream] = needs
        before = []
        for coupling in self.couplings:
            before.append(tuple(needed))
            learnt = any(p.requires_grad for p in coupling.function.parameters()) or _learns(coupling.carry)
            needed[coupling.target] |= learnt or any(needed[s] for s in coupling.sources)
        return before

    def undo(self, index: int) -> None:
        """Restores the target stream before coupling `index` and adds the gradients of its function and carry."""
        coupling, grad = self.couplings[index], self.grads[self.couplings[index].target]
        needs_grad = self.stream_needs_grad[index]
        leaves = [self._readable(s).detach().requires_grad_(needs_grad[s]) for s in coupling.sources]
        parameters = [p for p in coupling.function.parameters() if p.requires_grad]
        wanted = [leaf for leaf in leaves if leaf.requires_grad] + parameters
        with (
            annotations.kind("recomputation"),
            torch.set_grad_enabled(grad is not None and bool(wanted)),
            frozen_statistics(coupling.function),
            replayed(self.random_states[index]),
            self.autocast.entered(),
        ):
            value = call(coupling.function, leaves)
        self._restore(index, coupling, value.detach())
        if grad is not None and value.requires_grad:
            # The value itself is needed no more; the graph is reached through its last node alone.
            edge, dtype = torch.autograd.graph.get_gradient_edge(value), value.dtype
            del value
            retain = self._hold(edge)
            with without_hooks(parameters):
                found = list(torch.autograd.grad(edge, wanted, grad.to(dtype), allow_unused=True, retain_graph=retain))
            del edge
            if len(self.held) == self.num_held:
                self.held.clear()
            if any(same_storage(grad, other) for other in found):
                # The gradient passed through unchanged, so it now belongs to a source or a parameter as well.
                self.owned_grads.discard(coupling.target)
            for source, leaf in zip(coupling.sources, leaves, strict=True):
                if leaf.requires_grad:
                    self._add_stream_grad(source, found.pop(0))
            for parameter, parameter_grad in zip(parameters, found, strict=True):
                self._add_parameter_grad(parameter, parameter_grad)
        if coupling.creates:
            self.grads[coupling.target] = None
            self.owned_grads.discard(coupling.target)
        elif coupling.carry is not None and grad is not None:
            self._carry_back(coupling.target, coupling.carry, grad)

    def _readable(self, stream: int) -> Tensor:
        return decode(self.coded[stream]) if stream in self.coded else self.exact[stream]

    def _take_kept(self, moment: int, stream: int) -> bool:
        """Puts what was kept at that moment in the stream's place; whether its exact value was."""
        self.coded.pop(stream, None)
        if moment in self.kept_codes:
            self.coded[stream] = self.kept_codes.pop(moment)
        if moment not in self.kept:
            return False
        self.exact[stream] = self.kept.pop(moment)
        return True

    def _restore(self, index: int, coupling: Coupling, value: Tensor) -> None:
        target = coupling.target
        if self._take_kept(index, target):
            self.owned.discard(target)
        elif coupling.creates:
            self.exact.pop(target, None)
            self.owned.discard(target)
        elif target in self.exact:
            self.exact[target] = inverse(coupling, self.exact[target], value, in_place=target in self.owned)
            self.owned.add(target)

    def _hold(self, edge: Any) -> bool:
        """Whether this graph outlives its gradients, as those of the published T-RevSNN do; by default it does not."""
        if self.num_held == 1:
            return False
        self.held.append(edge)
        return True

    def _carry_back(self, stream: int, carry: Carry, grad: Tensor) -> None:
        """The gradient of the carry, and that of the stream before it was updated."""
        if _learns(carry):
            self._add_parameter_grad(carry.factor, (grad * self.exact[stream]).sum_to_size(carry.factor.shape))
        factor = carry.effective().detach()
        self.grads[stream] = grad.mul_(factor) if stream in self.owned_grads else grad * factor
        self.owned_grads.add(stream)

    def _add_stream_grad(self, stream: int, grad: Tensor | None) -> None:
        if grad is None:
            return
        known = self.grads[stream]
        if known is None:
            self.grads[stream] = grad
        elif stream in self.owned_grads:
            known.add_(grad)
        else:
            self.grads[stream] = known + grad
            self.owned_grads.add(stream)

    def _add_parameter_grad(self, parameter: nn.Parameter, grad: Tensor | None) -> None:
        if grad is None:
            return
        position = self.position[id(parameter)]
        known = self.parameter_grads[position]
        self.parameter_grads[position] = grad if known is None else known + grad

    def input_grads(self) -> list[Tensor | None]:
        """The gradients of the streams that went in, for those that want one."""
        needed = zip(self.inputs, self.input_needs_grad, strict=True)
        return [self.grads[stream] if needs else None for stream, needs in needed]


def versions(parameters: Iterable[Tensor]) -> list[int]:
    """How often each parameter was changed in place; autograd counts for all but tensors of inference mode."""
    return [0 if parameter.is_inference() else parameter._version for parameter in parameters]


def _learns(carry: Carry | None) -> bool:
    return carry is not None and carry.factor.requires_grad
