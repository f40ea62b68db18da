r"""The two residual functions of Spikingformer and RevSFormer: spiking self-attention and the MLP.

RevSNN (AAAI 2024), section 3 and its code; maps `[T, B, D, H, W]` of N = H W tokens, neurons of threshold 1 but one:

* attention: $s = LIF(x)$; $Q, K, V = LIF(BN(W s))$, binary, `[T, B, heads, d, N]`;
  $BN(W_o\,LIF_{0.5}(\frac{1}{8} (Q K^\top) V) + b_o)$. There is no softmax; the factor 1/8 does not depend on d, and
  timesteps do not mix.
* MLP: $BN(W_2\,LIF(BN(W_1\,LIF(x) + b_1)) + b_2)$ with 4 D hidden channels.

The published convolutions over a row of N tokens are convolutions 1x1 over the map here: the same weights and batch
statistics, without reshaping. Tokens come last and stay there, so the product is the transposed one and no operand is
copied. Its backward pass multiplies in another order than the forward pass, which needs no map of N x N to be kept.
"""

from typing import Any

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import ConvolutionAndNeuron, over_frames
from revbench.models.neurons import LIF

SCALE = 0.125


def check_heads(width: int, num_heads: int) -> None:
    """Refuses a number of heads that does not divide the width.

    Raises:
        ValueError: it does not.
    """
    if num_heads < 1 or width % num_heads:
        valid = ", ".join(str(heads) for heads in range(1, width + 1) if width % heads == 0)
        raise ValueError(f"{num_heads} heads do not divide the width {width}; valid numbers of heads are {valid}")


def heads_for(width: int, head_width: int) -> int:
    """The largest number of heads that divides the width and leaves each at least `head_width` channels, or 1."""
    return max(heads for heads in range(1, max(1, width // head_width) + 1) if width % heads == 0)


def pointwise(in_channels: int, out_channels: int, *, bias: bool) -> nn.Sequential:
    """A convolution 1x1 and its batch norm, on frames."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=bias), nn.BatchNorm2d(out_channels))


class SpikingSelfAttention(nn.Module):
    """The attention of the module's equation; `[T, B, D, H, W]` to the same.

    Args:
        width: D.
        num_heads: a divisor of D.
        tau: of the neurons.

    Attributes:
        published_map_kept: whether the map of N x N is kept for the backward pass, as in the published code.
    """

    def __init__(self, width: int, num_heads: int, *, tau: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.published_map_kept = False
        self.neuron = LIF(tau=tau)
        self.query, self.key, self.value = (
            ConvolutionAndNeuron(pointwise(width, width, bias=False), LIF(tau=tau)) for _ in range(3)
        )
        self.attention_neuron = LIF(tau=tau, threshold=0.5)
        self.projection = pointwise(width, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return over_frames(self.projection, self.attention_neuron(self._attended(self.neuron(x))))

    def _attended(self, spikes: Tensor) -> Tensor:
        query, key, value = (self._heads(branch(spikes)) for branch in (self.query, self.key, self.value))
        if self.published_map_kept:
            attended: Tensor = (value @ (key.transpose(-2, -1) @ query)) * SCALE
        else:
            attended = _Attention.apply(query, key, value)
        return attended.view(spikes.shape)

    def _heads(self, spikes: Tensor) -> Tensor:
        """`[T, B, D, H, W]` to `[T, B, heads, d, N]`, without copying."""
        heads: Tensor = spikes.flatten(3).unflatten(2, (self.num_heads, -1))
        return heads


class _Attention(torch.autograd.Function):
    r"""$Y = c\,V (K^\top Q)$ for `[..., d, N]`; backward by products of d x d, $K V^\top$ and $Y' Q^\top$."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return (value @ (key.transpose(-2, -1) @ query)).mul_(SCALE)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        grad_query = (key @ value.transpose(-2, -1)).mul_(SCALE) @ grad
        grad_by_query = (grad @ query.transpose(-2, -1)).mul_(SCALE)
        return grad_query, grad_by_query.transpose(-2, -1) @ value, grad_by_query @ key


class MLP(nn.Module):
    """The MLP of the module's equation; `[T, B, D, H, W]` to the same.

    Args:
        width: D.
        tau: of the neurons.
    """

    RATIO = 4

    def __init__(self, width: int, *, tau: float) -> None:
        super().__init__()
        self.neuron = LIF(tau=tau)
        self.hidden = ConvolutionAndNeuron(pointwise(width, self.RATIO * width, bias=True), LIF(tau=tau))
        self.projection = pointwise(self.RATIO * width, width, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return over_frames(self.projection, self.hidden(self.neuron(x)))
