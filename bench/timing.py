"""The time pass: seconds per training step, without hooks, with the device synchronised around each step."""

import statistics
import time
from collections.abc import Sequence

import torch

from revbench.bench.records import Measurement
from revbench.bench.training import Training

WARM_UP_STEPS = 2
MIN_STEPS = 5
MAX_STEPS = 50
ENOUGH_S = 2.0
"""Steps are repeated until they took this long together, within the two limits above."""


def timed_step(training: Training) -> float:
    """Seconds of one training step, from an idle device to an idle device."""
    _synchronize(training.device)
    begin = time.perf_counter()
    training.step()
    _synchronize(training.device)
    return time.perf_counter() - begin


def enough(step_seconds: Sequence[float]) -> bool:
    """Whether a case has been timed often enough."""
    if len(step_seconds) < MIN_STEPS:
        return False
    return len(step_seconds) >= MAX_STEPS or sum(step_seconds) >= ENOUGH_S


def time_measurements(step_seconds: Sequence[float], batch_size: int) -> list[Measurement]:
    """Median, interquartile range and throughput of the steps."""
    median_s = statistics.median(step_seconds)
    lower_s, _, upper_s = statistics.quantiles(step_seconds, n=4, method="inclusive")
    return [
        Measurement(metric="step_s", value=median_s, unit="s"),
        Measurement(metric="step_spread_s", value=upper_s - lower_s, unit="s"),
        Measurement(metric="images_per_s", value=batch_size / median_s, unit="1/s"),
        Measurement(metric="num_steps", value=len(step_seconds), unit="1"),
    ]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
