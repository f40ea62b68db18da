"""The two sweeps of the multi-step neuron in C, for float32 and float64 on the CPU.

`multi_step.c` is compiled at first use, for the processor at hand, and kept in the user's cache. Where that cannot be,
the operators of torch take over (see `kernels`), and `status` says why.
"""

import ctypes
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.surrogates import ArcTan, Rectangle, Sigmoid, Triangle

SOURCE = Path(__file__).with_name("multi_step.c")
SWITCH = "REVBENCH_NEURON_KERNEL"
# No contraction, and not -ffast-math: the forward sweep has to round as the operators of torch do.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-trapping-math", "-fPIC", "-shared")
BITS = {torch.float32: 32, torch.float64: 64}
SURROGATES = (Sigmoid, ArcTan, Triangle, Rectangle)  # numbered as in multi_step.c
SHORTEST_ROW = 64
NUMBERS_PER_THREAD = 1 << 16
PROCESS = os.getpid()


class _CompilerError(Exception):
    """The compiler is missing or fails."""


class _Sweep(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("timesteps", "neurons", "inner", "stride_t", "stride_row")),
        *((name, ctypes.c_double) for name in ("leak", "input_scale", "bias", "threshold", "v_rest", "v_reset", "alpha")),
        *((name, ctypes.c_int32) for name in ("soft_reset", "detach_reset", "surrogate")),
        *((name, ctypes.c_void_p) for name in ("input", "potential", "output")),
        ("next", ctypes.c_int64),
    )


def status() -> str:
    """What runs float32 on the CPU, and why: `c: gcc 12.2.0`, or `torch: no C compiler found`."""
    return f"torch: {SWITCH} is torch" if _is_switched_off() else _load(BITS[torch.float32])[1]


def runs(dynamics: Dynamics, x: Tensor) -> bool:
    """Whether the sweeps over tensors like `x` run here."""
    known = x.device.type == "cpu" and x.dtype in BITS and type(dynamics.surrogate) in SURROGATES
    return known and not _is_switched_off() and _load(BITS[x.dtype])[0] is not None


def forward(dynamics: Dynamics, x: Tensor, keep_potential: bool) -> tuple[Tensor, Tensor]:
    """Spikes `[T, B, ...]` and, if kept, the potential before the reset `[T, B, ...]` (else an empty tensor)."""
    spikes, potential = _empty(x), _empty(x) if keep_potential else x.new_empty(0)
    _run("forward", dynamics, x, potential, spikes)
    return spikes, potential


def backward(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor) -> Tensor:
    """The gradient of the input, `[T, B, ...]`."""
    grad_x = _empty(potential)
    _run("backward", dynamics, grad_spikes, potential.contiguous(), grad_x)
    return grad_x


def _is_switched_off() -> bool:
    return os.environ.get(SWITCH) == "torch"


def _empty(x: Tensor) -> Tensor:
    made = x.new_empty(x.shape)
    _library(x.dtype).expect_huge_pages(made.data_ptr(), made.nbytes)
    return made


def _run(name: str, dynamics: Dynamics, source: Tensor, potential: Tensor, output: Tensor) -> None:
    if not source.numel():
        return
    source, inner = _in_rows(source)
    sweep = _Sweep(
        timesteps=source.shape[0],
        neurons=source[0].numel(),
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
        potential=potential.data_ptr() or None,
        output=output.data_ptr(),
    )
    kernel = getattr(_library(source.dtype), name)
    threads = min(torch.get_num_threads(), source.numel() // NUMBERS_PER_THREAD)
    openmp = _openmp(os.getpid())
    if threads > 1 and openmp:
        openmp(ctypes.cast(kernel, ctypes.c_void_p), ctypes.byref(sweep), threads, 0)
    else:
        kernel(ctypes.byref(sweep))


def _in_rows(x: Tensor) -> tuple[Tensor, int]:
    """`x`, copied if need be, and the length of the rows in which its neurons lie."""
    if x[:1].is_contiguous():
        return x, x[0].numel()
    inner = x[0, 0].numel()
    if inner >= SHORTEST_ROW and x[:1, :1].is_contiguous():
        return x, inner
    return x.contiguous(), x[0].numel()


@functools.cache
def _openmp(process: int) -> Any:
    """How torch's own OpenMP runtime calls a function in several threads; None where that cannot be.

    A pool of our own would share the cores with torch's threads, which wait actively between its operators.
    """
    if process != PROCESS:
        return None
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    return parallel


def _library(dtype: torch.dtype) -> ctypes.CDLL:
    library = _load(BITS[dtype])[0]
    assert library is not None
    return library


@functools.cache
def _load(bits: int) -> tuple[ctypes.CDLL | None, str]:
    try:
        compiler = _compiler()
        macros = _output([*compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull])
        library = _open([*compiler, *FLAGS, f"-DBITS={bits}"], macros)
    except (_CompilerError, OSError) as error:
        return None, f"torch: {error}"
    library.expect_huge_pages.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    for kernel in (library.forward, library.backward):
        kernel.argtypes = (ctypes.POINTER(_Sweep),)
        kernel.restype = None
    version = re.search(r'__VERSION__ ".*?(\d+(\.\d+)+)', macros)
    name = "clang" if "__clang__" in macros else "gcc"
    return library, f"c: {name} {version[1] if version else 'of unknown version'}"


def _open(command: list[str], macros: str) -> ctypes.CDLL:
    """The shared object that `command` makes; `macros` tell the compiler's version and the processor's instructions."""
    recipe = "\0".join([SOURCE.read_text(), *command, macros])
    name = f"multi_step-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.so"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "revbench"
        return ctypes.CDLL(str(_built(cache / name, command)))
    except (OSError, RuntimeError):  # no home, a read-only one, or one from which nothing may be executed
        with tempfile.TemporaryDirectory(prefix="revbench-") as folder:
            return ctypes.CDLL(str(_built(Path(folder) / name, command)))


def _built(file: Path, command: list[str]) -> Path:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:  # so that racing processes see whole files
            made = Path(scratch) / file.name
            _output([*command, "-o", str(made), str(SOURCE)])
            made.replace(file)
    return file


def _compiler() -> list[str]:
    for candidate in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(candidate)
        if words and shutil.which(words[0]):
            return words
    raise _CompilerError("no C compiler found")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise _CompilerError(f"{command[0]} failed: {done.stderr.strip().splitlines()[:1]}")
    return done.stdout
