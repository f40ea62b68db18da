"""How a training step tells an observer what it is doing, without knowing who observes.

A rule announces phases (`forward`, `backward`, `optimizer`); the neurons and the reversible engine say what kind of
tensors they are making, whoever runs some timesteps alone says which, and whoever computes for a layer outside of its
calls names the layer. All are plain module state, since autograd runs backward passes in threads of its own, and one
process measures one training step at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn

Phase = Literal["forward", "backward", "optimizer"]
Kind = Literal["neuron_state", "recomputation"]
PhaseListener = Callable[[Phase, bool], None]
LayerListener = Callable[[nn.Module, bool], None]

_listeners: list[PhaseListener] = []
_layer_listeners: list[LayerListener] = []
_kinds: list[Kind] = []
_timesteps: list[range] = []


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


@contextmanager
def timesteps(part: range) -> Iterator[None]:
    """Declares that what is computed inside this block belongs to these timesteps, counted from 0."""
    _timesteps.append(part)
    try:
        yield
    finally:
        _timesteps.pop()


def current_timesteps() -> range | None:
    """The timesteps declared by the innermost block; None where none are, as for all at once."""
    return _timesteps[-1] if _timesteps else None


@contextmanager
def layer(module: nn.Module) -> Iterator[None]:
    """Declares that what is computed inside this block belongs to this layer, which is not called."""
    for listener in _layer_listeners:
        listener(module, True)
    try:
        yield
    finally:
        for listener in _layer_listeners:
            listener(module, False)


@contextmanager
def listening_to_layers(listener: LayerListener) -> Iterator[None]:
    """Has `listener` called with (module, begins) where a layer is declared inside this block."""
    _layer_listeners.append(listener)
    try:
        yield
    finally:
        _layer_listeners.remove(listener)
