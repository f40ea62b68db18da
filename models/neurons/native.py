"""The two sweeps of the multi-step neuron in C, for float32 and float64 on the CPU.

`multi_step.c` is compiled at first use (see `compiled`). Where that cannot be, the operators of torch take over (see
`kernels`), and `status` says why.
"""

import ctypes
import functools
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revbench.models.neurons import compiled
from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.surrogates import ArcTan, Rectangle, Sigmoid, Triangle

SOURCE = Path(__file__).with_name("multi_step.c")
SWITCH = "REVBENCH_NEURON_KERNEL"
BITS = {torch.float32: 32, torch.float64: 64}
SURROGATES = (Sigmoid, ArcTan, Triangle, Rectangle)  # numbered as in multi_step.c
SHORTEST_ROW = 64
NUMBERS_PER_THREAD = 1 << 15


class _Sweep(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("timesteps", "neurons", "inner", "stride_t", "stride_row")),
        *(
            (name, ctypes.c_double)
            for name in ("leak", "input_scale", "bias", "threshold", "v_rest", "v_reset", "alpha")
        ),
        *((name, ctypes.c_int32) for name in ("soft_reset", "detach_reset", "surrogate")),
        *((name, ctypes.c_void_p) for name in ("input", "before", "potential", "output")),
        ("next", ctypes.c_int64),
    )


def status() -> str:
    """What runs float32 on the CPU, and why: `c: gcc 12.2.0`, or `torch: no C compiler found`."""
    return f"torch: {SWITCH} is torch" if os.environ.get(SWITCH) == "torch" else _load(32)[1]


def runs(dynamics: Dynamics, x: Tensor) -> bool:
    """Whether the sweeps over tensors like `x` run here."""
    if x.device.type != "cpu" or x.dtype not in BITS or type(dynamics.surrogate) not in SURROGATES:
        return False
    return os.environ.get(SWITCH) != "torch" and _load(BITS[x.dtype])[0] is not None


def forward(dynamics: Dynamics, x: Tensor, keep_potential: bool, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Spikes `[T, B, ...]` and, if kept, the potential before the reset `[T, B, ...]` (else an empty tensor)."""
    spikes, potential = _empty(x), _empty(x) if keep_potential else x.new_empty(0)
    _run("forward", dynamics, x, potential, spikes, None if before is None else before.contiguous())
    return spikes, potential


def backward(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor) -> Tensor:
    """The gradient of the input, `[T, B, ...]`."""
    grad_x = _empty(potential)
    _run("backward", dynamics, grad_spikes, potential.contiguous(), grad_x)
    return grad_x


def _empty(x: Tensor) -> Tensor:
    made = x.new_empty(x.shape)
    _library(x.dtype).expect_huge_pages(made.data_ptr(), made.nbytes)
    return made


def _run(
    name: str, dynamics: Dynamics, source: Tensor, potential: Tensor, output: Tensor, before: Tensor | None = None
) -> None:
    if not source.numel():
        return
    source, inner = _in_rows(source)
    sweep = _Sweep(
        timesteps=source.shape[0],
        neurons=math.prod(source.shape[1:]),
        inner=inner,
        stride_t=source.stride(0),
        stride_row=source.stride(1),
        leak=dynamics.leak,
        input_scale=dynamics.input_scale,
        bias=dynamics.bias,
        threshold=dynamics.threshold,
        v_rest=dynamics.v_rest,
        v_reset=dynamics.v_reset or 0.0,
        alpha=dynamics.surrogate.alpha,
        soft_reset=dynamics.v_reset is None,
        detach_reset=dynamics.detach_reset,
        surrogate=SURROGATES.index(type(dynamics.surrogate)),
        input=source.data_ptr(),
        before=None if before is None else before.data_ptr(),
        potential=potential.data_ptr(),
        output=output.data_ptr(),
    )
    kernel = getattr(_library(source.dtype), name)
    threads = min(torch.get_num_threads(), source.numel() // NUMBERS_PER_THREAD)
    if threads > 1 and (in_threads := _in_threads(os.getpid())):
        in_threads(kernel, ctypes.byref(sweep), threads, 0)
    else:
        kernel(ctypes.byref(sweep))


def _in_rows(x: Tensor) -> tuple[Tensor, int]:
    """`x`, copied if need be, and the length of the rows in which the neurons of a timestep lie."""
    inner = math.prod(x.shape[2:])
    if not x.is_contiguous() and not x[:1].is_contiguous():
        if inner >= SHORTEST_ROW and x[:1, :1].is_contiguous():
            return x, inner
        x = x.contiguous()
    return x, x.shape[1] * inner


@functools.cache
def _in_threads(process: int) -> Any:
    """Calls a function in several threads of torch's own OpenMP runtime; None where it is out of reach.

    Other threads would have to share the cores with torch's, which wait actively between operators. Those do not
    survive a fork, but the runtime does not notice: a forked process gets None.
    """
    if process != _first_process() or os.name != "posix":
        return None
    in_threads = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    if in_threads:
        in_threads.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Sweep), ctypes.c_uint, ctypes.c_uint)
        in_threads.restype = None
    return in_threads


@functools.cache
def _first_process() -> int:
    """The process that ran a sweep first: one forked from it afterwards inherits the answer, not the threads."""
    return os.getpid()


def _library(dtype: torch.dtype) -> Any:
    return _load(BITS[dtype])[0]


@functools.cache
def _load(bits: int) -> tuple[ctypes.CDLL | None, str]:
    try:
        library, compiler = compiled.load(SOURCE, f"-DBITS={bits}")
    except (compiled.CompilerError, OSError, ValueError) as error:
        return None, f"torch: {error}"
    library.expect_huge_pages.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    return library, f"c: {compiler}"
