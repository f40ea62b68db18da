"""The live bytes of a training step over time, by kind: data and pure functions.

A timeline is a list of changes. Change `i` adds `delta_bytes[i]` (negative: frees) to the storage
`storage_of[i]`, and every storage has one kind for its whole life, found out by the end of the step.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

StorageKind = Literal[
    "parameters",
    "gradients",
    "optimizer_state",
    "buffers",
    "inputs",
    "neuron_state",
    "saved",
    "recomputation",
    "temporaries",
]
KINDS: tuple[StorageKind, ...] = get_args(StorageKind)
ACTIVATION_KINDS: tuple[StorageKind, ...] = ("neuron_state", "saved", "recomputation", "temporaries")
"""What a batch costs beyond the model, its gradients, the optimizer and the input itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The end of a phase, after the first `num_changes` changes."""

    phase: str
    num_changes: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The live bytes of one training step.

    Attributes:
        storage_of: `[num_changes]`, the storage that each change is about.
        delta_bytes: `[num_changes]`, what it adds.
        kind_of: `[num_storages]`, the index in `KINDS` of each storage.
        phase_ends: where the phases end, in order.
    """

    storage_of: NDArray[np.int64]
    delta_bytes: NDArray[np.int64]
    kind_of: NDArray[np.int64]
    phase_ends: tuple[Mark, ...]

    def live_bytes(self, kinds: tuple[StorageKind, ...] = KINDS) -> NDArray[np.int64]:
        """The live bytes of these kinds after each change, `[num_changes]`."""
        wanted = np.isin(self.kind_of[self.storage_of], [KINDS.index(kind) for kind in kinds])
        return np.cumsum(np.where(wanted, self.delta_bytes, 0))

    def split_at(self, num_changes: int) -> dict[StorageKind, int]:
        """Live bytes by kind after the first `num_changes` changes."""
        kinds = self.kind_of[self.storage_of[:num_changes]]
        return {kind: int(self.delta_bytes[:num_changes][kinds == index].sum()) for index, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The largest live bytes, and what they consist of."""

    total_bytes: int
    by_kind: dict[StorageKind, int]


def peak(timeline: Timeline) -> Peak:
    """The peak of the whole step; its parts add up to it exactly.

    Raises:
        AssertionError: they do not (an error of this program).
    """
    live = timeline.live_bytes()
    instant = int(live.argmax())
    parts = timeline.split_at(instant + 1)
    assert sum(parts.values()) == live[instant]
    return Peak(total_bytes=int(live[instant]), by_kind=parts)


def changes_without(
    storage_of: NDArray[np.int64], storages: Collection[int]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which changes are not of these storages, `[N]`, and how many of those come before each place, `[N + 1]`."""
    kept = ~np.isin(storage_of, list(storages))
    return kept, np.concatenate([[0], np.cumsum(kept)])


def activation_peak_bytes(timeline: Timeline) -> int:
    """The largest sum of the activation kinds at any instant; not always the instant of the whole peak."""
    return int(timeline.live_bytes(ACTIVATION_KINDS).max())


def phase_end_splits(timeline: Timeline) -> dict[str, dict[StorageKind, int]]:
    """For each phase, the live bytes by kind where it ends for the last time."""
    return {mark.phase: timeline.split_at(mark.num_changes) for mark in timeline.phase_ends}
