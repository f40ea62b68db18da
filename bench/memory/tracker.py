"""The tracker of live bytes: a recorder of storages that knows of what kind each is.

Kinds are found as follows, the first that applies:
declared before the step (parameters, buffers, optimizer state, inputs); became a parameter's `.grad`; became
optimizer state; declared by the code that made it (`annotations.kind`: neuron state, recomputation); made in a
forward phase and alive at its end (`saved`); else `temporaries`. Where the storages belong is found by an `Attributor`,
if there is one; it changes nothing of what is counted.
"""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from revbench.bench.memory.attribute import Attributor
from revbench.bench.memory.recorder import Recorder
from revbench.bench.memory.timeline import KINDS, Mark, StorageKind, Timeline
from revbench.models import annotations


class Tracker(Recorder):
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
        self._kinds: list[StorageKind | None] = []
        self._born_in_forward: set[int] = set()
        self._marks: list[Mark] = []
        self._in_forward = False

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
        if self._attributor:
            self._exits.enter_context(self._attributor.following())
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        """Ends recording: deaths after this are not noted."""
        super().__exit__(*exception)
        self._declare_optimizer_state()
        self._references.clear()

    def declare(self, tensor: Tensor, kind: StorageKind, owner: Tensor | None = None) -> None:
        """Sets the kind of a tensor's storage, from birth to death, and the parameter or buffer it belongs to."""
        index = self.declared(tensor)
        self._kinds[index] = kind
        if self._attributor and owner is not None:
            self._attributor.belongs(index, owner)

    def timeline(self) -> Timeline:
        """What was recorded so far."""
        changes = self.changes()
        return Timeline(
            storage_of=changes[:, 0],
            delta_bytes=changes[:, 1],
            kind_of=np.array([KINDS.index(kind or "temporaries") for kind in self._kinds], dtype=np.int64),
            phase_ends=tuple(self._marks),
        )

    def _born(self, index: int) -> None:
        self._kinds.append(annotations.current_kind())
        if self._attributor:
            self._attributor.born()
        if self._in_forward:
            self._born_in_forward.add(index)

    def _died(self, index: int) -> None:
        self._born_in_forward.discard(index)

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
