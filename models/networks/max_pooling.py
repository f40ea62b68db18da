"""Max pooling over windows 3x3 that keeps less for the backward pass than torch's, with the very same gradients.

Torch keeps the input and an int64 index for every output. `MaxPool` keeps the index alone, in as few bytes as hold it.
`MaxPooledNeuron` keeps the potential of its neurons and nothing else: spikes and indices are found again from it.
Ties, which are the rule among spikes, go to the first maximum of the window, as in torch.
"""

from typing import Any

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import over_frames
from revbench.models.neurons import Dynamics, Neuron
from revbench.models.neurons.fused import sweep, sweep_back
from revbench.models.neurons.memory import Memory

_SIDE, _PADDING = [3, 3], [1, 1]
_INT16_ELEMENTS = 1 << 15


class MaxPool(nn.Module):
    """Max pooling 3x3 with padding 1 of real-valued frames `[N, C, H, W]`.

    Args:
        stride: of the windows; 1 keeps the resolution (a max filter), 2 halves it.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """The largest value of each window."""
        pooled: Tensor = _MaxPool.apply(x, self.stride)
        return pooled

    def extra_repr(self) -> str:
        """The stride."""
        return f"stride={self.stride}"


class MaxPooledNeuron(Neuron):
    """A layer of neurons whose spikes are max pooled: `[T, B, C, H, W]` to spikes of the resolution of `MaxPool`.

    Args:
        neuron: the neurons, by example; the dynamics and the backend are taken from it.
        stride: as in `MaxPool`.
    """

    def __init__(self, neuron: Neuron, stride: int) -> None:
        super().__init__(neuron.dynamics, neuron.backend)
        self.pool = MaxPool(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled spikes of all timesteps."""
        if self.backend != "fused":
            return over_frames(self.pool, super().forward(x))
        pooled: Tensor = _SpikesAndMaxPool.apply(x, self.dynamics, self.pool.stride, self.memory)
        return pooled

    def single_step(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pooled spikes of one timestep, and the new potential of the neurons before the pooling."""
        spikes, v = super().single_step(x, v)
        return self.pool(spikes), v


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        pooled, indices = _pool(x, stride)
        ctx.save_for_backward(indices.to(torch.int16 if x[0, 0].numel() <= _INT16_ELEMENTS else torch.int32))
        ctx.shape, ctx.stride = x.shape, stride
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _unpool(grad, ctx.saved_tensors[0].long(), ctx.shape, ctx.stride), None


class _SpikesAndMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dynamics: Dynamics, stride: int, memory: Memory | None) -> Tensor:
        keep_potential = ctx.needs_input_grad[0]
        spikes, potential = sweep(dynamics, x, memory, keep_potential=keep_potential)
        if keep_potential:
            ctx.save_for_backward(potential)
            ctx.dynamics, ctx.stride = dynamics, stride
        pooled = _pool(spikes.flatten(0, 1), stride)[0]
        return pooled.view(*spikes.shape[:2], *pooled.shape[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (potential,) = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        grad_spikes = _grad_spikes(grad, potential, dynamics.threshold, ctx.stride)
        return sweep_back(dynamics, grad_spikes, potential), None, None, None


def _grad_spikes(grad: Tensor, potential: Tensor, threshold: float, stride: int) -> Tensor:
    """The gradient of the spikes before the pooling, `[T, B, C, H, W]`."""
    spikes = torch.ge(potential, threshold, out=torch.empty_like(potential)).flatten(0, 1)
    indices = _pool(spikes, stride)[1]
    shape = spikes.shape
    del spikes
    return _unpool(grad.flatten(0, 1), indices, shape, stride).view(potential.shape)


def _pool(frames: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Maxima, and where each lies in its plane (int64)."""
    pooled, indices = torch.ops.aten.max_pool2d_with_indices(frames, _SIDE, [stride] * 2, _PADDING)
    return pooled, indices


def _unpool(grad: Tensor, indices: Tensor, shape: torch.Size, stride: int) -> Tensor:
    # The operator reads the shape of its second argument, not the values: one element stands for all.
    shape_only = grad.new_empty(()).expand(shape)
    unpooled: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        grad, shape_only, _SIDE, [stride] * 2, _PADDING, [1, 1], False, indices
    )
    return unpooled
