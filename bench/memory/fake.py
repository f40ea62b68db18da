"""A world of fake tensors whose sizes are those of real ones.

Torch's fake operators are right about shapes, and wrong about one result type on the way of our networks; the
correction is here, each with the test that would fail without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


@contextmanager
def fake_world() -> Iterator[None]:
    """Tensors made inside this block have shapes and types but no data; any size costs nothing."""
    with FakeTensorMode(), _CorrectedTypes():
        yield


class _CorrectedTypes(TorchDispatchMode):
    """Batch norm over half-precision input keeps its statistics in the precision of its weights.

    Both the CPU and CUDA do so under autocast; the fake operator gives them the type of the input.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.native_batch_norm.default and args[1] is not None:
            output, mean, inverse_deviation = result
            return output, mean.to(args[1].dtype), inverse_deviation.to(args[1].dtype)
        return result
