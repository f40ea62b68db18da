"""What the registry knows of a model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from revbench.models.networks.spiking import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model that can be named.

    Attributes:
        name: what the user types.
        summary: one line for `revbench list`.
        build: makes the network from `timesteps` and, where given, `depth` (families only, always given), `width`
            (families only), `activations` (reversible models only) and `states` (those of `states` only).
        family: whether depth (blocks in each stage) and width are free.
        reversible: whether the activations can be `recomputed` or `stored`.
        states: whether states can be `stored`, `coded` or `inverted` where activations are recomputed.
        counterpart: the model that the paper compares with.
        fixed: sizes that a family does not take all the same.
    """

    name: str
    summary: str
    build: Callable[..., SpikingNetwork]
    family: bool = False
    reversible: bool = False
    states: bool = False
    counterpart: str | None = None
    fixed: frozenset[str] = frozenset()


def sized(name: str, summary: str, builder: Callable[..., SpikingNetwork], size: Any, **entry: Any) -> ModelEntry:
    """A model of a fixed size, which is the builder's first argument."""
    return ModelEntry(name=name, summary=summary, build=lambda **options: builder(size, **options), **entry)


def staged(
    name: str, summary: str, builder: Callable[..., SpikingNetwork], num_stages: int, **entry: Any
) -> ModelEntry:
    """A family whose depth is the number of blocks in each stage; the builder takes the blocks of every stage."""

    def build(*, depth: int, **options: Any) -> SpikingNetwork:
        return builder([depth] * num_stages, **options)

    return ModelEntry(name=name, summary=summary, build=build, family=True, **entry)


def deepened(name: str, summary: str, builder: Callable[..., SpikingNetwork], **entry: Any) -> ModelEntry:
    """A family without stages, whose depth is the number of blocks; the builder takes it as its first argument."""

    def build(*, depth: int, **options: Any) -> SpikingNetwork:
        return builder(depth, **options)

    return ModelEntry(name=name, summary=summary, build=build, family=True, **entry)
