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
from revbench.models.neurons.surrogates import SURROGATES


def _forward(
    x: Tensor,
    leak: float,
    input_scale: float,
    threshold: float,
    v_reset: float | None,
    keep_potential: bool,
) -> tuple[Tensor, Tensor]:
    dynamics = Dynamics(leak=leak, input_scale=input_scale, threshold=threshold, v_reset=v_reset)
    return kernels.forward(dynamics, x, keep_potential)


def _forward_fake(
    x: Tensor, leak: float, input_scale: float, threshold: float, v_reset: float | None, keep_potential: bool
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


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dynamics: Dynamics) -> Tensor:
        keep_potential = ctx.needs_input_grad[0]
        results: tuple[Tensor, Tensor] = _multi_step(
            x, dynamics.leak, dynamics.input_scale, dynamics.threshold, dynamics.v_reset, keep_potential
        )
        spikes, potential = results
        if keep_potential:
            ctx.save_for_backward(potential)
            ctx.dynamics = dynamics
        return spikes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None]:
        (potential,) = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        grad_x = _multi_step_backward(
            grad_spikes,
            potential,
            dynamics.leak,
            dynamics.input_scale,
            dynamics.threshold,
            dynamics.v_reset,
            dynamics.detach_reset,
            dynamics.surrogate.name,
            dynamics.surrogate.alpha,
        )
        return grad_x, None


def multi_step(dynamics: Dynamics, x: Tensor) -> Tensor:
    """Spikes `[T, B, ...]` for the input `[T, B, ...]`, from rest; the same spikes as the plain loop.

    Gradients equal those of `multi_step_reference` up to rounding. Saved for backward: one tensor of the shape and
    dtype of `x`; nothing where no gradient is asked for.
    """
    spikes: Tensor = _MultiStep.apply(x, dynamics)
    return spikes
