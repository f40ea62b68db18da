r"""Batch norm of single-step networks: every timestep is normalised by statistics of its own.

For each channel, with mean $\mu_t$ and variance $\sigma_t^2$ over the batch and the pixels of timestep $t$:

$$y[t] = \gamma\,\frac{x[t] - \mu_t}{\sqrt{\sigma_t^2 + \epsilon}} + \beta$$

This is `nn.BatchNorm2d` in a network that is called once a timestep (SLTT, ICCV 2023, and its code): the running
statistics move T times a batch. Batch norms over all frames of a sequence share one mean and variance instead.
"""

from typing import Any

import torch
from torch import Tensor, nn


class StepwiseBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` applied to each timestep of `[T, B, C, H, W]`, in order; `momentum` means the same.

    Kept for the backward pass: the input, and two numbers a channel and timestep.

    Args:
        num_features: C.
        track_running_stats: whether running statistics are kept, and used in evaluation.
    """

    def __init__(self, num_features: int, *, track_running_stats: bool = True) -> None:
        super().__init__(num_features, track_running_stats=track_running_stats)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if not self.training and self.running_mean is not None:
            # Constants normalise every frame alike.
            return super().forward(x.flatten(0, 1)).view(x.shape)
        running = (self.running_mean, self.running_var) if self.training else (None, None)
        momenta = self._momenta(x.shape[0])
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(x.shape[0])
        normalised: Tensor = _StepwiseBatchNorm.apply(x, self.weight, self.bias, *running, momenta, self.eps)
        return normalised

    def _momenta(self, timesteps: int) -> list[float]:
        """The share of each timestep in the running statistics, which without a momentum are the mean of all."""
        if self.momentum is not None or self.num_batches_tracked is None:
            return [self.momentum or 0.0] * timesteps
        before = int(self.num_batches_tracked)
        return [1 / (before + number) for number in range(1, timesteps + 1)]


class _StepwiseBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momenta: list[float],
        epsilon: float,
    ) -> Tensor:
        normalised = torch.empty_like(x)
        # The operator writes into its place in the sequence: no second copy of the sequence is made.
        mean, inverse_deviation = weight.new_empty(2, x.shape[0], x.shape[2]).unbind(0)
        for t in range(x.shape[0]):
            torch.ops.aten.native_batch_norm.out(
                _dense(x[t]),
                weight,
                bias,
                running_mean,
                running_var,
                True,
                momenta[t],
                epsilon,
                out=normalised[t],
                save_mean=mean[t],
                save_invstd=inverse_deviation[t],
            )
        ctx.save_for_backward(x, weight, mean, inverse_deviation)
        ctx.epsilon = epsilon
        return normalised

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        grad_x = torch.empty_like(x) if wanted[0] else None
        grad_weight = torch.zeros_like(weight) if wanted[1] else None
        grad_bias = torch.zeros_like(weight) if wanted[2] else None
        for t in range(x.shape[0]):
            parts = torch.ops.aten.native_batch_norm_backward(
                grad[t], x[t], weight, None, None, mean[t], inverse_deviation[t], True, ctx.epsilon, wanted
            )
            if grad_x is not None:
                grad_x[t] = parts[0]
            if grad_weight is not None:
                grad_weight += parts[1]
            if grad_bias is not None:
                grad_bias += parts[2]
            del parts
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _dense(frames: Tensor) -> Tensor:
    """The frames in a layout for which the operator with given outputs fills them: on the CPU it does not in others."""
    if frames.is_contiguous() or frames.is_contiguous(memory_format=torch.channels_last):
        return frames
    return frames.contiguous()
