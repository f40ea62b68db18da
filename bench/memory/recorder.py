"""The births and deaths of tensor storages, as a dispatch mode sees them.

It sees every operator's results, on real CPU and CUDA tensors and on fake ones, counts each storage once however many
views it has, and learns of its death by a weak reference. What it cannot see: scratch memory that an operator takes
and returns inside its kernel.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """Records the storages that are made, resized and freed inside `with recorder:`."""

    def __init__(self) -> None:
        super().__init__()
        self._index: dict[int, int] = {}
        self._references: dict[int, weakref.ref[Any]] = {}
        self._bytes: list[int] = []
        self._changes: list[tuple[int, int]] = []
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """Begins to record."""
        self._exits.enter_context(_observed_resizes(self._resized))
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Ends recording: deaths after this are not noted."""
        super().__exit__(*exception)
        self._exits.close()
        self._references.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator and notes the storages of its results."""
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # more than half of all calls: torch asks a fake tensor where it is
        result = func(*args, **(kwargs or {}))
        self._note(result)
        return result

    @property
    def num_changes(self) -> int:
        """How many births, deaths and resizes were recorded so far."""
        return len(self._changes)

    def changes(self) -> NDArray[np.int64]:
        """`[num_changes, 2]`: the storage that each change is about, and the bytes that it adds."""
        return np.array(self._changes, dtype=np.int64).reshape(-1, 2)

    def declared(self, tensor: Tensor) -> int:
        """The number of a living tensor's storage, which is noted now if it was not before."""
        self._note(tensor)
        return self._index[tensor.untyped_storage()._cdata]

    def note_scratch(self, num_bytes: Iterable[int]) -> None:
        """Notes storages that were not seen: a positive number is a birth, a negative one the last such one's death."""
        living: dict[int, list[int]] = {}
        for number in num_bytes:
            if number > 0:
                index = len(self._bytes)
                self._bytes.append(number)
                self._born(index)
                living.setdefault(number, []).append(index)
            else:
                index = living[-number].pop()
                self._died(index)
            self._changes.append((index, number))

    def _note(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if value.layout is torch.strided:
                self._note_storage(value.untyped_storage())
        elif isinstance(value, (tuple, list)):
            for element in value:
                self._note(element)

    def _note_storage(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = storage._cdata, storage.nbytes()
        known = self._index.get(key)
        if known is not None:
            self._change_size(known, num_bytes)
            return
        index = len(self._bytes)
        self._index[key] = index
        self._bytes.append(num_bytes)
        self._born(index)
        self._changes.append((index, num_bytes))

        def died(_: Any) -> None:
            del self._index[key]
            self._references.pop(index, None)
            self._died(index)
            self._changes.append((index, -self._bytes[index]))

        self._references[index] = weakref.ref(storage, died)

    def _born(self, index: int) -> None:
        """Called before the birth of a storage is noted."""

    def _died(self, index: int) -> None:
        """Called before the death of a storage is noted."""

    def _change_size(self, index: int, num_bytes: int) -> None:
        if num_bytes != self._bytes[index]:
            self._changes.append((index, num_bytes - self._bytes[index]))
            self._bytes[index] = num_bytes

    def _resized(self, storage: torch.UntypedStorage) -> None:
        known = self._index.get(storage._cdata)
        if known is not None:
            self._change_size(known, storage.nbytes())


@contextmanager
def _observed_resizes(resized: Callable[[torch.UntypedStorage], None]) -> Iterator[None]:
    """Calls `resized` after every `storage.resize_()`, which is no operator and so passes by a dispatch mode."""
    original = torch.UntypedStorage.resize_

    def resize_(self: torch.UntypedStorage, *args: Any) -> Any:
        result = original(self, *args)
        resized(self)
        return result

    torch.UntypedStorage.resize_ = resize_  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = original  # type: ignore[method-assign]
