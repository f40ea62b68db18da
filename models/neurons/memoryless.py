r"""Neurons without a memory: the turned-off neurons of T-RevSNN (ICML 2024, section 3, and its code).

$$s = 1(x \ge \theta), \qquad \frac{ds}{dx} = 1(0 \le x \le 2\theta)$$

the straight-through estimator inside a window around the threshold $\theta = 0.5$. Training and inference use the same
rule; the published code rounds half to even at inference, so that $x = 0.5$ fires in training only.
"""

from typing import Any

import torch
from torch import Tensor, nn

THRESHOLD = 0.5


class MemorylessNeuron(nn.Module):
    """A layer of neurons that fire where their input reaches 0.5; any shape; one byte an element is kept."""

    is_spiking = True

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of the shape and dtype of `x`."""
        spikes: Tensor = _Spike.apply(x)
        return spikes


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((x >= 0).logical_and_(x <= 2 * THRESHOLD))
        return (x >= THRESHOLD).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (window,) = ctx.saved_tensors
        grad_x: Tensor = grad * window
        return grad_x
