"""A training step of anyone's, with its phases announced, so that kinds of storages can be told apart."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from revbench.models import annotations
from revbench.models.annotations import Phase
from revbench.models.data import Batch

Step = Callable[[nn.Module, Batch, Optimizer], Any]
"""Runs one training step: clears the gradients, computes them, and updates the parameters."""


def announced(step: Step) -> Step:
    """The step; what runs neither in a backward pass nor in the optimizer is its forward pass."""

    def with_phases(model: nn.Module, batch: Batch, optimizer: Optimizer) -> Any:
        with ExitStack() as stack:
            phases = _Phases()
            stack.callback(phases.end)
            stack.enter_context(_backward_announced(phases))
            for register, name in (
                (optimizer.register_step_pre_hook, "optimizer"),
                (optimizer.register_step_post_hook, "forward"),
            ):
                stack.callback(register(phases.switching_to(name)).remove)  # type: ignore[arg-type]
            phases.switch("forward")
            return step(model, batch, optimizer)

    return with_phases


class _Phases:
    """One phase at a time."""

    def __init__(self) -> None:
        self._running = ExitStack()

    def switch(self, name: Phase) -> None:
        self._running.close()
        self._running.enter_context(annotations.phase(name))

    def switching_to(self, name: Phase) -> Callable[..., None]:
        return lambda *_: self.switch(name)

    def end(self) -> None:
        self._running.close()


@contextmanager
def _backward_announced(phases: _Phases) -> Iterator[None]:
    """`Tensor.backward` asks for `torch.autograd.backward`, which announces its phase inside this block."""
    original = torch.autograd.backward

    def backward(*args: Any, **kwargs: Any) -> None:
        phases.switch("backward")
        try:
            original(*args, **kwargs)
        finally:
            phases.switch("forward")

    torch.autograd.backward = backward
    try:
        yield
    finally:
        torch.autograd.backward = original
