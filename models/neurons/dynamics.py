r"""The dynamics of integrate-and-fire neurons, as pure functions.

One timestep, for the membrane potential $v$ and the input $x$ (RevSNN section 3.1, OTTT section 3.1):

$$h[t] = \lambda\,v[t-1] + c\,x[t] + b, \qquad s[t] = 1(h[t] \ge \theta)$$

hard reset: $v[t] = (1 - s[t])\,h[t] + s[t]\,v_{reset}$; soft reset: $v[t] = h[t] - \theta\,s[t]$.
IF is $\lambda = c = 1$; LIF is $\lambda = 1 - 1/\tau$ with $c = 1/\tau$ if the input decays, else 1.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from revbench.models import annotations
from revbench.models.neurons.memory import Memory
from revbench.models.neurons.surrogates import Sigmoid, Surrogate, step


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    r"""The constants of a neuron.

    Attributes:
        leak: $\lambda$, the share of the potential that stays.
        input_scale: $c$.
        threshold: $\theta$.
        v_reset: the potential after a spike; None for soft reset (the threshold is subtracted).
        detach_reset: whether the spike in the reset is a constant for autograd.
        surrogate: the derivative used for the step function.
        temporal_gradient: whether gradients go from a timestep to the one before; values are the same.
    """

    leak: float = 1.0
    input_scale: float = 1.0
    threshold: float = 1.0
    v_reset: float | None = 0.0
    detach_reset: bool = True
    surrogate: Surrogate = field(default_factory=Sigmoid)
    temporal_gradient: bool = True

    @property
    def v_rest(self) -> float:
        """The potential before the first timestep, to which the leak draws."""
        return 0.0 if self.v_reset is None else self.v_reset

    @property
    def bias(self) -> float:
        r"""$b = (1 - \lambda)\,v_{rest}$."""
        return (1 - self.leak) * self.v_rest


def charge(dynamics: Dynamics, x: Tensor, v: Tensor | None) -> Tensor:
    """The potential `h` before the spike; `v` None stands for the state before the first timestep."""
    scaled = x if dynamics.input_scale == 1 else x * dynamics.input_scale
    if v is None:
        return scaled + dynamics.v_rest
    if not dynamics.temporal_gradient:
        v = v.detach()
    h = (v if dynamics.leak == 1 else v * dynamics.leak) + scaled
    return h + dynamics.bias if dynamics.bias else h


def single_step(dynamics: Dynamics, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One timestep in plain autograd.

    Args:
        dynamics: the neuron's constants.
        x: input `[B, ...]`.
        v: potential after the previous timestep, `[B, ...]`; None before the first.

    Returns:
        Spikes and the potential after the reset, both `[B, ...]`.
    """
    return fire(dynamics, charge(dynamics, x, v))


def fire(dynamics: Dynamics, h: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and the potential after the reset, for the potential `h` before it."""
    spikes = step(h - dynamics.threshold, dynamics.surrogate)
    with annotations.kind("neuron_state"):
        return spikes, reset(dynamics, h, spikes.detach() if dynamics.detach_reset else spikes)


def reset(dynamics: Dynamics, h: Tensor, spikes: Tensor) -> Tensor:
    """The potential after the spikes."""
    if dynamics.v_reset is None:
        return h - dynamics.threshold * spikes
    v = h * (1 - spikes)
    return v + dynamics.v_reset * spikes if dynamics.v_reset else v


def multi_step_reference(dynamics: Dynamics, x: Tensor, memory: Memory | None = None) -> Tensor:
    """All timesteps as a plain loop under autograd: what the fused form is tested against and timed against.

    Args:
        dynamics: the neuron's constants.
        x: input `[T, B, ...]`.
        memory: of an earlier part of the same simulation; None for neurons at rest.

    Returns:
        Spikes `[T, B, ...]`.
    """
    before = memory.before() if memory else None
    v = None if before is None else reset(dynamics, before, (before >= dynamics.threshold).to(before.dtype))
    spikes, h = [], x
    for x_t in x.unbind(0):
        h = charge(dynamics, x_t, v)
        s, v = fire(dynamics, h)
        spikes.append(s)
    if memory:
        memory.note(h.detach())
    return torch.stack(spikes)
