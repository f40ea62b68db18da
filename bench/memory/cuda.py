"""The counters of CUDA: what PyTorch's allocator was asked for, handed out and holds, and what NVML sees."""

import os
from collections.abc import Callable

import pynvml
import torch

from revbench.bench.gpu import nvml_reason
from revbench.bench.records import Counter, Measurement

_ALLOCATOR_COUNTERS: dict[Counter, str] = {
    "cuda_requested": "requested_bytes.all.peak",
    "cuda_allocated": "allocated_bytes.all.peak",
    "cuda_reserved": "reserved_bytes.all.peak",
}


def measure_peaks(step: Callable[[], object], device: torch.device) -> list[Measurement]:
    """Runs `step` once and reads the peaks that the allocator counted meanwhile, and NVML's figure after it.

    No dispatch mode is active: the step is as it is in training.
    """
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    stats = torch.cuda.memory_stats(device)
    peaks = [
        Measurement(metric="peak_bytes", value=int(stats[key]), unit="B", counter=counter)
        for counter, key in _ALLOCATOR_COUNTERS.items()
    ]
    return [*peaks, process_measurement(device)]


def process_measurement(device: torch.device) -> Measurement:
    """What NVML counts for this process, context and libraries included; without a value where it does not tell."""
    value, detail = None, "NVML does not list this process (it may run in a container)"
    try:
        pynvml.nvmlInit()
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    value, detail = int(process.usedGpuMemory), ""
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        detail = nvml_reason(error)
    return Measurement(metric="process_bytes", value=value, unit="B", counter="nvml", detail=detail)
