"""How a training step tells an observer what it is doing, without knowing who observes.

A rule announces phases (`forward`, `backward`, `optimizer`); the neurons and the reversible engine say what kind of
tensors they are making. Both are plain module state, since autograd runs backward passes in threads of its own, and
one process measures one training step at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Phase = Literal["forward", "backward", "optimizer"]
Kind = Literal["neuron_state", "recomputation"]
PhaseListener = Callable[[Phase, bool], None]

_listeners: list[PhaseListener] = []
_kinds: list[Kind] = []


@contextmanager
def phase(name: Phase) -> Iterator[None]:
    """The part of a training step that runs inside this block; listeners are called with (name, begins)."""
    for listener in _listeners:
        listener(name, True)
    try:
        yield
    finally:
        for listener in _listeners:
            listener(name, False)


@contextmanager
def listening(listener: PhaseListener) -> Iterator[None]:
    """Has `listener` called at the beginning and the end of every phase inside this block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def kind(name: Kind) -> Iterator[None]:
    """Declares that tensors made inside this block are of this kind; the innermost declaration counts."""
    _kinds.append(name)
    try:
        yield
    finally:
        _kinds.pop()


def current_kind() -> Kind | None:
    """The kind declared by the innermost block, if any."""
    return _kinds[-1] if _kinds else None
