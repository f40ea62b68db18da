"""A training step of fake CPU tensors that makes the tensors which CUDA would make.

What is different on CUDA is here, one piece each; `DIFFERENCES` says what each is. Each can be undone, which tells its
bytes. What libraries take for themselves is not here: see `workspaces`.
"""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch._dynamo.eval_frame
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from revbench.bench.memory.recorder import Recorder
from revbench.models.neurons.fused import FUNCTIONS

Difference = Literal["neurons", "sums", "optimizer", "counters"]
DIFFERENCES: dict[Difference, str] = {
    "neurons": "neurons run by operators of torch, which make temporaries",
    "sums": "gradients that meet are added in place, as without a tracker",
    "optimizer": "the optimizer takes all parameters in one call (foreach)",
    "counters": "the step counters of AdamW stay on the CPU",
}
assert tuple(DIFFERENCES) == get_args(Difference)

aten = torch.ops.aten
PRODUCTS = frozenset(
    getattr(aten, name).default for name in ("mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot")
)
"""The operators that ask cuBLAS."""


class AsCuda(TorchDispatchMode):
    """Makes operators do what they do on CUDA; entered after the recorders.

    Args:
        recorders: that watch the step; the changes of the first say when cuBLAS is first asked.
        undone: differences that are left out.

    Attributes:
        first_products: for the forward and the backward pass (the key tells whether it is the latter), the number of
            changes before the first product.
    """

    def __init__(self, recorders: Sequence[Recorder], undone: frozenset[Difference] = frozenset()) -> None:
        super().__init__()
        self.recorders = list(recorders)
        self._undone = undone
        _holders_of_a_gradient()  # the experiment cannot be made within an operator
        self.first_products: dict[bool, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The results of the operator."""
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            return args[0].fake_device
        if func is aten.add.Tensor and "sums" not in self._undone and not kwargs and _is_sum_of_gradients(args[0]):
            args[0].add_(args[1])
            return args[0]
        if func in PRODUCTS:
            self.first_products.setdefault(_in_backward(), self.recorders[0].num_changes)
        results = func(*args, **(kwargs or {}))
        if func in FUNCTIONS and "neurons" not in self._undone:
            scratch = scratch_of_neurons(func, args)
            for recorder in self.recorders:
                recorder.note_scratch(scratch)
        return results


def scratch_of_neurons(func: Any, args: Sequence[Any]) -> list[int]:
    """What the operators of a neuron's sweep make and free again, its results made: bytes, negative where freed.

    They work element by element, so that all their bytes are in proportion to the number of neurons.
    """
    sequence = next(argument for argument in args if isinstance(argument, Tensor))
    num_neurons = sequence[0].numel() if len(sequence) else 0
    of_one = tuple(_of_one_neuron(a, sequence.ndim) if isinstance(a, Tensor) else a for a in args)
    return [num_bytes * num_neurons for num_bytes in _scratch_of_one_neuron(func, of_one)] if num_neurons else []


class _Bare(NamedTuple):
    """A tensor `[T]` of one neuron, or of one timestep alone."""

    timesteps: int | None
    dtype: torch.dtype

    def tensor(self) -> Tensor:
        """Without data it is on no CPU, so that it is swept as on CUDA."""
        return torch.empty((1,) if self.timesteps is None else (self.timesteps, 1), dtype=self.dtype, device="meta")


def _of_one_neuron(tensor: Tensor, num_axes: int) -> _Bare:
    return _Bare(len(tensor) if tensor.ndim == num_axes else None, tensor.dtype)


@cache
def _scratch_of_one_neuron(func: Any, args: tuple[Any, ...]) -> list[int]:
    with _disable_current_modes():
        bare = [argument.tensor() if isinstance(argument, _Bare) else argument for argument in args]
        with _OfMeta() as recorder:
            results = FUNCTIONS[func](*bare)
            lasting = [*_tensors(results), *(argument for argument in bare if isinstance(argument, Tensor))]
            kept = {recorder.declared(tensor) for tensor in lasting}
            return [delta for index, delta in recorder.changes().tolist() if index not in kept]


class _OfMeta(Recorder):
    """Constants are made on the CPU, also on CUDA."""

    def _note(self, value: Any) -> None:
        if not isinstance(value, Tensor) or value.device.type == "meta":
            super()._note(value)


def _tensors(results: Any) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)


def _is_sum_of_gradients(first: Tensor) -> bool:
    """Whether autograd's engine adds to a gradient that it alone holds, as it would in place without a mode.

    Seen from here, the engine is what no code of Python lies between. Formulas of gradients in C++ look the same, but
    seldom add tensors.
    """
    if not _in_backward() or torch.is_grad_enabled() or not _asked_by_the_engine():
        return False
    return _holders(first) == _holders_of_a_gradient() and _is_dense(first)


def _is_dense(tensor: Tensor) -> bool:
    """Whether its elements lie side by side, in whatever order, each once."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return last + 1 == tensor.numel()


def _asked_by_the_engine() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_filename in _PLUMBING or frame.f_code.co_name == "__torch_dispatch__"
    ):
        frame = frame.f_back
    return frame.f_code is torch.autograd.graph._engine_run_backward.__code__


_PLUMBING = frozenset(module.__file__ for module in (torch._compile, torch._ops, torch._dynamo.eval_frame))
"""The code of torch between an operator and a mode."""


def _holders(tensor: Tensor) -> tuple[int, int]:
    """How often the tensor and its storage are held."""
    return tensor._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


@cache
def _holders_of_a_gradient() -> tuple[int, int]:
    """How often that is, seen from an operator, if the engine alone holds it: an experiment tells."""
    seen: list[tuple[int, int]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is aten.add.Tensor and _in_backward():
                seen.append(_holders(args[0]))
            return func(*args, **(kwargs or {}))

    with _disable_current_modes(), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        x = torch.ones(2, requires_grad=True) * 1
        with Watch():
            torch.autograd.grad([x * 2, x * 3], [x], [torch.ones(2), torch.ones(2)])
    assert len(seen) == 1, f"autograd's engine added {len(seen)} times, not once"
    return seen[0]
