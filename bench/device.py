"""Which device the user means."""

import os

from revbench.bench.cases import Device
from revbench.bench.errors import DeviceError

CHOICES = ("auto", "cpu", "cuda")


def resolve(choice: str) -> Device:
    """The device for `auto`, `cpu` or `cuda`; `auto` is CUDA where there is one.

    Raises:
        DeviceError: another word, or CUDA where there is none.
    """
    if choice not in CHOICES:
        raise DeviceError(f"there is no device {choice!r}; valid: {', '.join(CHOICES)}")
    if choice == "cpu":
        return "cpu"
    if _cuda_is_available():
        return "cuda"
    if choice == "cuda":
        raise DeviceError("the device 'cuda' was asked for but torch finds none here; use --device cpu or --predict")
    return "cpu"


def _cuda_is_available() -> bool:
    """Asks the driver through NVML, so that this process holds no memory on the GPU."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch  # noqa: PLC0415 - after the variable is set

    return torch.cuda.is_available()
