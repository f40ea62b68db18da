"""A method of one module that is replaced for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def replaced(module: nn.Module, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Calls of the module's method of that name run `method` inside this block."""
    setattr(module, name, method)
    try:
        yield
    finally:
        delattr(module, name)
