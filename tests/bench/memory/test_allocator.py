"""The simulated allocator: sequences worked out by hand, and a slow one that keeps every byte in a list."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.memory.allocator import Block, CachingAllocator, OutOfMemoryError, block_bytes, segment_bytes
from revbench.bench.memory.history import Held, History, replay

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("num_bytes", "block", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB - 1, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (64 * MIB, 64 * MIB, 64 * MIB),
    ],
)
def test_sizes_of_blocks_and_segments(num_bytes: int, block: int, segment: int) -> None:
    """What one allocation takes of an empty allocator; a remainder of up to 1 MiB is split off small blocks alone."""
    assert block_bytes(num_bytes) == block
    assert segment_bytes(block) == segment
    allocator = CachingAllocator()
    allocator.allocate(num_bytes)
    is_split = segment - block > MIB or (block <= MIB and segment > block)
    assert allocator.allocated_bytes == (block if is_split else segment)
    assert allocator.reserved_bytes == segment


def test_a_remainder_of_one_mebibyte_stays_with_its_block() -> None:
    """11 MiB from a segment of 12 MiB; 11 MiB less 512 bytes leave more, which is split off."""
    allocator = CachingAllocator()
    whole = allocator.allocate(11 * MIB)
    assert allocator.allocated_bytes == 12 * MIB
    allocator.free(whole)
    part = allocator.allocate(11 * MIB - 512)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (11 * MIB - 512, 12 * MIB)
    allocator.free(part)
    assert [(block.address, block.num_bytes) for block in allocator.free_blocks] == [(0, 12 * MIB)]


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    """And of two of the same size the one that lies lower."""
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 20, 30, 20)]
    for block in blocks:
        allocator.free(block)
    assert allocator.allocate(20 * MIB) is blocks[1]
    assert allocator.allocate(20 * MIB) is blocks[3]
    assert allocator.allocate(20 * MIB) is blocks[2]
    assert allocator.reserved_bytes == 110 * MIB


def test_neighbours_that_are_free_are_merged_and_others_are_not() -> None:
    """Four blocks of 4 MiB in one segment of 20 MiB, freed in an order that meets every case."""
    allocator = CachingAllocator()
    a, b, c, d = (allocator.allocate(4 * MIB) for _ in range(4))
    assert allocator.reserved_bytes == 20 * MIB

    def free() -> list[tuple[int, int]]:
        return [(block.address // MIB, block.num_bytes // MIB) for block in allocator.free_blocks]

    assert free() == [(16, 4)]
    allocator.free(b)
    assert free() == [(4, 4), (16, 4)]
    allocator.free(d)
    assert free() == [(4, 4), (12, 8)]
    allocator.free(c)
    assert free() == [(4, 16)]
    allocator.free(a)
    assert free() == [(0, 20)]


def test_small_and_large_blocks_have_pools_of_their_own() -> None:
    """A free block of 20 MiB is not taken for a small tensor."""
    allocator = CachingAllocator()
    allocator.free(allocator.allocate(5 * MIB))
    allocator.allocate(KIB)
    assert allocator.reserved_bytes == 22 * MIB


def test_free_segments_are_given_back_when_the_memory_does_not_suffice() -> None:
    """Those of which nothing is in use, and then there is an end."""
    allocator = CachingAllocator(capacity_bytes=60 * MIB)
    allocator.free(allocator.allocate(30 * MIB))
    kept = allocator.allocate(4 * MIB)  # from the free one, of which the rest stays
    with pytest.raises(OutOfMemoryError, match=r"41943040 bytes more do not fit: 31457280 of 62914560"):
        allocator.allocate(40 * MIB)
    allocator.free(kept)
    allocator.allocate(40 * MIB)
    assert (allocator.reserved_bytes, allocator.allocated_bytes) == (40 * MIB, 40 * MIB)
    assert not allocator.free_blocks


def test_a_segment_of_which_a_part_is_in_use_is_kept() -> None:
    """Wherever the free part lies."""
    allocator = CachingAllocator()
    first, second, third = (allocator.allocate(4 * MIB) for _ in range(3))
    for block in (first, third):
        allocator.free(block)
    allocator.give_back()
    assert allocator.reserved_bytes == 20 * MIB
    allocator.free(second)
    allocator.give_back()
    assert allocator.reserved_bytes == 0


@dataclass
class Slow:
    """The same allocator with every segment as an array of its 512-byte units, which hold the number of their block."""

    segments: list[tuple[bool, np.ndarray]] = field(default_factory=list)
    num_blocks: int = 0

    def allocate(self, num_bytes: int) -> int:
        """Looks at every run of free units, in the order of addresses."""
        size = -(-num_bytes // 512)
        small = size <= 2048
        fitting = [run for run in self.runs() if self.segments[run[0]][0] == small and run[2] >= size]
        if fitting:
            segment, start, length = min(fitting, key=lambda run: run[2])
        else:
            total = 4096 if small else 40960 if size < 20480 else -(-size // 4096) * 4096
            self.segments.append((small, np.zeros(total, dtype=int)))
            segment, start, length = len(self.segments) - 1, 0, total
        taken = size if length - size >= (1 if small else 2049) else length
        self.num_blocks += 1
        self.segments[segment][1][start : start + taken] = self.num_blocks
        return self.num_blocks

    def free(self, block: int) -> None:
        """Clears its units."""
        for _, units in self.segments:
            units[units == block] = 0

    def runs(self) -> list[tuple[int, int, int]]:
        """Segment, start and length of every run of free units."""
        found = []
        for number, (_, units) in enumerate(self.segments):
            edges = np.flatnonzero(np.diff(np.concatenate([[1], units != 0, [1]])))
            found += [(number, int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return found

    def allocated(self) -> int:
        """Bytes in use."""
        return sum(int((units != 0).sum()) for _, units in self.segments) * 512

    def reserved(self) -> int:
        """Bytes of all segments."""
        return sum(len(units) for _, units in self.segments) * 512


SIZES = st.one_of(
    st.integers(1, 4 * KIB),
    st.sampled_from([512, 513, MIB - 1, MIB, MIB + 1, 10 * MIB - 1, 10 * MIB, 11 * MIB]),
    st.integers(1, 30 * MIB),
)
ACTIONS = st.lists(st.one_of(SIZES, st.integers(-40, -1)), max_size=40)


@settings(deadline=None, max_examples=60)
@given(ACTIONS)
def test_it_is_the_slow_one(actions: list[int]) -> None:
    """After every allocation and every death, whatever the order; and at the end everything merges."""
    fast, slow = CachingAllocator(), Slow()
    living: list[tuple[Block, int]] = []
    requested = 0
    for action in actions:
        if action > 0:
            living.append((fast.allocate(action), slow.allocate(action)))
            requested += action
        elif living:
            block, twin = living.pop(action % len(living))
            fast.free(block)
            slow.free(twin)
        assert (fast.allocated_bytes, fast.reserved_bytes) == (slow.allocated(), slow.reserved())
        assert fast.reserved_bytes >= fast.allocated_bytes
        spans = sorted((each.address, each.num_bytes) for each in (*fast.free_blocks, *(b for b, _ in living)))
        assert all(a + size <= b for (a, size), (b, _) in pairwise(spans))
        assert sum(size for _, size in spans) == fast.reserved_bytes
    for block, _ in living:
        fast.free(block)
    assert fast.allocated_bytes == 0
    assert sum(block.num_bytes for block in fast.free_blocks) == fast.reserved_bytes
    assert len(fast.free_blocks) == len(slow.segments)
    fast.give_back()
    assert (fast.reserved_bytes, fast.free_blocks) == (0, [])


def history(changes: list[tuple[int, int]], step_begin: int, first_products: tuple[int, ...] = ()) -> History:
    """A history of (storage, bytes)."""
    table = np.array(changes, dtype=np.int64)
    return History(
        storage_of=table[:, 0], delta_bytes=table[:, 1], step_begin=step_begin, first_products=first_products
    )


def test_the_step_is_what_counts_and_what_was_before_stays_reserved() -> None:
    """40 MiB were needed before the step; in it, 12 MiB are."""
    told = history([(0, 4 * MIB), (1, 36 * MIB), (1, -36 * MIB), (2, 8 * MIB), (2, -8 * MIB)], step_begin=3)
    assert replay(told) == Held(
        requested_bytes=12 * MIB,
        rounded_bytes=12 * MIB,
        allocated_bytes=12 * MIB,
        reserved_bytes=56 * MIB,
        workspace_bytes=0,
    )


def test_what_is_alive_when_the_step_begins_counts() -> None:
    """Also if the step allocates nothing that is larger."""
    told = history([(0, 3 * MIB), (0, -3 * MIB), (1, 100)], step_begin=1)
    assert replay(told).requested_bytes == 3 * MIB


def test_a_storage_that_is_resized_is_a_new_one() -> None:
    """The old one goes when the new one is there."""
    told = history([(0, 1000), (0, 600), (0, -1600)], step_begin=1)
    held = replay(told)
    assert (held.requested_bytes, held.rounded_bytes) == (2600, 1024 + 2048)


def test_workspaces_come_when_they_are_first_asked_for_and_stay() -> None:
    """One for each handle, in front of the change at which it is asked."""
    told = history([(0, 1000), (1, 1000), (1, -1000), (0, -1000)], step_begin=2, first_products=(1, 3))
    held = replay(told, workspace_bytes=8_519_680)
    assert held.workspace_bytes == 2 * 8_519_680
    assert held.requested_bytes == max(2000 + 8_519_680, 1000 + 2 * 8_519_680)
    assert held.reserved_bytes == 2 * MIB + 20 * MIB  # both fit into one segment
    assert replay(told).workspace_bytes == 0


def test_a_history_without_some_storages() -> None:
    """Everything that counts changes moves along."""
    told = history([(0, 1), (1, 2), (2, 4), (1, -2), (0, -1)], step_begin=3, first_products=(2, 4))
    left = told.without({1})
    assert left.storage_of.tolist() == [0, 2, 0]
    assert left.delta_bytes.tolist() == [1, 4, -1]
    assert (left.step_begin, left.first_products) == (2, (1, 2))


def test_a_capacity_that_does_not_suffice() -> None:
    """Is told by an error; one that suffices is not seen."""
    told = history([(0, 30 * MIB), (0, -30 * MIB), (1, 40 * MIB)], step_begin=0)
    assert replay(told).reserved_bytes == 70 * MIB
    assert replay(told, capacity_bytes=40 * MIB).reserved_bytes == 40 * MIB
    with pytest.raises(OutOfMemoryError):
        replay(told, capacity_bytes=39 * MIB)
