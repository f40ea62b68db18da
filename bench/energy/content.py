"""What the values of a tensor are: spikes, levels or real numbers; where they come from; and whether the values agree.

A content is declared by what made the tensor and follows it through the operators: spikes that are averaged over n
pixels are levels of 1/n, concatenated spikes are spikes. Nothing is guessed from values; they are compared with the
declaration where a synaptic operator reads them (`verified`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from revbench.bench.energy.synaptic import in_parts

Kind = Literal["spikes", "levels", "real"]
Origin = Literal["input", "synapses", "neurons"]
Fresh = Literal["", "unbiased", "biased"]
_NEAREST_TO_NEURONS: tuple[Origin, ...] = ("input", "synapses", "neurons")
_TOLERANCE = 8
"""Rounding errors of a level, in units of the last place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a tensor holds.

    Attributes:
        kind: `spikes` (0 or the scale), `levels` (integers times the scale, of either sign) or `real`.
        scale: one constant, which could be folded into the weights of whoever reads the tensor.
        origin: the neurons, the synaptic operators, or the network's input that it comes from through other operators.
        fresh: whether it is what a synaptic operator returned, with or without a bias; a normalisation of it, or a
            constant factor, could be folded into that operator.
    """

    kind: Kind = "real"
    scale: float = 1.0
    origin: Origin = "input"
    fresh: Fresh = ""

    @property
    def is_counted(self) -> bool:
        """Whether it is spikes or levels, which are added and not multiplied."""
        return self.kind != "real"

    @property
    def is_foldable(self) -> bool:
        """Whether a constant factor of it can be folded into a neighbouring synaptic operator."""
        return self.is_counted or self.fresh != ""

    def times(self, factor: float) -> "Content":
        """After a multiplication by one constant."""
        return replace(self, scale=self.scale * factor) if self.is_counted else self

    def summed(self, factor: float = 1.0) -> "Content":
        """Sums of such values, times a factor: spikes become levels."""
        return replace(self.times(factor), kind="levels" if self.is_counted else "real")

    def as_real(self) -> "Content":
        """Real numbers of the same origin."""
        return Content(origin=self.origin)


IMAGES = Content(kind="real", origin="input")
EVENTS = Content(kind="levels", origin="input")
SPIKES = Content(kind="spikes", origin="neurons")


def origin_of(contents: Iterable[Content]) -> Origin:
    """Neurons, if one of them comes from neurons; else synaptic operators, if one does; else the input."""
    return max((content.origin for content in contents), key=_NEAREST_TO_NEURONS.index)


def joined(contents: Iterable[Content]) -> Content:
    """Side by side in one tensor."""
    first, *others = dict.fromkeys(contents)
    if not others:
        return first
    origin = origin_of((first, *others))
    if all(content.is_counted and content.scale == first.scale for content in (first, *others)):
        kinds = {content.kind for content in (first, *others)}
        return Content(kind="levels" if len(kinds) > 1 else first.kind, scale=first.scale, origin=origin)
    return Content(origin=origin)


def added(a: Content, b: Content) -> Content:
    """Element by element: levels, if both are multiples of the same scale."""
    together = joined((a, b))
    return replace(together.summed(), fresh="")


def multiplied(a: Content, b: Content) -> Content:
    """Element by element: spikes, if both are."""
    origin = origin_of((a, b))
    if not (a.is_counted and b.is_counted):
        return Content(origin=origin)
    both = a.kind == b.kind == "spikes"
    return Content(kind="spikes" if both else "levels", scale=a.scale * b.scale, origin=origin)


def verified(x: Tensor, declared: Content) -> Content:
    """The declared content, or the weakest stronger claim that the values allow: levels for spikes, else real."""
    if declared.kind == "real":
        return declared
    if declared.kind == "spikes" and _are_spikes(x, declared.scale):
        return declared
    return replace(declared, kind="levels") if _are_levels(x, declared.scale) else replace(declared, kind="real")


def levels_of(x: Tensor, scale: float) -> Tensor:
    """The integers k of values k times the scale, as floating point numbers."""
    precise = x.float() if x.dtype in (torch.float16, torch.bfloat16, torch.bool) else x
    return precise.div(scale).round_()


def _are_spikes(x: Tensor, scale: float) -> bool:
    if x.dtype == torch.bool:
        return scale == 1
    if scale == 1:
        return int(torch.count_nonzero(x == 1)) == int(torch.count_nonzero(x))
    return all(map(_are_bits, (levels_of(part, scale) for part in in_parts(x)))) and _are_levels(x, scale)


def _are_bits(levels: Tensor) -> bool:
    return bool(((levels == 0) | (levels == 1)).all())


def _are_levels(x: Tensor, scale: float) -> bool:
    if not x.is_floating_point():
        return True
    tolerance = _TOLERANCE * torch.finfo(x.dtype).eps * abs(scale)
    for part in in_parts(x):
        levels = levels_of(part, scale)
        if not bool((part - levels * scale).abs_().le(levels.abs() * tolerance).all()):
            return False
    return True
