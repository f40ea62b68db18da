"""A world of fake tensors whose sizes are those of real ones.

Torch's fake operators are right about shapes, and wrong about one result type on the way of our networks; the
correction is here, with the test that would fail without it. The short cuts change no answer.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from revbench.bench.memory.answers import Answers
from revbench.models.neurons.fused import FAKE_OPERATORS


@contextmanager
def fake_world() -> Iterator[None]:
    """Tensors made inside this block have shapes and types but no data; any size costs nothing."""
    log = logging.getLogger(fake_tensor.__name__)
    before = log.disabled
    log.disabled = True  # torch logs the traceback of what it raises as well
    try:
        with _FakeWorld():
            yield
    finally:
        log.disabled = before


class _FakeWorld(FakeTensorMode):
    def __init__(self) -> None:
        super().__init__()
        self._answers = Answers(self)

    def dispatch(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The results of an operator; what it raises has it as the attribute `operator`."""
        if func is torch.ops.prim.device.default:
            return args[0].fake_device  # more than half of all calls: torch asks a fake tensor where it is
        try:
            return self._results(func, types, args, kwargs or {})
        except Exception as error:
            error.operator = func  # type: ignore[attr-defined] # the outermost one, which the model called
            raise

    def _results(self, func: Any, types: Sequence[type], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func in FAKE_OPERATORS:
            with self:
                return FAKE_OPERATORS[func](*args, **kwargs)
        result = self._answers.ask(func, args, kwargs, partial(super().dispatch, func, types, args, kwargs))
        if func is torch.ops.aten.native_batch_norm.default and args[1] is not None:
            return self._with_precise_statistics(result, args[1].dtype)
        return result

    def _with_precise_statistics(self, result: Any, dtype: torch.dtype) -> Any:
        """Batch norm over half-precision input keeps its statistics in the precision of its weights.

        Both the CPU and CUDA do so under autocast; torch's fake operator gives them the type of the input.
        """
        output, mean, inverse_deviation = result
        if mean.dtype == dtype:
            return result
        with self:
            return output, mean.to(dtype), inverse_deviation.to(dtype)
