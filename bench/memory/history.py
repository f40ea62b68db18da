"""All allocations from the building of a model to the end of a training step, and what an allocator makes of them."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from revbench.bench.memory.allocator import Block, CachingAllocator, block_bytes
from revbench.bench.memory.timeline import changes_without


@dataclass(frozen=True, kw_only=True)
class History:
    """Births and deaths of storages in their order.

    Attributes:
        storage_of: `[num_changes]`, the storage that each change is about.
        delta_bytes: `[num_changes]`, what it adds.
        step_begin: the number of changes before the training step that is looked at.
        first_products: the numbers of changes before each handle of cuBLAS is first asked.
    """

    storage_of: NDArray[np.int64]
    delta_bytes: NDArray[np.int64]
    step_begin: int
    first_products: tuple[int, ...]

    def without(self, storages: Collection[int]) -> "History":
        """The history without some storages."""
        kept, before = changes_without(self.storage_of, storages)
        return replace(
            self,
            storage_of=self.storage_of[kept],
            delta_bytes=self.delta_bytes[kept],
            step_begin=int(before[self.step_begin]),
            first_products=tuple(int(before[place]) for place in self.first_products),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The largest amounts during the training step, in bytes, workspaces included.

    Attributes:
        requested_bytes: asked for.
        rounded_bytes: the same with each storage rounded up to blocks of 512 bytes.
        allocated_bytes: handed out, with what is not split off.
        reserved_bytes: held in segments.
        workspace_bytes: what of the requested bytes libraries keep.
    """

    requested_bytes: int
    rounded_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    workspace_bytes: int


def replay(history: History, workspace_bytes: int = 0, capacity_bytes: int | None = None) -> Held:
    """What PyTorch's allocator holds during the step, if it does all that is in the history.

    Args:
        history: what is allocated and freed.
        workspace_bytes: what each handle of cuBLAS takes when it is first asked, and keeps.
        capacity_bytes: of the card; None for any amount.

    Raises:
        OutOfMemoryError: the capacity does not suffice.
    """
    allocator = CachingAllocator(capacity_bytes)
    blocks: dict[int, Block] = {}
    sizes: dict[int, int] = {}
    handles = sorted(history.first_products) if workspace_bytes else []
    requested = rounded = 0
    peaks = [0, 0, 0, 0]

    def take(num_bytes: int) -> None:
        nonlocal requested, rounded
        requested += num_bytes
        rounded += block_bytes(num_bytes)

    def note() -> None:
        now = (requested, rounded, allocator.allocated_bytes, allocator.reserved_bytes)
        peaks[:] = [max(pair) for pair in zip(peaks, now, strict=True)]

    changes = zip(history.storage_of.tolist(), history.delta_bytes.tolist(), strict=True)
    for number, (storage, delta) in enumerate(changes):
        while handles and handles[0] <= number:
            handles.pop(0)
            allocator.allocate(workspace_bytes)
            take(workspace_bytes)
        if number >= history.step_begin:
            note()
        size = sizes.get(storage, 0)
        # A storage that is resized is a new one, made before the old one goes.
        old = blocks.pop(storage, None)
        if size + delta:
            blocks[storage] = allocator.allocate(size + delta)
            take(size + delta)
            if number >= history.step_begin:  # a storage that is resized is alive twice
                note()
        if old:
            allocator.free(old)
            requested -= size
            rounded -= block_bytes(size)
        sizes[storage] = size + delta
    return Held(
        requested_bytes=peaks[0],
        rounded_bytes=peaks[1],
        allocated_bytes=peaks[2],
        reserved_bytes=peaks[3],
        workspace_bytes=workspace_bytes * len(history.first_products),
    )
