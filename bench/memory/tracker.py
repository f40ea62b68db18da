"""The tracker of live bytes: a dispatch mode that follows storages from birth to death.

It sees every operator's results, on real CPU and CUDA tensors and on fake ones, counts each storage once however many
views it has, and learns of its death by a weak reference. What it cannot see: scratch memory that an operator takes
and returns inside its kernel.

Kinds are found as follows, the first that applies:
declared before the step (parameters, buffers, optimizer state, inputs); became a parameter's `.grad`; became
optimizer state; declared by the code that made it (`annotations.kind`: neuron state, recomputation); made in a
forward phase and alive at its end (`saved`); else `temporaries`. Where the storages belong is found by an `Attributor`,
if there is one; it changes nothing of what is counted.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from revbench.bench.memory.attribute import Attributor
from revbench.bench.memory.timeline import KINDS, Mark, StorageKind, Timeline
from revbench.models import annotations


class Tracker(TorchDispatchMode):
    """Records the live bytes of what runs inside `with tracker:`.

    Args:
        model: its parameters and buffers are declared, and their gradients recognised.
        optimizer: its state is declared.
        inputs: tensors that the step is fed.
        attributor: is told of every birth, and of whom a storage belongs to.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        inputs: Iterable[Tensor],
        attributor: Attributor | None = None,
    ) -> None:
        super().__init__()
        self._model = model
        self._optimizer = optimizer
        self._inputs = list(inputs)
        self._attributor = attributor
        self._index: dict[int, int] = {}
        self._references: dict[int, weakref.ref[Any]] = {}
        self._bytes: list[int] = []
        self._kinds: list[StorageKind | None] = []
        self._born_in_forward: set[int] = set()
        self._changes: list[tuple[int, int]] = []
        self._marks: list[Mark] = []
        self._in_forward = False
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """Declares what exists and begins to record."""
        for parameter in self._model.parameters():
            self.declare(parameter, "parameters", owner=parameter)
            if parameter.grad is not None:
                self.declare(parameter.grad, "gradients", owner=parameter)
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._gradient_accumulated)
                self._exits.callback(hook.remove)
        for buffer in self._model.buffers():
            self.declare(buffer, "buffers", owner=buffer)
        self._declare_optimizer_state()
        for tensor in self._inputs:
            self.declare(tensor, "inputs")
        self._exits.enter_context(annotations.listening(self._phase_changed))
        self._exits.enter_context(_observed_resizes(self._resized))
        if self._attributor:
            self._exits.enter_context(self._attributor.following())
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Ends recording: deaths after this are not noted."""
        super().__exit__(*exception)
        self._exits.close()
        self._declare_optimizer_state()
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

    def declare(self, tensor: Tensor, kind: StorageKind, owner: Tensor | None = None) -> None:
        """Sets the kind of a tensor's storage, from birth to death, and the parameter or buffer it belongs to."""
        self._note(tensor)
        index = self._index[tensor.untyped_storage()._cdata]
        self._kinds[index] = kind
        if self._attributor and owner is not None:
            self._attributor.belongs(index, owner)

    def timeline(self) -> Timeline:
        """What was recorded so far."""
        changes = np.array(self._changes, dtype=np.int64).reshape(-1, 2)
        return Timeline(
            storage_of=changes[:, 0],
            delta_bytes=changes[:, 1],
            kind_of=np.array([KINDS.index(kind or "temporaries") for kind in self._kinds], dtype=np.int64),
            phase_ends=tuple(self._marks),
        )

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
        self._kinds.append(annotations.current_kind())
        if self._attributor:
            self._attributor.born()
        if self._in_forward:
            self._born_in_forward.add(index)
        self._changes.append((index, num_bytes))

        def died(_: Any) -> None:
            del self._index[key]
            self._references.pop(index, None)
            self._born_in_forward.discard(index)
            self._changes.append((index, -self._bytes[index]))

        self._references[index] = weakref.ref(storage, died)

    def _change_size(self, index: int, num_bytes: int) -> None:
        if num_bytes != self._bytes[index]:
            self._changes.append((index, num_bytes - self._bytes[index]))
            self._bytes[index] = num_bytes

    def _resized(self, storage: torch.UntypedStorage) -> None:
        known = self._index.get(storage._cdata)
        if known is not None:
            self._change_size(known, storage.nbytes())

    def _gradient_accumulated(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.declare(parameter.grad, "gradients", owner=parameter)

    def _declare_optimizer_state(self) -> None:
        for parameter, state in self._optimizer.state.items():
            for value in state.values():
                if isinstance(value, Tensor):
                    self.declare(value, "optimizer_state", owner=parameter)

    def _phase_changed(self, phase: annotations.Phase, begins: bool) -> None:
        if phase == "forward":
            self._in_forward = begins
            if not begins:
                for index in self._born_in_forward:
                    self._kinds[index] = self._kinds[index] or "saved"
                self._born_in_forward.clear()
        if not begins:
            self._marks.append(Mark(phase=phase, num_changes=len(self._changes)))


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
