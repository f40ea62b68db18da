r"""Neurons that hold as much memory as those of RevSNN's published code; values and gradients are those of `fused`.

The code (AAAI 2024) runs the multi-step neurons of SpikingJelly 0.0.0.0.12 with its CUPY kernels. For a layer of N
neurons over T timesteps these take, as numbers of the input's type:

* a work buffer of 3 T N, zeroed: potentials after the reset, which are copied at once and then dead, potentials before
  the reset, and spikes. The spikes that the next layer reads are a view of it, so whoever keeps one of the three keeps
  them all; the backward pass needs one. Without gradients it is 2 T N, for there is no second part.
* two attributes, `v_seq` of (T + 1) N and `v` of N, which stay until the layer is reset. After a complete simulation
  nothing reads them. In the backward pass torch makes zeros of T N, the gradient of `v_seq`.

What nothing reads is not computed here: the dead part and the attributes are memory without contents.
"""

from typing import Any

import torch
from torch import Tensor

from revbench.models import annotations
from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.fused import sweep, sweep_back
from revbench.models.neurons.modules import Neuron


class PublishedNeuron(Neuron):
    """A layer of neurons with the buffers of the published code; called on `[T, B, ...]` as any `Neuron`.

    It has no `reset`, which a reversible sequence would call after every function: when buffers go is for the network
    to say (`networks.published`).
    """

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        self._held: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Spikes `[T, B, ...]` for the input `[T, B, ...]`; holds `v_seq` and `v` beside those of earlier calls."""
        spikes: Tensor = _Published.apply(x, self.dynamics, torch.is_grad_enabled() and x.requires_grad)
        with annotations.kind("neuron_state"):
            self._held.append((_rows(x, x.shape[0] + 1), _rows(x, 1)))
        return spikes

    def release(self) -> None:
        """What the published `reset` does to memory: drops the attributes of all calls."""
        self._held.clear()

    @property
    def held_bytes(self) -> int:
        """Bytes of the attributes."""
        return sum(tensor.nbytes for attributes in self._held for tensor in attributes)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy begins with: no buffers."""
        return self.__dict__ | {"_held": []}


class _Published(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dynamics: Dynamics, keep_potential: bool) -> Tensor:
        spikes, potential = sweep(dynamics, x, None, keep_potential=keep_potential)
        _, *parts = _rows(x, (3 if keep_potential else 2) * x.shape[0]).split(x.shape[0])
        parts[-1].copy_(spikes)
        if keep_potential:
            parts[0].copy_(potential)
            ctx.save_for_backward(*parts)
            ctx.dynamics = dynamics
        view: Tensor = parts[-1]
        return view

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None, None]:
        potential, _ = ctx.saved_tensors
        grad_v_seq = torch.zeros_like(potential)
        grad_x = sweep_back(ctx.dynamics, grad_spikes, potential)
        del grad_v_seq
        return grad_x, None, None


def _rows(x: Tensor, number: int) -> Tensor:
    """Memory for as many timesteps of `x`."""
    return x.new_empty((number, *x.shape[1:]))
