"""The memory pass: the peak of one steady-state training step, under every counter that the device has."""

from revbench.bench.memory.attribute import Attributor
from revbench.bench.memory.cuda import measure_peaks
from revbench.bench.memory.places import Attribution
from revbench.bench.memory.timeline import ACTIVATION_KINDS, Timeline, activation_peak_bytes, peak, phase_end_splits
from revbench.bench.memory.tracker import Tracker
from revbench.bench.records import Measurement
from revbench.bench.training import Training, num_parameters

WARM_UP_STEPS = 1
"""After it, gradients and optimizer state exist: the next step is like all that follow."""


def trace(training: Training) -> Timeline:
    """The live bytes of one training step; in steady state if one was run before."""
    tracker = Tracker(training.model, training.optimizer, [training.batch.inputs, training.batch.targets])
    with tracker:
        training.step()
    return tracker.timeline()


def attribute(training: Training) -> Attribution:
    """The same with the layer and the timestep that every storage belongs to."""
    attributor = Attributor(training.model)
    tracker = Tracker(training.model, training.optimizer, [training.batch.inputs, training.batch.targets], attributor)
    with tracker:
        training.step()
    return attributor.attribution(tracker.timeline())


def traced_measurements(timeline: Timeline) -> list[Measurement]:
    """Peak, its parts, and the values at the ends of the phases, in bytes, under the counter `traced`."""
    highest = peak(timeline)
    found = {"peak_bytes": highest.total_bytes}
    found |= {f"peak_{kind}_bytes": num_bytes for kind, num_bytes in highest.by_kind.items()}
    found["activation_peak_bytes"] = activation_peak_bytes(timeline)
    for phase, split in phase_end_splits(timeline).items():
        found[f"{phase}_end_bytes"] = sum(split.values())
        if phase == "forward":
            found["forward_end_activation_bytes"] = sum(split[kind] for kind in ACTIVATION_KINDS)
    return [Measurement(metric=name, value=value, unit="B", counter="traced") for name, value in found.items()]


def model_measurements(training: Training) -> list[Measurement]:
    """Parameters, layers and blocks of the model."""
    counts = {
        "num_parameters": num_parameters(training.model),
        "num_layers": training.model.num_layers,
        "num_blocks": training.model.num_blocks,
    }
    return [Measurement(metric=name, value=value, unit="1") for name, value in counts.items()]


def memory_pass(training: Training) -> list[Measurement]:
    """All that the memory pass finds about a case.

    On CUDA the allocator's counters are read over a step without the tracker, which follows in a step of its own.
    """
    found = model_measurements(training)
    training.warm_up(WARM_UP_STEPS)
    if training.device.type == "cuda":
        found += measure_peaks(training.step, training.device)
    return found + traced_measurements(trace(training))
