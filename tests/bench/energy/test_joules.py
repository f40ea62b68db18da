"""Windows under a replayed meter and a made-up clock, and the pass with and without a meter."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from revbench.bench.analysis.case_row import JOULES_METRICS
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.energy import joules
from revbench.bench.energy.joules import joules_pass, metered, unmetered
from revbench.bench.energy.meters import Meter, MeterError, ReplayMeter
from revbench.bench.energy.windows import Plan, Stopwatch, estimate, measure
from revbench.bench.records import Measurement, Record
from revbench.bench.training import prepare

CASE = Case(model="vggbn", depth=1, width=4, timesteps=1, batch_size=2)
PLAN = Plan(num_windows=3)


class World:
    """A device whose clock stands still unless it works, sleeps, or is waited for."""

    def __init__(self, step_s: float = 2.5) -> None:
        self.now_s = 0.0
        self.step_s = step_s
        self.log: list[str] = []

    def step(self) -> None:
        """Takes its time."""
        self.log.append("step")
        self.now_s += self.step_s

    def sleep(self, seconds: float) -> None:
        """Likewise."""
        self.log.append(f"sleep {seconds:g}")
        self.now_s += seconds

    def synchronize(self) -> None:
        """The device takes half a second to come to an end."""
        self.log.append("wait")
        self.now_s += 0.5

    def stopwatch(self) -> Stopwatch:
        """With all of that."""
        return Stopwatch(clock=lambda: self.now_s, sleep=self.sleep, synchronize=self.synchronize)


def readings(idle_w: float, windows_j: list[float], idle_after_w: float) -> list[float]:
    """What a meter tells at both ends of every window; between them it moves as well."""
    told, joules = [], 0.0
    for window_j in (10 * idle_w, *windows_j, 10 * idle_after_w):
        told += [joules, joules + window_j]
        joules += window_j + 7
    return told


def test_net_is_what_work_takes_beyond_idleness() -> None:
    """Windows of 10.5 s, 4 steps of 2 images; idle 20 W before and 30 W after, so 25 W are taken off."""
    world = World()
    work = measure(ReplayMeter(readings(20, [500, 520, 510], 30)), world.step, 2, PLAN, world.stopwatch())
    assert [window.seconds for window in work.windows] == [10.5] * 3
    assert [window.num_images for window in work.windows] == [8] * 3
    assert (work.idle_before.power_w, work.idle_after.power_w, work.idle_w) == (20, 30, 25)
    assert work.gross_j.mean == pytest.approx(510 / 8)
    assert work.net_j.mean == pytest.approx((510 - 25 * 10.5) / 8)
    # Student's t of 2 degrees of freedom at 97.5 %: 4.303.
    assert work.net_j.margin == pytest.approx(4.3027 * (10 / 8) / 3**0.5, rel=1e-4)


def test_the_device_is_waited_for_at_both_ends() -> None:
    """Nothing of the warm-up is left when a window begins, and idleness is measured after a rest."""
    world = World()
    measure(ReplayMeter(readings(20, [500, 520, 510], 30)), world.step, 2, PLAN, world.stopwatch())
    idle = ["wait", "sleep 2", "sleep 10"]
    window = ["wait", *["step"] * 4, "wait"]
    assert world.log == [*idle, *["step"] * 2, *window * 3, *idle]


def test_a_long_step_is_a_window() -> None:
    """A window ends with the step in which its time is over."""
    world = World(step_s=60)
    work = measure(ReplayMeter(readings(20, [1, 1, 1], 30)), world.step, 2, PLAN, world.stopwatch())
    assert [(window.seconds, window.num_images) for window in work.windows] == [(60.5, 2)] * 3


def test_a_counter_that_does_not_move_is_an_error() -> None:
    """Zero joules for 10 s of work are no measurement."""
    world = World()
    with pytest.raises(MeterError, match=r"a replay did not move in a window of 10\.5 s of work"):
        measure(ReplayMeter(readings(20, [500, 0, 510], 30)), world.step, 2, PLAN, world.stopwatch())


def test_a_meter_that_dies_is_an_error() -> None:
    """In the middle of the second window."""
    world = World()
    told = [*readings(20, [500, 500], 0)[:5], MeterError("the GPU is lost")]
    with pytest.raises(MeterError, match="the GPU is lost"):
        measure(ReplayMeter(told), world.step, 2, PLAN, world.stopwatch())
    assert world.log.count("step") == 2 + 4 + 4


@pytest.mark.parametrize(
    ("plan", "message"),
    [({"window_s": 9.9}, "at least 10 s, not 9.9 s"), ({"num_windows": 1}, "at least 2 windows, not 1")],
)
def test_plans_that_measure_too_little(plan: dict[str, Any], message: str) -> None:
    """Short windows see the ticks of the counter, one window has no interval."""
    with pytest.raises(ValueError, match=message):
        Plan(**plan)


def test_the_interval_of_equal_values_is_nothing() -> None:
    """And that of two values is wide."""
    assert estimate([2.0, 2.0, 2.0]).margin == 0
    assert estimate([1.0, 3.0]).margin == pytest.approx(12.706, rel=1e-4)


def told(meter: Meter, world: World) -> dict[str, Measurement]:
    """What the pass finds by that meter, the steps being real and the time made up."""
    training = prepare(CASE)

    def step() -> torch.Tensor:
        world.step()
        return type(training).step(training)

    class Timed(type(training)):  # type: ignore[misc]
        step = lambda self: step()  # noqa: E731

    timed = Timed(training.case, training.model, training.rule, training.batch, training.optimizer)
    training.model.register_forward_hook(lambda *_: None if training.model.training else world.step())
    return {found.metric: found for found in metered(timed, meter, PLAN, world.stopwatch())}


def test_training_and_inference_are_metered() -> None:
    """Joules of an image, with their counter; training first, and inference without gradients."""
    both = [*readings(20, [500, 500, 500], 20), *(1e4 + j for j in readings(20, [300, 300, 300], 20))]
    found = told(ReplayMeter(both), World())
    assert set(JOULES_METRICS) <= set(found)
    assert found["training_net_j"].value == pytest.approx((500 - 210) / 8)
    assert found["inference_net_j"].value == pytest.approx((300 - 210) / 8)
    assert found["training_gross_j"].value == pytest.approx(500 / 8)
    assert found["training_net_j_margin"].value == pytest.approx(0, abs=1e-9)
    assert {found[name].counter for name in JOULES_METRICS} == {"nvml_energy"}
    assert {found[name].unit for name in JOULES_METRICS} == {"J"}
    assert (found["training_idle_before_w"].value, found["training_num_windows"].value) == (20, 3)
    assert found["inference_num_images"].value == 24


def test_less_than_idle_is_no_number() -> None:
    """Net joules below nothing are told as such; gross ones stand."""
    both = [*readings(100, [500, 500, 500], 100), *(1e4 + j for j in readings(20, [300, 300, 300], 20))]
    found = told(ReplayMeter(both), World())
    assert found["training_net_j"].value is found["training_net_j_margin"].value is None
    assert "something else ran beside" in found["training_net_j"].detail
    assert found["training_gross_j"].value == pytest.approx(500 / 8)


def test_a_machine_without_a_meter_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without a value, never 0, and nothing was run for them."""

    @contextmanager
    def none(_: torch.device) -> Iterator[Meter]:
        raise MeterError("this system shows no counter")
        yield

    monkeypatch.setattr(joules, "open_meter", none)
    monkeypatch.setattr(joules, "prepare", lambda _: pytest.fail("there is nothing to measure with"))
    found = joules_pass(CASE)
    assert {each.metric for each in found} == set(JOULES_METRICS)
    assert {(each.value, each.detail) for each in found} == {(None, "this system shows no counter")}
    assert found == unmetered("this system shows no counter")


def test_a_machine_with_a_meter_runs_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meter is closed in the end."""
    log: list[str] = []

    @contextmanager
    def opened(device: torch.device) -> Iterator[Meter]:
        log.append(f"open {device}")
        yield ReplayMeter([])
        log.append("close")

    monkeypatch.setattr(joules, "open_meter", opened)
    monkeypatch.setattr(joules, "metered", lambda training, *_: [log.append(training.case.model)])
    joules_pass(CASE)
    assert log == ["open cpu", "vggbn", "close"]


def test_fake_tensors_take_no_energy() -> None:
    """There is nothing to meter."""
    with pytest.raises(NotImplementedError, match="fake tensors take no energy"):
        joules_pass(Case(model="vggbn", depth=1, device="fake"))


def test_rows_hold_the_joules_and_the_reason() -> None:
    """Whatever the counter is, a number has its column, and a missing one its reason."""

    def row(found: list[Measurement]) -> Any:
        records = [
            Record(
                case=CASE, pass_name="joules", metric=each.metric, value=each.value, unit=each.unit,
                counter=each.counter, status="ok", detail=each.detail, at="",
            )
            for each in found
        ]  # fmt: skip
        return case_rows(records)[0]

    numbers = [
        Measurement(metric=name, value=index, unit="J", counter="rapl", detail="RAPL")
        for index, name in enumerate(JOULES_METRICS, start=1)
    ]
    full, empty = row(numbers), row(unmetered("no counter"))
    assert [getattr(full, name) for name in JOULES_METRICS] == [1, 2, 3, 4, 5, 6]
    assert (full.energy.meter, full.energy.unmetered) == ("RAPL", "")
    assert [getattr(empty, name) for name in JOULES_METRICS] == [None] * 6
    assert (empty.energy.meter, empty.energy.unmetered) == ("", "no counter")
