"""The multi-step neuron as one autograd function: one float saved per neuron and timestep.

Forward keeps only the potential `h[t]` before the reset (the spike is `h >= threshold` again); backward walks back
through the timesteps in one sweep:

    gh[t] = gs[t] sg'(h[t] - threshold) + leak gh[t+1] dv[t]/dh[t],    gx[t] = input_scale gh[t]

with `dv/dh` = 1 - s (hard reset) or 1 (soft reset), plus the surrogate's part where the reset is not detached.
Both sweeps are operators of the library `revbench`, so that a dispatch mode sees one operator with its outputs,
on real and on fake tensors alike.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from revbench.models.neurons import kernels
from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.memory import Memory
from revbench.models.neurons.surrogates import SURROGATES


def _forward(
    x: Tensor,
    leak: float,
    input_scale: float,
    threshold: float,
    v_reset: float | None,
    keep_potential: bool,
    before: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dynamics = Dynamics(leak=leak, input_scale=input_scale, threshold=threshold, v_reset=v_reset)
    return kernels.forward(dynamics, x, keep_potential, before)


def _forward_fake(
    x: Tensor,
    leak: float,
    input_scale: float,
    threshold: float,
    v_reset: float | None,
    keep_potential: bool,
    before: Tensor | None,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape if keep_potential else (0,))


def _backward(
    grad_spikes: Tensor,
    potential: Tensor,
    leak: float,
    input_scale: float,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
) -> Tensor:
    dynamics = Dynamics(
        leak=leak,
        input_scale=input_scale,
        threshold=threshold,
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate=SURROGATES[surrogate](alpha),
    )
    return kernels.backward(dynamics, grad_spikes, potential)


def _backward_fake(
    grad_spikes: Tensor,
    potential: Tensor,
    leak: float,
    input_scale: float,
    threshold: float,
    v_reset: float | None,
    detach_reset: bool,
    surrogate: str,
    alpha: float,
) -> Tensor:
    return torch.empty_like(potential)


_LIBRARY = torch.library.Library("revbench", "FRAGMENT")


def _operator(name: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Registers an operator of torch; with a third of the overhead of `torch.library.custom_op` a call."""
    _LIBRARY.define(torch.library.infer_schema(function, mutates_args=(), op_name=name))
    _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    torch.library.register_fake(f"revbench::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.revbench, name).default


_multi_step = _operator("multi_step", _forward, _forward_fake)
_multi_step_backward = _operator("multi_step_backward", _backward, _backward_fake)
FAKE_OPERATORS: dict[Any, Callable[..., Any]] = {_multi_step: _forward_fake, _multi_step_backward: _backward_fake}
"""By operator, the function that makes its results on fake tensors: right in shape and type, without numbers."""


FUNCTIONS: dict[Any, Callable[..., Any]] = {_multi_step: _forward, _multi_step_backward: _backward}
"""By operator, the function that computes its results, by the operators of torch if need be."""


def sweep(dynamics: Dynamics, x: Tensor, memory: Memory | None, *, keep_potential: bool) -> tuple[Tensor, Tensor]:
    """Spikes and, if kept, the potential before the reset, both `[T, B, ...]`; outside of autograd.

    Args:
        dynamics: the neuron's constants.
        x: input `[T, B, ...]`.
        memory: of an earlier part of the same simulation; None for neurons at rest.
        keep_potential: whether the potential is needed.
    """
    results: tuple[Tensor, Tensor] = _multi_step(
        x,
        dynamics.leak,
        dynamics.input_scale,
        dynamics.threshold,
        dynamics.v_reset,
        keep_potential or memory is not None,
        memory.before() if memory else None,
    )
    if memory:
        potential = results[1]
        # Of several timesteps the last is copied, so that the others go with the part.
        memory.note(potential[0] if len(potential) == 1 else potential[-1].clone())
    return results


def sweep_back(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor) -> Tensor:
    """The gradient of the input `[T, B, ...]` for that of the spikes; outside of autograd."""
    grad_x: Tensor = _multi_step_backward(
        grad_spikes,
        potential,
        dynamics.leak if dynamics.temporal_gradient else 0.0,
        dynamics.input_scale,
        dynamics.threshold,
        dynamics.v_reset,
        dynamics.detach_reset,
        dynamics.surrogate.name,
        dynamics.surrogate.alpha,
    )
    return grad_x


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dynamics: Dynamics, memory: Memory | None) -> Tensor:
        keep_potential = ctx.needs_input_grad[0]
        spikes, potential = sweep(dynamics, x, memory, keep_potential=keep_potential)
        if keep_potential:
            ctx.save_for_backward(potential)
            ctx.dynamics = dynamics
        return spikes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None, None]:
        (potential,) = ctx.saved_tensors
        return sweep_back(ctx.dynamics, grad_spikes, potential), None, None


def multi_step(dynamics: Dynamics, x: Tensor, memory: Memory | None = None) -> Tensor:
    """Spikes `[T, B, ...]` for the input `[T, B, ...]`, from rest or from memory; the same spikes as the plain loop.

    Gradients equal those of `multi_step_reference` up to rounding, and end at what is remembered. Saved for backward:
    one tensor of the shape and dtype of `x`; nothing where no gradient is asked for.
    """
    spikes: Tensor = _MultiStep.apply(x, dynamics, memory)
    return spikes
