r"""Synaptic operations (SOP): every non-zero input of a convolution or matrix product, times its true fan-out.

The fan-out of an input element is the number of accumulations that it takes part in. At the border of a convolution it
is smaller than inside, under strides it depends on the position; it is a product over the axes:

$$SOP = \frac{O}{G}\sum_{c,p} 1(x_{c,p} \ne 0)\prod_i n_i(p_i)$$

for O output channels in G groups, where $n_i(p_i)$ is how many pairs (output position, kernel position) of axis i meet
the input at $p_i$ (`axis_fan_out`). In a product of matrices AB, the accumulations are the pairs of non-zeros that
meet. All counts are int64, whatever the dtype of the values; nothing larger than the input is allocated.

`by_level` counts an input of level k (an integer) k times: the accumulations of a machine that can only add weights.

Torch's sums over some dimensions first copy their input as int64, twice the size of float32; so tensors are summed in
parts that stay in the processor's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A convolution without its values, as `aten.convolution` has it; one number for each spatial axis.

    Attributes:
        weight_shape: `[O, C/G, *k]`, or `[C, O/G, *k]` of a transposed convolution.
        stride: of the windows; of the inputs for a transposed convolution.
        padding: zeros at both ends; for a transposed convolution, what is cut off there.
        dilation: distance of neighbouring kernel positions.
        groups: G.
        transposed: whether the roles of input and output are exchanged.
        output_padding: rows added at the far end of a transposed convolution's output.
    """

    weight_shape: tuple[int, ...]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int = 1
    transposed: bool = False
    output_padding: Sequence[int] = ()

    @property
    def output_channels_per_group(self) -> int:
        """O / G: how many output channels read an input channel."""
        return self.weight_shape[1] if self.transposed else self.weight_shape[0] // self.groups


PART_ELEMENTS = 1 << 17


def convolution_sops(x: Tensor, geometry: Geometry, *, by_level: bool = False) -> Tensor:
    """Synaptic operations of a convolution of `[N, C, *spatial]`, int64 `[N]`."""
    return sops_at(amounts(x, dim=1, by_level=by_level), geometry)


def sops_at(counts: Tensor, geometry: Geometry) -> Tensor:
    """Synaptic operations of a convolution whose input has so many events at each position, `[N, *spatial]`."""
    for axis in reversed(range(counts.ndim - 1)):
        counts = (counts * _fan_out_along(axis, counts, geometry)).sum(-1)
    return counts * geometry.output_channels_per_group


def axis_fan_out(
    size: int,
    *,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    transposed: bool = False,
    output_padding: int = 0,
) -> Tensor:
    r"""How many pairs (output position o, kernel position k) of one axis read each input position p, int64 `[size]`.

    A pair reads p where $o\,stride + k\,dilation - padding = p$; in a transposed convolution, p and o change places.
    """
    places = torch.arange(size)
    reach = dilation * (kernel - 1)
    count = torch.zeros(size, dtype=torch.int64)
    for offset in range(0, reach + 1, dilation):
        if transposed:
            num_outputs = (size - 1) * stride - 2 * padding + reach + output_padding + 1
            output = places * stride - padding + offset
            count += (output >= 0) & (output < num_outputs)
        else:
            num_outputs = (size + 2 * padding - reach - 1) // stride + 1
            ahead = places + padding - offset
            count += (ahead >= 0) & (ahead % stride == 0) & (ahead < num_outputs * stride)
    return count


def linear_sops(x: Tensor, out_features: int, *, by_level: bool = False) -> Tensor:
    """Synaptic operations of a linear map of `[..., in]` to `[..., out]`, int64 `[...]`."""
    return amounts(x, dim=-1, by_level=by_level) * out_features


def matmul_sops(a: Tensor, b: Tensor, *, by_level: bool = False) -> Tensor:
    """Pairs of non-zeros that meet in `[..., M, K] @ [..., K, N]`, int64 `[...]`; by the level of `a`, if asked for."""
    return (amounts(a, dim=-2, by_level=by_level) * amounts(b, dim=-1)).sum(-1)


def amounts(x: Tensor, *, dim: int, by_level: bool = False) -> Tensor:
    """Non-zeros along a dimension, int64; or the sum of their absolute values, which must be integers."""
    if x.ndim < 2 or dim % x.ndim == 0 or not x.numel():
        return _amounts(x, dim, by_level)
    return torch.cat([_amounts(part, dim, by_level) for part in in_parts(x)])


def in_parts(x: Tensor) -> tuple[Tensor, ...]:
    """Slices of the first dimension, of at most `PART_ELEMENTS` each if there are as many."""
    parts: tuple[Tensor, ...] = x.split(max(1, PART_ELEMENTS * len(x) // max(1, x.numel())))
    return parts


def _amounts(x: Tensor, dim: int, by_level: bool) -> Tensor:
    return x.abs().sum(dim, dtype=torch.int64) if by_level else torch.count_nonzero(x, dim=dim)


def _fan_out_along(axis: int, counts: Tensor, geometry: Geometry) -> Tensor:
    fan_out = axis_fan_out(
        counts.shape[1 + axis],
        kernel=geometry.weight_shape[2 + axis],
        stride=geometry.stride[axis],
        padding=geometry.padding[axis],
        dilation=geometry.dilation[axis],
        transposed=geometry.transposed,
        output_padding=geometry.output_padding[axis] if geometry.output_padding else 0,
    )
    return fan_out.to(counts.device)
