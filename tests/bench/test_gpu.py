"""What the driver tells about the GPU, on machines that have all, some or none of it."""

from collections.abc import Callable
from types import SimpleNamespace

import pynvml
import pytest
import torch

from revbench.bench.gpu import Gpu, first_visible_gpu


def refuse(code: int) -> Callable[..., None]:
    """A function of the driver's library that answers with an error."""

    def refused(*_arguments: object) -> None:
        raise pynvml.NVMLError(code)

    return refused


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with two GPUs of one kind and no variables that choose; changing the list changes the machine."""
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(variable, raising=False)
    names = ["NVIDIA H200", "NVIDIA H200"]
    answers: dict[str, Callable[..., object]] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(names),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": {"GPU-abc": 1}.__getitem__,
        "nvmlDeviceGetName": lambda handle: names[handle],
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=(handle + 1) * 2**30),
        "nvmlDeviceGetCudaComputeCapability": lambda _handle: (9, 0),
        "nvmlSystemGetDriverVersion": lambda: "580.10",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    return names


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "there is no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "the NVIDIA driver is not loaded"),
        (pynvml.NVML_ERROR_TIMEOUT, "the NVIDIA driver says: Timeout"),
        (12345, "the NVIDIA driver says: "),
    ],
)
def test_a_machine_without_a_driver_gives_a_reason(monkeypatch: pytest.MonkeyPatch, code: int, reason: str) -> None:
    """Whatever the driver's library answers at its start, there is no GPU and a reason, and no exception."""
    monkeypatch.setattr(pynvml, "nvmlInit", refuse(code))
    told = first_visible_gpu()
    assert told == Gpu(reason=told.reason)
    assert told.reason.startswith(reason)


@pytest.mark.usefixtures("two_gpus")
def test_the_first_gpu_is_told() -> None:
    """Without a choice of the user it is the first one, and nothing is left out."""
    assert first_visible_gpu() == Gpu("NVIDIA H200", 2**30, "9.0", "580.10", "")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("visible", ["1", "1,0", " 1 ", "GPU-abc", "GPU-abc,0"])
def test_the_first_visible_gpu_is_the_one_told(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    """The choice of the user, by number or by name, decides which GPU is told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert first_visible_gpu().memory_bytes == 2 * 2**30


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "reason"), [("", "hides every GPU"), ("-1", "hides every GPU"), ("2", "there is no GPU 2")]
)
def test_hidden_and_missing_gpus_have_a_reason(monkeypatch: pytest.MonkeyPatch, visible: str, reason: str) -> None:
    """A choice that leaves no GPU gives none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    told = first_visible_gpu()
    assert told == Gpu(reason=told.reason)
    assert reason in told.reason


def test_unlike_gpus_are_told_apart_or_not_at_all(monkeypatch: pytest.MonkeyPatch, two_gpus: list[str]) -> None:
    """Where CUDA may number the GPUs otherwise than the driver, none is named rather than the wrong one."""
    two_gpus[1] = "NVIDIA T4"
    assert first_visible_gpu().name is None
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in first_visible_gpu().reason
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert first_visible_gpu().name == "NVIDIA H200"


@pytest.mark.usefixtures("two_gpus")
def test_a_denied_gpu_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch system that lends the second GPU only makes it number 0."""
    denied = refuse(pynvml.NVML_ERROR_NO_PERMISSION)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index or denied())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert first_visible_gpu().memory_bytes == 2 * 2**30


@pytest.mark.usefixtures("two_gpus")
def test_one_silent_answer_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that does not tell its memory (it shares the machine's) still tells its name."""
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", refuse(pynvml.NVML_ERROR_NOT_SUPPORTED))
    assert first_visible_gpu() == Gpu("NVIDIA H200", None, "9.0", "580.10", "the GPU does not tell")


@pytest.mark.gpu
def test_the_driver_and_torch_name_the_same_gpu() -> None:
    """On a machine with a GPU, what the driver says is what torch says."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    properties = torch.cuda.get_device_properties(0)
    told = first_visible_gpu()
    assert told.name == properties.name
    assert told.compute_capability == f"{properties.major}.{properties.minor}"
    assert told.memory_bytes is not None
    assert told.memory_bytes >= properties.total_memory
    assert told.driver
