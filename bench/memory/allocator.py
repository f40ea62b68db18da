"""A simulation of PyTorch's caching allocator of CUDA, with its default settings and one stream.

It hands out blocks of 512 bytes and multiples of it, from segments that it asks the driver for: blocks of up to 1 MiB
from segments of 2 MiB, blocks below 10 MiB from segments of 20 MiB, larger ones from segments of their own, rounded up
to 2 MiB. The smallest free block that is large enough is taken; what is left of it is split off where it is 512 bytes
or more in the first case, more than 1 MiB in the others. A block that becomes free is merged with its free neighbours.
Free segments stay reserved until the memory does not suffice.

Source: PyTorch, `c10/cuda/CUDACachingAllocator.cpp`. Which of several free blocks of the same size is taken depends on
the driver's addresses; here each segment lies above those before it.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
BLOCK_BYTES = 512
LARGEST_SMALL_BYTES = MEBIBYTE
SMALL_SEGMENT_BYTES = 2 * MEBIBYTE
LARGE_SEGMENT_BYTES = 20 * MEBIBYTE
LEAST_OWN_SEGMENT_BYTES = 10 * MEBIBYTE
SEGMENT_ROUNDING_BYTES = 2 * MEBIBYTE


class OutOfMemoryError(Exception):
    """The memory does not suffice, all that is free given back."""


def rounded_up(num_bytes: int, multiple: int) -> int:
    """The next multiple."""
    return -(-num_bytes // multiple) * multiple


def block_bytes(num_bytes: int) -> int:
    """What is taken of a block for this many bytes; nothing for none."""
    return rounded_up(num_bytes, BLOCK_BYTES)


def segment_bytes(num_bytes: int) -> int:
    """What the driver is asked for where no free block is large enough for a block of this size."""
    if num_bytes <= LARGEST_SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if num_bytes < LEAST_OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return rounded_up(num_bytes, SEGMENT_ROUNDING_BYTES)


@dataclass(slots=True, eq=False)
class Block:
    """A stretch of a segment; its neighbours are those of the same segment."""

    address: int
    num_bytes: int
    is_small: bool
    is_free: bool = True
    before: "Block | None" = None
    after: "Block | None" = None


@dataclass(slots=True)
class CachingAllocator:
    """The allocator.

    Attributes:
        capacity_bytes: what the driver can give; None for any amount.
        allocated_bytes: in blocks that are in use.
        reserved_bytes: in segments.
    """

    capacity_bytes: int | None = None
    allocated_bytes: int = 0
    reserved_bytes: int = 0
    _next_address: int = 0
    # For small and for large blocks the free ones as (bytes, address), and their blocks by address.
    _free: dict[bool, list[tuple[int, int]]] = field(default_factory=lambda: {True: [], False: []})
    _by_free_address: dict[int, Block] = field(default_factory=dict)

    def allocate(self, num_bytes: int) -> Block:
        """A block for this many bytes, more than none.

        Raises:
            OutOfMemoryError: there is no room for it.
        """
        size = block_bytes(num_bytes)
        is_small = size <= LARGEST_SMALL_BYTES
        block = self._best_fit(size, is_small) or self._new_segment(size, is_small)
        rest = block.num_bytes - size
        if rest >= BLOCK_BYTES if is_small else rest > LARGEST_SMALL_BYTES:
            self._split(block, size)
        block.is_free = False
        self.allocated_bytes += block.num_bytes
        return block

    def free(self, block: Block) -> None:
        """Takes a block back."""
        self.allocated_bytes -= block.num_bytes
        block.is_free = True
        before, after = block.before, block.after
        if before and before.is_free:
            self._remove_free(before)
            block = self._merge(before, block)
        if after and after.is_free:
            self._remove_free(after)
            block = self._merge(block, after)
        self._add_free(block)

    def give_back(self) -> None:
        """Gives the segments of which nothing is in use back to the driver, as PyTorch does before it gives up."""
        for blocks in self._free.values():
            for _, address in list(blocks):
                block = self._by_free_address[address]
                if block.before is None and block.after is None:
                    self._remove_free(block)
                    self.reserved_bytes -= block.num_bytes

    @property
    def free_blocks(self) -> list[Block]:
        """The blocks that are free, by address."""
        return [self._by_free_address[address] for address in sorted(self._by_free_address)]

    def _best_fit(self, size: int, is_small: bool) -> Block | None:
        free = self._free[is_small]
        place = bisect_left(free, (size, -1))
        if place == len(free):
            return None
        _, address = free.pop(place)
        return self._by_free_address.pop(address)

    def _new_segment(self, size: int, is_small: bool) -> Block:
        wanted = segment_bytes(size)
        if self.capacity_bytes is not None and self.reserved_bytes + wanted > self.capacity_bytes:
            self.give_back()
            if self.reserved_bytes + wanted > self.capacity_bytes:
                raise OutOfMemoryError(
                    f"{wanted} bytes more do not fit: {self.reserved_bytes} of {self.capacity_bytes} are reserved"
                )
        self.reserved_bytes += wanted
        block = Block(self._next_address, wanted, is_small)
        self._next_address += wanted
        return block

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.address + size, block.num_bytes - size, block.is_small, before=block, after=block.after)
        if block.after:
            block.after.before = rest
        block.after = rest
        block.num_bytes = size
        self._add_free(rest)

    @staticmethod
    def _merge(first: Block, second: Block) -> Block:
        first.num_bytes += second.num_bytes
        first.after = second.after
        if second.after:
            second.after.before = first
        return first

    def _add_free(self, block: Block) -> None:
        insort(self._free[block.is_small], (block.num_bytes, block.address))
        self._by_free_address[block.address] = block

    def _remove_free(self, block: Block) -> None:
        free = self._free[block.is_small]
        del free[bisect_left(free, (block.num_bytes, block.address))]
        del self._by_free_address[block.address]
