"""Two bits for each element of a state that is read through thresholds alone.

A spike `1(x >= 0.5)` with the straight-through window `0 <= x <= 1` for its derivative sees only in which of four
intervals an element lies: below 0, from 0, from 0.5, above 1. Any number of the same interval gives the same spikes
and the same gradients, so a code stands for the state exactly (T-RevSNN specification, section 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_STANDINS = (-1.0, 0.25, 0.75, 2.0)
_PER_BYTE = 4


@dataclass(frozen=True, slots=True)
class Coded:
    """A tensor as codes: four elements in a byte.

    Attributes:
        codes: `[ceil(n / 4)]`, uint8.
        shape: of the tensor.
        dtype: of the tensor.
    """

    codes: Tensor
    shape: torch.Size
    dtype: torch.dtype


def encode(x: Tensor) -> Coded:
    """The interval of every element of `x`, any shape; quarter `q` of the elements takes the bits `2q` and `2q + 1`."""
    flat = x.reshape(-1)
    quarter = -(-flat.numel() // _PER_BYTE)
    codes = torch.zeros(quarter, dtype=torch.uint8, device=x.device)
    for place in range(_PER_BYTE):
        part = flat[place * quarter : (place + 1) * quarter]
        # The bounds 0 and 0.5 belong to the interval above them, 1 to the one below it.
        interval = (part >= 0).to(torch.uint8).add_(part >= 0.5).add_(part > 1)
        codes[: part.numel()].bitwise_or_(interval.bitwise_left_shift_(2 * place))
    return Coded(codes, x.shape, x.dtype)


def decode(coded: Coded) -> Tensor:
    """A tensor of the same shape whose elements lie in the same intervals."""
    standins = torch.tensor(_STANDINS, dtype=coded.dtype, device=coded.codes.device)
    size = coded.shape.numel()
    quarter = coded.codes.numel()
    flat = torch.empty(size, dtype=coded.dtype, device=coded.codes.device)
    for place in range(_PER_BYTE):
        part = flat[place * quarter : (place + 1) * quarter]
        interval = coded.codes[: part.numel()].bitwise_right_shift(2 * place).bitwise_and_(3)
        torch.index_select(standins, 0, interval.int(), out=part)
    return flat.view(coded.shape)
