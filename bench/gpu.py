"""What the driver's own library (NVML) tells about the GPU, without touching CUDA."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pynvml


class Gpu(NamedTuple):
    """A GPU; None where there is none or it does not tell.

    Attributes:
        name: of the model.
        memory_bytes: its memory in all.
        compute_capability: `9.0`.
        driver: version of the driver.
        reason: why something is None; empty when nothing is.
    """

    name: str | None = None
    memory_bytes: int | None = None
    compute_capability: str | None = None
    driver: str | None = None
    reason: str = ""


_NVML_REASONS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVIDIA driver",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was updated and needs a restart of the machine",
    pynvml.NVML_ERROR_NO_PERMISSION: "there is no permission to ask the NVIDIA driver",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "the GPU does not tell",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "there is no such GPU",
    pynvml.NVML_ERROR_NOT_FOUND: "there is no such GPU",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "there is no GPU",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost and needs a restart of the machine",
}


def first_visible_gpu() -> Gpu:
    """The GPU that CUDA shows first; a machine without one gets a reason, never an exception."""
    try:
        pynvml.nvmlInit()
        try:
            return _told(_first_visible())
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return Gpu(reason=nvml_reason(error))
    except LookupError as error:
        return Gpu(reason=str(error))


def _first_visible() -> Any:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    first = visible.split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    if not first.isdecimal():
        raise LookupError(f"CUDA_VISIBLE_DEVICES={visible} hides every GPU")
    handles = list(_permitted())
    names = {pynvml.nvmlDeviceGetName(handle) for handle in handles}
    if len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise LookupError("CUDA and the driver may number unlike GPUs differently; set CUDA_DEVICE_ORDER=PCI_BUS_ID")
    if int(first) >= len(handles):
        raise LookupError(f"there is no GPU {first}")
    return handles[int(first)]


def _permitted() -> Iterator[Any]:
    """The GPUs that CUDA counts: a batch system may deny the others, which the driver counts as well."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError_NoPermission):
            yield pynvml.nvmlDeviceGetHandleByIndex(index)


def _told(handle: Any) -> Gpu:
    reasons: list[str] = []

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except pynvml.NVMLError as error:
            reasons.append(nvml_reason(error))
            return None

    told = Gpu(
        name=ask(lambda: pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=ask(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)),
        compute_capability=ask(lambda: ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(handle)))),
        driver=ask(pynvml.nvmlSystemGetDriverVersion),
    )
    return told._replace(reason="; ".join(dict.fromkeys(reasons)))


def nvml_reason(error: pynvml.NVMLError) -> str:
    """What an error of NVML means, in words."""
    return _NVML_REASONS.get(error.value, f"the NVIDIA driver says: {error}")
