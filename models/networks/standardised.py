r"""Scaled weight standardisation: convolutions that need no batch norm (Brock et al., 2021; used by OTTT and T-RevSNN).

For each output channel, with N weights (fan-in), mean $\mu$ and variance $\sigma^2$:

$$\hat W = g\,\frac{W - \mu}{\sqrt{N\sigma^2 + \epsilon}}$$

The gain $g$ is learnt. Only the weight itself and two numbers a channel are kept for the backward pass; plain autograd
keeps three tensors of the size of the weight.
"""

from typing import Any

import torch
from torch import Tensor, nn


class StandardisedConv2d(nn.Conv2d):
    r"""A convolution whose weight is standardised at each use; frames `[N, C, H, W]`, with bias.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        kernel_size: side of the kernel.
        stride: of the windows.
        padding: of zeros; by default the resolution stays, but for the stride.
        correction: 1 for the unbiased variance (OTTT's code), 0 for the biased one (T-RevSNN's).
        epsilon: $\epsilon$ of the module's equation, which stands beside $N\sigma^2$ (OTTT: 1e-4).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        correction: int = 1,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2 if padding is None else padding
        )
        self.gain = nn.Parameter(torch.ones(out_channels, 1, 1, 1))
        self.correction = correction
        self.epsilon = epsilon

    def standardised_weight(self) -> Tensor:
        """The weight that the convolution uses, `[out, in, k, k]`."""
        return standardise(self.weight, self.gain, correction=self.correction, epsilon=self.epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """Frames `[N, C, H, W]` to frames of `out_channels`."""
        convolved: Tensor = self._conv_forward(x, self.standardised_weight(), self.bias)
        return convolved


def residual_convolution(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int | None = None
) -> StandardisedConv2d:
    r"""The form of T-RevSNN's code: biased variance, and 1e-6 added to $\sigma^2$ itself."""
    fan_in = in_channels * kernel_size**2
    return StandardisedConv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=padding, correction=0, epsilon=1e-6 * fan_in
    )


def standardise(weight: Tensor, gain: Tensor, *, correction: int, epsilon: float) -> Tensor:
    """The module's equation; weight `[out, in, k, k]`, gain `[out, 1, 1, 1]`."""
    standardised: Tensor = _Standardise.apply(weight, gain, correction, epsilon)
    return standardised


class _Standardise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, gain: Tensor, correction: int, epsilon: float) -> Tensor:
        rows = weight.flatten(1)
        fan_in = rows.shape[1]
        ctx.variance_ratio = fan_in / (fan_in - correction)
        mean = rows.mean(1, keepdim=True)
        centred = rows - mean
        # Twice as fast as `torch.var_mean`, which walks along each row.
        norm = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        scale = (norm.square() * ctx.variance_ratio + epsilon).rsqrt()
        ctx.save_for_backward(weight, gain, mean, scale)
        return centred.mul_(scale * gain.flatten(1)).view(weight.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weight, gain, mean, scale = ctx.saved_tensors
        rows = (weight.flatten(1) - mean).mul_(scale)
        grad_rows = grad.flatten(1)
        projection = (grad_rows * rows).sum(1, keepdim=True)
        grad_gain = projection.view(gain.shape) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, grad_gain, None, None
        # d scale / d weight gives the term along the standardised weight itself; the mean's gradient is subtracted.
        grad_weight = rows.mul_(projection * -ctx.variance_ratio).add_(grad_rows).sub_(grad_rows.mean(1, keepdim=True))
        return grad_weight.mul_(scale * gain.flatten(1)).view(weight.shape), grad_gain, None, None
