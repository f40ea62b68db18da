"""The timed passes: when they have enough, what they make of seconds, and that the device is idle around the work."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from revbench.bench.cases import Case
from revbench.bench.records import Measurement
from revbench.bench.timing import (
    ENOUGH_S,
    MAX_STEPS,
    METRICS,
    MIN_STEPS,
    enough,
    time_measurements,
    timed_inference,
    timed_step,
)
from revbench.bench.training import prepare


@pytest.mark.parametrize(
    ("step_seconds", "expected"),
    [
        ([], False),
        ([100.0] * (MIN_STEPS - 1), False),
        ([ENOUGH_S / MIN_STEPS] * MIN_STEPS, True),
        ([ENOUGH_S / MIN_STEPS * 0.99] * MIN_STEPS, False),
        ([ENOUGH_S / MIN_STEPS * 0.99] * (MIN_STEPS + 1), True),
        ([0.0] * (MAX_STEPS - 1), False),
        ([0.0] * MAX_STEPS, True),
    ],
)
def test_enough(step_seconds: list[float], expected: bool) -> None:
    """Never fewer than the least number of steps, never more than the most, and in between until the time is up."""
    assert enough(step_seconds) is expected


def test_time_measurements() -> None:
    """Median, quartiles including both ends, throughput of whole batches, and the number of steps."""
    assert time_measurements([0.75, 0.25, 0.375, 0.5, 0.625], batch_size=6) == [
        Measurement(metric="step_s", value=0.5, unit="s"),
        Measurement(metric="step_spread_s", value=0.25, unit="s"),
        Measurement(metric="images_per_s", value=12.0, unit="1/s"),
        Measurement(metric="num_steps", value=5, unit="1"),
    ]


def test_measurements_of_inferences_have_names_of_their_own() -> None:
    """The same numbers, so that both passes can stand in one row."""
    steps, inferences = (time_measurements([0.75, 0.25, 0.375, 0.5, 0.625], 6, name) for name in METRICS)
    assert [found.metric for found in inferences] == [
        "inference_s",
        "inference_spread_s",
        "inference_images_per_s",
        "num_inferences",
    ]
    assert [(found.value, found.unit) for found in inferences] == [(found.value, found.unit) for found in steps]


def test_an_outlier_moves_neither_median_nor_spread() -> None:
    """One step that was interrupted for an hour does not count."""
    calm = time_measurements([0.1, 0.2, 0.3, 0.4, 0.5], batch_size=1)
    disturbed = time_measurements([0.1, 0.2, 0.3, 0.4, 3600.0], batch_size=1)
    assert calm == disturbed


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_step_is_timed_from_idle_to_idle(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """On CUDA the device is waited for before the clock starts and before it stops; on the CPU there is no waiting."""
    events: list[str] = []
    clock = iter([10.0, 12.5])

    def read_clock() -> float:
        events.append("clock")
        return next(clock)

    monkeypatch.setattr(time, "perf_counter", read_clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: events.append("wait"))
    training: Any = SimpleNamespace(device=torch.device(device), step=lambda: events.append("step"))
    assert timed_step(training) == 2.5
    waited = ["wait", "clock", "step", "wait", "clock"]
    assert events == (waited if device == "cuda" else ["clock", "step", "clock"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_inference_trains_nothing(dtype: Any) -> None:
    """It is in evaluation mode, builds no graph, has the precision of the case, and leaves the weights as they were."""
    training = prepare(Case(model="msresnet", depth=1, width=4, timesteps=1, batch_size=2, dtype=dtype))
    seen: list[tuple[bool, bool, torch.dtype]] = []
    convolution = next(module for module in training.model.modules() if isinstance(module, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda m, _, out: seen.append((m.training, out.requires_grad, out.dtype)))
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    assert timed_inference(training) > 0
    assert seen == [(False, False, getattr(torch, dtype))]
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.model.state_dict().items())
    assert all(parameter.grad is None for parameter in training.model.parameters())
    timed_step(training)
    assert all(parameter.grad is not None for parameter in training.model.parameters())
