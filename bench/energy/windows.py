r"""Windows of work and of idleness under a meter, and what an image takes by them.

The energy counter of a GPU moves about ten times a second, so a window lasts 10 s or longer, and has two readings, with
nothing left on the device at both. Net is what a window took beyond idleness, which is measured before and after:

$$J_{net} = J - P_{idle} s$$

The interval is that of Student's t over windows, at 95 %.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from revbench.bench.energy.meters import Meter, MeterError

LEAST_WINDOW_S = 10.0
LEAST_WINDOWS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        window_s: how long a window of work lasts at least.
        num_windows: of each kind of work.
        warm_up_s: how long the device works before the first window.
        settle_s: how long it rests before its idleness is measured.

    Raises:
        ValueError: windows too short for a counter, or too few for an interval.
    """

    window_s: float = 10.0
    num_windows: int = 5
    warm_up_s: float = 3.0
    settle_s: float = 2.0

    def __post_init__(self) -> None:
        if self.window_s < LEAST_WINDOW_S:
            raise ValueError(f"a window must last at least {LEAST_WINDOW_S:g} s, not {self.window_s:g} s")
        if self.num_windows < LEAST_WINDOWS:
            raise ValueError(f"an interval needs at least {LEAST_WINDOWS} windows, not {self.num_windows}")


@dataclass(frozen=True, slots=True)
class Window:
    """What the meter told between two readings."""

    seconds: float
    joules: float
    num_images: int = 0

    @property
    def power_w(self) -> float:
        """Mean power."""
        return self.joules / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over windows, and half of its 95 % confidence interval."""

    mean: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one kind of work took.

    Attributes:
        windows: of work.
        idle_before: without work.
        idle_after: likewise.
    """

    windows: tuple[Window, ...]
    idle_before: Window
    idle_after: Window

    @property
    def idle_w(self) -> float:
        """Mean power without work."""
        return (self.idle_before.power_w + self.idle_after.power_w) / 2

    @property
    def net_j(self) -> Estimate:
        """Joules of an image beyond idleness."""
        return estimate([(each.joules - self.idle_w * each.seconds) / each.num_images for each in self.windows])

    @property
    def gross_j(self) -> Estimate:
        """Joules of an image, idleness included."""
        return estimate([each.joules / each.num_images for each in self.windows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopwatch:
    """The world that windows need: time, and the end of what was given to the device.

    Attributes:
        clock: seconds.
        sleep: waits for so many of them.
        synchronize: waits until the device has nothing left to do.
    """

    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    synchronize: Callable[[], None] = lambda: None


def measure(meter: Meter, step: Callable[[], object], num_images: int, plan: Plan, watch: Stopwatch) -> Work:
    """Repeats a step under the meter.

    Args:
        meter: of the device that the step runs on.
        step: one step of work.
        num_images: of a step.
        plan: how often and how long.
        watch: the time.

    Raises:
        MeterError: the meter cannot be read, or does not move while the device works.
    """
    before = _idle(meter, plan, watch)
    begin = watch.clock()
    while watch.clock() - begin < plan.warm_up_s:
        step()
    windows = tuple(_window(meter, step, num_images, plan.window_s, watch) for _ in range(plan.num_windows))
    return Work(windows=windows, idle_before=before, idle_after=_idle(meter, plan, watch))


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and half of the interval of Student's t."""
    from scipy.stats import t  # noqa: PLC0415 - slow to import, seldom needed

    deviation = statistics.stdev(values) / len(values) ** 0.5
    return Estimate(mean=statistics.fmean(values), margin=float(t.ppf(0.975, len(values) - 1)) * deviation)


def _idle(meter: Meter, plan: Plan, watch: Stopwatch) -> Window:
    watch.synchronize()
    watch.sleep(plan.settle_s)
    begin_s, begin_j = watch.clock(), meter.joules()
    watch.sleep(plan.window_s)
    end_s, end_j = watch.clock(), meter.joules()
    return Window(end_s - begin_s, end_j - begin_j)


def _window(meter: Meter, step: Callable[[], object], num_images: int, window_s: float, watch: Stopwatch) -> Window:
    watch.synchronize()
    begin_s, begin_j, num_steps = watch.clock(), meter.joules(), 0
    while watch.clock() - begin_s < window_s:
        step()
        num_steps += 1
    watch.synchronize()
    end_s, end_j = watch.clock(), meter.joules()
    if end_j <= begin_j:
        raise MeterError(f"{meter.description} did not move in a window of {end_s - begin_s:.1f} s of work")
    return Window(end_s - begin_s, end_j - begin_j, num_steps * num_images)
