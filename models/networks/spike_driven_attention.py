r"""Spike-driven self-attention (SDT, NeurIPS 2023, section 3 and its code): masks and sums, no product of matrices.

For a map `[T, B, D, H, W]` of N = H W tokens, with neurons of time constant 2 and threshold 1 but for the mask's:

$$s = LIF(x),\quad Q, K, V = LIF(BN(W s)),\quad g_c = \sum_n K_{nc} V_{nc},\quad m = LIF_{0.5}(g),\quad
y = BN(W_o (Q \odot m) + b_o)$$

The mask m has one bit for each timestep and channel. As g counts tokens, the mask neuron fires where g >= 1 and has
nothing to keep where g = 0: m says whether any token has K = V = 1. Sums are taken channel by channel, so the number
of heads changes nothing, unless there are max filters.

Max filters (the code's DVS mode) are 3x3 with stride 1: over the map for K and for V, and over the planes (token,
channel in its head) for K * V and for Q * m, where the tokens are neighbours in raster order.
"""

from torch import Tensor, nn

from revbench.models.networks.layers import ConvolutionAndNeuron, over_frames
from revbench.models.networks.max_pooling import MaxPool, MaxPooledNeuron
from revbench.models.networks.spiking_attention import pointwise
from revbench.models.neurons import LIF, Neuron


class SpikeDrivenAttention(nn.Module):
    """The attention of the module's equation; `[T, B, D, H, W]` to the same.

    Args:
        width: D.
        num_heads: a divisor of D.
        max_filters: applies the four max filters.
        published_dead_parameters: owns the convolution over heads that the published code has and never calls.
    """

    def __init__(
        self, width: int, num_heads: int, *, max_filters: bool = False, published_dead_parameters: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.neuron = LIF(tau=2.0)
        self.query = ConvolutionAndNeuron(pointwise(width, width, bias=False), LIF(tau=2.0))
        self.key, self.value = (
            ConvolutionAndNeuron(pointwise(width, width, bias=False), _filtered(LIF(tau=2.0), max_filters))
            for _ in range(2)
        )
        self.mask_neuron = LIF(tau=2.0, threshold=0.5)
        self.projection = pointwise(width, width, bias=True)
        self.max_filter = MaxPool(stride=1) if max_filters else None
        self.unused_talking_heads = (
            nn.Conv1d(num_heads, num_heads, 1, bias=False) if published_dead_parameters else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return over_frames(self.projection, self._masked(self.neuron(x)))

    def _masked(self, spikes: Tensor) -> Tensor:
        counts = self._over_tokens(self.key(spikes) * self.value(spikes)).sum((-2, -1), keepdim=True)
        return self._over_tokens(self.query(spikes) * self.mask_neuron(counts))

    def _over_tokens(self, x: Tensor) -> Tensor:
        """The max filter over the planes (token, channel in its head) of `[T, B, D, H, W]`, if there is one."""
        if self.max_filter is None:
            return x
        planes = x.flatten(0, 1).flatten(2).unflatten(1, (self.num_heads, -1)).transpose(-2, -1)
        filtered: Tensor = self.max_filter(planes)
        return filtered.transpose(-2, -1).reshape(x.shape)


def _filtered(neuron: Neuron, max_filters: bool) -> Neuron:
    return MaxPooledNeuron(neuron, stride=1) if max_filters else neuron
