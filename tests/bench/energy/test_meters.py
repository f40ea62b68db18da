"""Meters on files and drivers that are made up: counters that begin again, refusals, and what only tells power."""

import threading
from pathlib import Path
from typing import Any

import pynvml
import pytest

from revbench.bench.energy import meters
from revbench.bench.energy.meters import (
    MeterError,
    NvmlEnergyMeter,
    RaplMeter,
    ReplayMeter,
    SampledMeter,
    nvml_meter,
    open_meter,
    sampling,
)


@pytest.fixture
def rapl(tmp_path: Path) -> Path:
    """A system with two packages, a part of one of them, and the platform as a whole."""
    for name, label, range_uj in (
        ("intel-rapl:0", "package-0", 1000),
        ("intel-rapl:0:0", "core", 1000),
        ("intel-rapl:1", "package-1", 5000),
        ("intel-rapl:2", "psys", 1000),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (folder / "energy_uj").write_text("900\n")
    return tmp_path


def set_counters(folder: Path, *microjoules: int) -> None:
    """What both packages tell."""
    for index, value in enumerate(microjoules):
        (folder / f"intel-rapl:{index}" / "energy_uj").write_text(f"{value}\n")


def test_packages_add_up_and_their_parts_do_not(rapl: Path) -> None:
    """From the readings at the beginning on."""
    meter = RaplMeter(rapl)
    assert meter.joules() == 0
    set_counters(rapl, 950, 1900)
    (rapl / "intel-rapl:0:0" / "energy_uj").write_text("999999\n")
    (rapl / "intel-rapl:2" / "energy_uj").write_text("999999\n")
    assert meter.joules() == pytest.approx(1050e-6)
    assert meter.counter == "rapl"


def test_a_full_counter_begins_again(rapl: Path) -> None:
    """Each at its own range, as often as it is full."""
    meter = RaplMeter(rapl)
    set_counters(rapl, 100, 900)
    assert meter.joules() == pytest.approx(200e-6)
    set_counters(rapl, 50, 0)
    assert meter.joules() == pytest.approx((200 + 950 + 4100) * 1e-6)


def test_counters_that_may_not_be_read(rapl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what the administrator can do."""

    def refuse(path: Path, **_: Any) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(MeterError, match=r"only the administrator may read .*intel-rapl:0/name; `sudo chmod a\+r"):
        RaplMeter(rapl)


def test_counters_that_vanish(rapl: Path) -> None:
    """A meter that dies is an error, not a number."""
    meter = RaplMeter(rapl)
    (rapl / "intel-rapl:1" / "energy_uj").unlink()
    with pytest.raises(MeterError, match=r"cannot read .*energy_uj: No such file or directory"):
        meter.joules()


def test_a_system_without_counters(tmp_path: Path) -> None:
    """Neither a folder nor packages."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MeterError, match="shows no energy counter of a processor"):
            RaplMeter(folder)


class Driver:
    """A driver of one GPU that tells what it is given; errors are raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.is_open = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In place of the real one."""
        monkeypatch.setattr(pynvml, "nvmlInit", self.open)
        monkeypatch.setattr(pynvml, "nvmlShutdown", self.close)
        for name in ("HandleByUUID", "TotalEnergyConsumption", "PowerUsage"):
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", lambda _, name=name: self.answer(name))

    def open(self) -> None:
        """As `nvmlInit`."""
        self.answer("Init")
        self.is_open = True

    def close(self) -> None:
        """As `nvmlShutdown`."""
        self.is_open = False

    def answer(self, name: str) -> Any:
        """What was given for that question, the next of a list."""
        found = self.answers.get(name, 0)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        return found


def nvml_error(number: int) -> pynvml.NVMLError:
    """The driver's error of that number."""
    return pynvml.NVMLError(number)


def test_the_counter_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Millijoules since the meter was opened; the driver is closed in the end."""
    driver = Driver(TotalEnergyConsumption=[5000, 5000, 7500])
    driver.install(monkeypatch)
    with nvml_meter("GPU-0") as meter:
        assert isinstance(meter, NvmlEnergyMeter)
        assert [meter.joules(), meter.joules()] == [0, 2.5]
        assert driver.is_open
    assert not driver.is_open


def test_power_is_sampled_only_without_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the meter says so."""
    driver = Driver(TotalEnergyConsumption=nvml_error(pynvml.NVML_ERROR_NOT_SUPPORTED), PowerUsage=250_000)
    driver.install(monkeypatch)
    with nvml_meter("GPU-0") as meter:
        assert meter.counter == "nvml_power"
        assert "sampled" in meter.description
        assert meter.joules() >= 0


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"Init": nvml_error(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)}, "the NVIDIA driver is not loaded"),
        ({"HandleByUUID": nvml_error(pynvml.NVML_ERROR_NOT_FOUND)}, "there is no such GPU"),
        ({"TotalEnergyConsumption": nvml_error(pynvml.NVML_ERROR_NO_PERMISSION)}, "no permission"),
        (
            {
                "TotalEnergyConsumption": nvml_error(pynvml.NVML_ERROR_NOT_SUPPORTED),
                "PowerUsage": nvml_error(pynvml.NVML_ERROR_NOT_SUPPORTED),
            },
            "the GPU does not tell",
        ),
    ],
)
def test_a_gpu_that_does_not_tell(answers: dict[str, Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, and the driver is closed."""
    driver = Driver(**answers)
    driver.install(monkeypatch)
    with pytest.raises(MeterError, match=message), nvml_meter("GPU-0"):
        pass
    assert not driver.is_open


def test_a_gpu_that_is_lost_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that answered once and not again."""
    driver = Driver(TotalEnergyConsumption=[1000, nvml_error(pynvml.NVML_ERROR_GPU_IS_LOST)])
    driver.install(monkeypatch)
    with nvml_meter("GPU-0") as meter, pytest.raises(MeterError, match="the GPU is lost"):
        meter.joules()


def test_power_becomes_energy() -> None:
    """The mean of two readings, times the time between them."""
    times, watts = iter([0.0, 2.0, 3.0]), iter([100.0, 200.0, 50.0])
    meter = SampledMeter(lambda: next(watts), lambda: next(times))
    meter.sample()
    assert meter.joules() == pytest.approx(2 * 150 + 1 * 125)


def test_a_thread_samples_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the block ends; if the power cannot be read any more, the next reading says so."""
    monkeypatch.setattr(meters, "POWER_SAMPLE_S", 0.001)
    readings, failed = [0], threading.Event()

    def power_w() -> float:
        readings[0] += 1
        if readings[0] == 4:
            failed.set()
            raise MeterError("the GPU is lost")
        return 100.0

    with sampling(power_w) as meter:
        assert failed.wait(10)
        for thread in threading.enumerate():
            if thread.name == "power-sampling":
                thread.join(10)
        with pytest.raises(MeterError, match="lost"):
            meter.joules()
    assert "power-sampling" not in {thread.name for thread in threading.enumerate()}


def test_the_meter_of_this_machine_is_one_or_says_why() -> None:
    """A processor has counters or the reason is a sentence; nothing is guessed."""
    import torch

    reason = ""
    try:
        with open_meter(torch.device("cpu")) as meter:
            assert (meter.counter, meter.joules() >= 0) == ("rapl", True)
    except MeterError as error:
        reason = str(error)
    assert not reason or "energy counter" in reason or "energy_uj" in reason


def test_a_replay_tells_what_was_recorded() -> None:
    """In order, errors included, and then nothing more."""
    meter = ReplayMeter([1.0, MeterError("the cable broke"), 2.0])
    assert meter.joules() == 1
    with pytest.raises(MeterError, match="cable"):
        meter.joules()
    assert meter.joules() == 2
    with pytest.raises(MeterError, match="at its end"):
        meter.joules()
