"""T-RevSNN of about the same number of parameters whatever T, as its paper compares simulation lengths.

A network of T timesteps has T columns with weights of their own. To divide the same parameters among more timesteps
its columns are made narrower: of all widths the one is taken whose network comes nearest to that of T = 4.
"""

from bisect import bisect_left
from typing import Any

from revbench.models.networks.trevsnn import TRevSNN, trevsnn

USUAL_TIMESTEPS = 4
LEVEL_WIDTHS = (1, 2, 4, 6)
"""Of the family `trevsnn`, in widths of its first level."""
KERNEL_SIZE = 3
EXPANSION = 4
IMAGE_CHANNELS = 3
MOST_HEADS = 4
WIDEST = 8
"""How many times as wide as at T = 4 a network may be; at T = 1 it is about 2."""


def trevsnn_split(
    num_blocks: int, *, timesteps: int, width: int = 64, num_classes: int = 10, **choices: Any
) -> TRevSNN:
    """T-RevSNN of the parameters that `trevsnn` has of this width at T = 4, or as near as an integer width comes.

    Images 3x32x32. `choices` are those of `TRevSNN`, heads and dead parameters as they are by default.
    """
    narrowed = split_width(width, num_blocks=num_blocks, timesteps=timesteps, num_classes=num_classes)
    return trevsnn(num_blocks, timesteps=timesteps, width=narrowed, num_classes=num_classes, **choices)


def split_width(width: int, *, num_blocks: int, timesteps: int, num_classes: int) -> int:
    """The width at T whose number of parameters is nearest to that of `width` at T = 4; the narrower of two as near."""

    def count(at: int, steps: int) -> int:
        return num_parameters(at, num_blocks=num_blocks, timesteps=steps, num_classes=num_classes)

    wanted = count(width, USUAL_TIMESTEPS)
    widths = range(1, WIDEST * width + 1)
    above = bisect_left(widths, wanted, key=lambda at: count(at, timesteps))
    near = widths[max(above - 1, 0) : above + 1]
    return min(near, key=lambda at: abs(count(at, timesteps) - wanted))


def num_parameters(width: int, *, num_blocks: int, timesteps: int, num_classes: int) -> int:
    """Parameters of `trevsnn`, whose widths are `LEVEL_WIDTHS` times `width`."""
    first, second, third, fourth = widths = [width * level for level in LEVEL_WIDTHS]
    heads = min(timesteps, MOST_HEADS)
    once = _standardised(IMAGE_CHANNELS, first, 7) + _standardised(first, first, 3)
    once += heads * _standardised(fourth, num_classes, 1) + _standardised(num_classes, num_classes, 1)
    once += sum(_projection(each) for each in widths)
    bottoms = _path(first, second, 3) + _path(second, third, 3) + _path(third, fourth, 1)
    blocks = sum(
        num_blocks * (_depthwise(each) + _standardised(each, EXPANSION * each, 1))
        + (num_blocks - 1) * (_projection(each) + each)  # and the scale
        for each in widths
    )
    carries = sum(widths)
    tops = _path(second, first, 1) + _path(third, second, 1) + _path(fourth, third, 1)
    return once + timesteps * (bottoms + blocks + carries) + (timesteps - 1) * tops


def _standardised(in_channels: int, out_channels: int, kernel_size: int) -> int:
    """A convolution with bias and gain."""
    return in_channels * out_channels * kernel_size**2 + 2 * out_channels


def _depthwise(channels: int) -> int:
    return channels * (KERNEL_SIZE**2 + 1)


def _projection(channels: int) -> int:
    return _standardised(EXPANSION * channels, channels, 1) + _depthwise(channels)


def _path(in_channels: int, out_channels: int, kernel_size: int) -> int:
    """A convolution without bias, and batch norm."""
    return in_channels * out_channels * kernel_size**2 + 2 * out_channels
