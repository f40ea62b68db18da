"""NVML's figure for the process, with a driver that is played by the test."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from revbench.bench.memory.cuda import process_measurement

DEVICE = torch.device("cuda")


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The processes that the driver lists; the test fills them in."""
    listed: list[Any] = []
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: asked.append(uuid) or uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: listed)
    yield listed
    assert asked == ["GPU-12-34"]


def test_the_bytes_of_this_process_are_told(processes: list[Any]) -> None:
    """Of several processes on the GPU, the one that measures."""
    processes += [SimpleNamespace(pid=1, usedGpuMemory=5), SimpleNamespace(pid=os.getpid(), usedGpuMemory=7)]
    found = process_measurement(DEVICE)
    assert (found.metric, found.value, found.unit, found.counter) == ("process_bytes", 7, "B", "nvml")


@pytest.mark.parametrize("used", [None, 5])
def test_without_a_figure_there_is_a_reason_and_no_number(processes: list[Any], used: int | None) -> None:
    """A process that the driver does not list, or whose memory it does not tell, is not 0."""
    processes.append(SimpleNamespace(pid=os.getpid() if used is None else 1, usedGpuMemory=used))
    found = process_measurement(DEVICE)
    assert found.value is None
    assert "does not list" in found.detail


def test_an_error_of_the_driver_is_a_reason(processes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML's errors become words."""

    def refuse(handle: object) -> None:
        raise pynvml.NVMLError_NotSupported

    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", refuse)
    found = process_measurement(DEVICE)
    assert (found.value, found.detail) == (None, "the GPU does not tell")
