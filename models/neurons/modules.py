"""Neurons as modules: they own no tensors, and by themselves keep nothing between calls."""

from typing import Literal

from torch import Tensor, nn

from revbench.models.neurons.dynamics import Dynamics, multi_step_reference, single_step
from revbench.models.neurons.fused import multi_step
from revbench.models.neurons.memory import Memory
from revbench.models.neurons.surrogates import Sigmoid, Surrogate

Backend = Literal["fused", "reference"]


class Neuron(nn.Module):
    """A layer of spiking neurons with the given dynamics.

    Called on a sequence `[T, B, ...]` it returns the spikes `[T, B, ...]`, starting from rest: a forgotten reset is
    impossible. `single_step(x, v)` takes one timestep and the state explicitly. Where a simulation in parts has
    attached a `memory`, a call goes on where the last part ended.

    Args:
        dynamics: the neuron's constants.
        backend: `fused` (one float saved per neuron and timestep) or `reference` (plain autograd).
    """

    def __init__(self, dynamics: Dynamics, backend: Backend = "fused") -> None:
        super().__init__()
        self.dynamics = dynamics
        self.backend: Backend = backend
        self.memory: Memory | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Spikes `[T, B, ...]` for the input `[T, B, ...]`."""
        if self.backend == "fused":
            return multi_step(self.dynamics, x, self.memory)
        return multi_step_reference(self.dynamics, x, self.memory)

    def single_step(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spikes and new potential `[B, ...]` for the input `[B, ...]`; `v` None before the first timestep."""
        return single_step(self.dynamics, x, v)

    def extra_repr(self) -> str:
        """The constants that are not at their default."""
        return f"{self.dynamics}"


class IF(Neuron):
    """Integrate-and-fire without leak: `h[t] = v[t-1] + x[t]`.

    Args:
        threshold: at which the neuron fires.
        v_reset: the potential after a spike; None for soft reset.
        detach_reset: whether the spike in the reset is a constant for autograd.
        surrogate: the derivative used for the step function.
        backend: `fused` or `reference`.
    """

    def __init__(
        self,
        *,
        threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = True,
        surrogate: Surrogate | None = None,
        backend: Backend = "fused",
    ) -> None:
        super().__init__(
            Dynamics(
                threshold=threshold,
                v_reset=v_reset,
                detach_reset=detach_reset,
                surrogate=surrogate or Sigmoid(),
            ),
            backend,
        )


class LIF(Neuron):
    """Leaky integrate-and-fire: `h[t] = (1 - 1/tau) v[t-1] + x[t]/tau` (or `+ x[t]` if the input does not decay).

    Args:
        tau: time constant in timesteps, above or equal to 1.
        decay_input: whether the input is divided by `tau`.
        threshold: at which the neuron fires.
        v_reset: the potential after a spike, to which the leak draws; None for soft reset (and a leak to 0).
        detach_reset: whether the spike in the reset is a constant for autograd.
        surrogate: the derivative used for the step function.
        backend: `fused` or `reference`.

    Raises:
        ValueError: `tau` below 1.
    """

    def __init__(
        self,
        *,
        tau: float = 2.0,
        decay_input: bool = True,
        threshold: float = 1.0,
        v_reset: float | None = 0.0,
        detach_reset: bool = True,
        surrogate: Surrogate | None = None,
        backend: Backend = "fused",
    ) -> None:
        if tau < 1:
            raise ValueError(f"tau is {tau}; it must be at least 1")
        super().__init__(
            Dynamics(
                leak=1 - 1 / tau,
                input_scale=1 / tau if decay_input else 1.0,
                threshold=threshold,
                v_reset=v_reset,
                detach_reset=detach_reset,
                surrogate=surrogate or Sigmoid(),
            ),
            backend,
        )
