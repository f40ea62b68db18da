"""Meters of energy: NVML's counter of a GPU, its power where there is no counter, RAPL's counters of processors.

A meter tells the joules since it was opened, which never fall. What cannot be read is an error in words, not a number.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pynvml
import torch

from revbench.bench.gpu import nvml_reason
from revbench.bench.records import EnergyCounter

RAPL_FOLDER = Path("/sys/class/powercap")
POWER_SAMPLE_S = 0.05
MILLI, MICRO = 1e-3, 1e-6


class MeterError(Exception):
    """There is no meter, or it cannot be read any more; the message says why."""


class Meter(Protocol):
    """Tells the joules that a device has taken.

    Attributes:
        counter: what produces the number, as records have it.
        description: the same for a person.
    """

    counter: EnergyCounter
    description: str

    def joules(self) -> float:
        """Joules since the meter was opened.

        Raises:
            MeterError: it cannot be read.
        """


@contextmanager
def open_meter(device: torch.device) -> Iterator[Meter]:
    """The meter of a device, closed at the end of the block.

    Raises:
        MeterError: there is none.
    """
    if device.type == "cuda":
        with nvml_meter(f"GPU-{torch.cuda.get_device_properties(device).uuid}") as meter:
            yield meter
    else:
        yield RaplMeter()


@contextmanager
def nvml_meter(uuid: str) -> Iterator[Meter]:
    """A GPU's counter of energy; without one, a meter that samples its power.

    Raises:
        MeterError: the GPU tells neither.
    """
    with ExitStack() as stack:
        with _told():
            pynvml.nvmlInit()
            stack.callback(pynvml.nvmlShutdown)
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            meter = _counter_of(handle)
        yield meter or stack.enter_context(sampling(lambda: _power_w(handle)))


class NvmlEnergyMeter:
    """NVML's total energy counter, in mJ since the driver was loaded (Volta and later)."""

    counter: EnergyCounter = "nvml_energy"
    description = "NVML's energy counter of the GPU"

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._begin_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    def joules(self) -> float:
        """See `Meter`."""
        with _told():
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._begin_mj) * MILLI


class SampledMeter:
    """Power read many times a second and summed up: it misses what happens between the samples."""

    counter: EnergyCounter = "nvml_power"
    description = "NVML's power of the GPU, sampled: less exact than a counter"

    def __init__(self, power_w: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._power_w, self._clock = power_w, clock
        self._before = (clock(), power_w())
        self._joules = 0.0
        self._failure: MeterError | None = None
        self._lock = threading.Lock()

    def sample(self) -> None:
        """Reads the power, and takes it for the mean of this and the last reading since then."""
        with self._lock:
            now = (self._clock(), self._power_w())
            (then_s, then_w), (now_s, now_w) = self._before, now
            self._joules += (now_s - then_s) * (now_w + then_w) / 2
            self._before = now

    def joules(self) -> float:
        """See `Meter`."""
        if self._failure:
            raise self._failure
        self.sample()
        return self._joules

    def sample_until(self, end: threading.Event) -> None:
        """Samples until the event is set or the power cannot be read any more."""
        while not end.wait(POWER_SAMPLE_S):
            try:
                self.sample()
            except MeterError as error:
                self._failure = error
                return


@contextmanager
def sampling(power_w: Callable[[], float]) -> Iterator[SampledMeter]:
    """A meter that reads the power in a thread of its own while the block lasts."""
    meter, end = SampledMeter(power_w), threading.Event()
    thread = threading.Thread(target=meter.sample_until, args=(end,), daemon=True, name="power-sampling")
    thread.start()
    try:
        yield meter
    finally:
        end.set()
        thread.join()


class RaplMeter:
    """The energy counters of all processor packages (Intel and AMD), which begin again at 0 when they are full.

    A counter must be read at least once while it fills, which takes many minutes. Everything that runs on the
    processors is in the number, other programs too.

    Args:
        folder: of the kernel's power capping.

    Raises:
        MeterError: there is no package, or it may not be read.
    """

    counter: EnergyCounter = "rapl"
    description = "RAPL's energy counters of the processor packages"

    def __init__(self, folder: Path = RAPL_FOLDER) -> None:
        domains = sorted(folder.glob("intel-rapl:*"))
        packages = [path for path in domains if _read(path / "name").startswith("package")]
        if not packages:
            raise MeterError(f"this system shows no energy counter of a processor in {folder}")
        self._counters = [path / "energy_uj" for path in packages]
        self._ranges_uj = [int(_read(path / "max_energy_range_uj")) for path in packages]
        self._last_uj = self._read_all()
        self._total_uj = 0

    def joules(self) -> float:
        """See `Meter`."""
        now_uj = self._read_all()
        for now, last, span in zip(now_uj, self._last_uj, self._ranges_uj, strict=True):
            self._total_uj += now - last if now >= last else now - last + span
        self._last_uj = now_uj
        return self._total_uj * MICRO

    def _read_all(self) -> list[int]:
        return [int(_read(path)) for path in self._counters]


class ReplayMeter:
    """Tells readings that somebody took before, one after the other; for tests.

    Args:
        readings: joules; an error among them is raised.
    """

    counter: EnergyCounter = "nvml_energy"
    description = "a replay"

    def __init__(self, readings: Sequence[float | MeterError]) -> None:
        self._readings = iter(readings)

    def joules(self) -> float:
        """See `Meter`."""
        reading = next(self._readings, MeterError("the replay is at its end"))
        if isinstance(reading, MeterError):
            raise reading
        return reading


def _counter_of(handle: Any) -> NvmlEnergyMeter | None:
    """The GPU's counter, where it has one."""
    with suppress(pynvml.NVMLError_NotSupported):
        return NvmlEnergyMeter(handle)
    return None


def _power_w(handle: Any) -> float:
    with _told():
        return float(pynvml.nvmlDeviceGetPowerUsage(handle)) * MILLI


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise MeterError(nvml_reason(error)) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError:
        raise MeterError(
            f"only the administrator may read {path}; `sudo chmod a+r {path}` allows it until the next restart"
        ) from None
    except OSError as error:
        raise MeterError(f"cannot read {path}: {error.strerror}") from None
