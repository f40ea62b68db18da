"""The passes time and inference_time: seconds of a training step, or of an inference, without hooks.

The device is synchronised around each. An inference is one forward pass of the batch in evaluation mode, without
gradients, in the precision of the case; it is the same whatever rule trains the network.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from revbench.bench.records import Measurement, PassName
from revbench.bench.training import Training

WARM_UP_STEPS = 2
MIN_STEPS = 5
MAX_STEPS = 50
ENOUGH_S = 2.0
"""Steps are repeated until they took this long together, within the two limits above."""
METRICS: dict[PassName, tuple[str, str, str, str]] = {
    "time": ("step_s", "step_spread_s", "images_per_s", "num_steps"),
    "inference_time": ("inference_s", "inference_spread_s", "inference_images_per_s", "num_inferences"),
}
"""What each of the passes tells: median, interquartile range, throughput, and how often it was repeated."""
TIMED_PASSES = tuple(METRICS)


def timed_step(training: Training) -> float:
    """Seconds of one training step, from an idle device to an idle device."""
    return _timed(training.step, training.device)


def timed_inference(training: Training) -> float:
    """Seconds of one inference, likewise; the model is in evaluation mode afterwards."""
    training.model.eval()
    return _timed(training.infer, training.device)


def enough(step_seconds: Sequence[float]) -> bool:
    """Whether a case has been timed often enough."""
    if len(step_seconds) < MIN_STEPS:
        return False
    return len(step_seconds) >= MAX_STEPS or sum(step_seconds) >= ENOUGH_S


def time_measurements(
    step_seconds: Sequence[float], batch_size: int, pass_name: PassName = "time"
) -> list[Measurement]:
    """Median, interquartile range and throughput of the steps, or of the inferences."""
    median, spread, throughput, count = METRICS[pass_name]
    median_s = statistics.median(step_seconds)
    lower_s, _, upper_s = statistics.quantiles(step_seconds, n=4, method="inclusive")
    return [
        Measurement(metric=median, value=median_s, unit="s"),
        Measurement(metric=spread, value=upper_s - lower_s, unit="s"),
        Measurement(metric=throughput, value=batch_size / median_s, unit="1/s"),
        Measurement(metric=count, value=len(step_seconds), unit="1"),
    ]


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _synchronize(device)
    begin = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - begin


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
