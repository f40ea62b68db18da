"""What decides the integers of a reading beside the code that is read."""

import platform
from dataclasses import dataclass, fields

import torch

from revbench.bench import environment
from revbench.bench.cases import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Testbed:
    """Where readings come from; two that differ cannot be compared byte by byte.

    Predictions compute nothing and run no kernel: neither processor, compiler nor build of torch matters, only its
    version. What CUDA's allocator counts hangs on more.

    Attributes:
        device: `fake`, `cpu` or `cuda`.
        torch: version; without the build (`+cpu`) where there is no CUDA.
        gpu: model name; None but on CUDA, like all that follows.
        driver: version.
        cuda: version that torch was built with.
        cudnn: version.
        allocator: options of torch's allocator.
    """

    device: Device
    torch: str
    gpu: str | None = None
    driver: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    allocator: str | None = None

    def differences(self, other: "Testbed") -> list[str]:
        """What differs, one text each: `torch 2.11.0 -> 2.15.0`."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return [f"{name} {before or 'none'} -> {now or 'none'}" for name, before, now in pairs if before != now]


def testbed(device: Device) -> Testbed:
    """That of this process."""
    if device != "cuda":
        return Testbed(device=device, torch=str(torch.__version__).partition("+")[0])
    here = environment.capture(device)
    return Testbed(
        device=device,
        torch=here.torch,
        gpu=here.gpu,
        driver=here.driver,
        cuda=here.cuda,
        cudnn=here.cudnn,
        allocator=here.pytorch_alloc_conf or here.pytorch_cuda_alloc_conf,
    )


def python_version() -> str:
    """Such as `3.11`."""
    return ".".join(platform.python_version_tuple()[:2])
