"""Where the bytes of a training step belong: layer and timestep, by storage. Data and pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from revbench.bench.memory.timeline import KINDS, StorageKind, Timeline

NETWORK = "(network)"
"""The network's own code, outside its layers."""
NO_LAYER = "(no layer)"
"""Everything outside the network: input, loss, what the rule and the optimizer compute."""
ALL = "all"
"""The timesteps of what belongs to no single one: parameters, or a tensor `[T, ...]` of all of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a storage was born.

    Attributes:
        layer: dotted path of the innermost module whose forward or backward pass made it, or that owns it.
        timesteps: `3` (counted from 1), `1-2`, or `all`.
        phase: `forward`, `backward` or `optimizer`; `before` the step, or `between` phases.
    """

    layer: str
    timesteps: str
    phase: str


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A timeline with the birth place of every storage.

    Attributes:
        timeline: the live bytes of a training step.
        place_of: `[num_storages]`, the index in `places` of each storage.
        places: all there are.
    """

    timeline: Timeline
    place_of: NDArray[np.int64]
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Live bytes at one instant that have the same kind and place."""

    kind: StorageKind
    place: Place
    num_bytes: int


def cells_at_peak(attribution: Attribution) -> tuple[Cell, ...]:
    """Who holds the bytes at the instant of the peak, the largest first; they add up to the peak exactly.

    Raises:
        AssertionError: they do not (an error of this program).
    """
    live = attribution.timeline.live_bytes()
    instant = int(live.argmax())
    cells = cells_at(attribution, instant + 1)
    assert sum(cell.num_bytes for cell in cells) == live[instant]
    return cells


def cells_at(attribution: Attribution, num_changes: int) -> tuple[Cell, ...]:
    """The live bytes after the first `num_changes` changes by kind and place, the largest first."""
    timeline = attribution.timeline
    live = np.zeros(len(timeline.kind_of), dtype=np.int64)
    np.add.at(live, timeline.storage_of[:num_changes], timeline.delta_bytes[:num_changes])
    by_cell: dict[tuple[StorageKind, Place], int] = {}
    for storage in np.flatnonzero(live):
        key = KINDS[timeline.kind_of[storage]], attribution.places[attribution.place_of[storage]]
        by_cell[key] = by_cell.get(key, 0) + int(live[storage])
    return _largest_first(by_cell)


def folded(cells: tuple[Cell, ...], layers: Mapping[str, str]) -> tuple[Cell, ...]:
    """The same bytes with layers put together: `layers` has the name for each, and others keep theirs."""
    by_cell: dict[tuple[StorageKind, Place], int] = {}
    for cell in cells:
        layer = layers.get(cell.place.layer, cell.place.layer)
        key = cell.kind, replace(cell.place, layer=layer)
        by_cell[key] = by_cell.get(key, 0) + cell.num_bytes
    return _largest_first(by_cell)


def _largest_first(by_cell: Mapping[tuple[StorageKind, Place], int]) -> tuple[Cell, ...]:
    cells = [Cell(kind, place, num_bytes) for (kind, place), num_bytes in by_cell.items()]
    return tuple(sorted(cells, key=lambda cell: -cell.num_bytes))
