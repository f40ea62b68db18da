"""The two sweeps of the multi-step neuron in C, for float32 and float64 on the CPU.

`multi_step.c` is compiled at first use for the processor at hand and kept in the user's cache; nothing is compiled when
revbench is installed. Where that is impossible the operators of torch take over (see `kernels`), and `status` says why.
"""

import ctypes
import functools
import hashlib
import math
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.surrogates import SURROGATES

SOURCE = Path(__file__).with_name("multi_step.c")
SWITCH = "REVBENCH_NEURON_KERNEL"
# Without fused multiply-add, and without -ffast-math, the forward sweep rounds exactly as the operators of torch do.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")
BITS = {torch.float32: 32, torch.float64: 64}
SHORTEST_RUN = 64
NUMBERS_PER_THREAD = 1 << 16
BLOCK = 4096


class _Sweep(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("timesteps", "neurons", "inner", "stride_t", "stride_b")),
        *((name, ctypes.c_double) for name in ("leak", "input_scale", "bias", "threshold", "v_rest", "v_reset", "alpha")),
        *((name, ctypes.c_int32) for name in ("soft_reset", "detach_reset", "surrogate")),
    )


def status() -> str:
    """Which kernel runs float32 on the CPU, and why: `c: gcc 12.2.0` or `torch: no C compiler found`."""
    if os.environ.get(SWITCH) == "torch":
        return f"torch: {SWITCH}=torch"
    return _load(BITS[torch.float32])[1]


def runs(x: Tensor) -> bool:
    """Whether the sweeps over `x` can run here."""
    if x.device.type != "cpu" or x.dtype not in BITS or os.environ.get(SWITCH) == "torch":
        return False
    return _load(BITS[x.dtype])[0] is not None


def forward(dynamics: Dynamics, x: Tensor, spikes: Tensor, potential: Tensor | None) -> None:
    """Fills the contiguous `spikes` and, if given, the contiguous `potential` `[T, B, ...]`."""
    _run("forward", dynamics, x, spikes, potential)


def backward(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor, grad_x: Tensor) -> None:
    """Fills the contiguous `grad_x` `[T, B, ...]` from the contiguous `potential`."""
    _run("backward", dynamics, grad_spikes, potential, grad_x)
