"""The memory pass on the real networks: real and fake tensors agree, and the laws of growth hold to the byte."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from revbench.bench.cases import Case
from revbench.bench.memory.measure import memory_pass, trace
from revbench.bench.memory.predict import predict_peak
from revbench.bench.memory.timeline import ACTIVATION_KINDS, Timeline, activation_peak_bytes, peak, phase_end_splits
from revbench.bench.records import Measurement
from revbench.bench.training import prepare, world

SMALL = Case(model="revsresnet", depth=1, width=8, timesteps=2, batch_size=2)


def steady_timeline(case: Case) -> Timeline:
    with world(case):
        training = prepare(case)
        training.step()
        return trace(training)


def found(case: Case) -> dict[str, Measurement]:
    with world(case):
        return {m.metric: m for m in memory_pass(prepare(case))}


def activation_peak_at(depth: int, **changes: object) -> int:
    case = replace(SMALL, depth=depth, device="fake", **changes)  # type: ignore[arg-type]
    return activation_peak_bytes(steady_timeline(case))


@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        replace(SMALL, depth=3, timesteps=3),
        replace(SMALL, model="msresnet", depth=2),
        replace(SMALL, activations="stored"),
        replace(SMALL, optimizer="adamw"),
        replace(SMALL, dtype="float64"),
        replace(SMALL, dtype="bfloat16"),
        replace(SMALL, model="msresnet", dtype="bfloat16"),
        replace(SMALL, model="revsresnet_event", width=4),
        replace(SMALL, model="msresnet_event", width=4),
        Case(model="revsresnet21", timesteps=2, batch_size=1),
        Case(model="msresnet18", timesteps=2, batch_size=1),
    ],
    ids=lambda case: case.label(),
)
def test_real_and_fake_tensors_agree_to_the_byte(case: Case) -> None:
    """Every number of the memory pass is the same integer with and without arithmetic."""
    real, fake = found(case), found(replace(case, device="fake"))
    assert real == fake
    assert real["activation_peak_bytes"].value


def test_the_whole_timeline_agrees_with_fake_tensors() -> None:
    """Not only the peak: the live bytes after every change are the same, and so is their kind."""
    real, fake = steady_timeline(SMALL), steady_timeline(replace(SMALL, device="fake"))
    assert len(real.delta_bytes) > 500
    for kind in (*ACTIVATION_KINDS, "gradients"):
        assert real.live_bytes((kind,)).tolist() == fake.live_bytes((kind,)).tolist()  # type: ignore[arg-type]


def test_the_step_is_in_steady_state() -> None:
    """The third step is like the second; the first is not, since optimizer state is missing."""
    training = prepare(SMALL)
    first, second, third = (peak(trace(training)) for _ in range(3))
    assert second == third
    assert first.total_bytes < second.total_bytes


def test_a_step_leaves_nothing_behind() -> None:
    """After the step, live activation bytes are those of the returned loss alone."""
    timeline = steady_timeline(SMALL)
    assert timeline.live_bytes(ACTIVATION_KINDS)[-1] <= 8


@pytest.mark.parametrize("batch_size", [2, 32])
def test_reversible_activations_are_flat_in_depth_to_the_byte(batch_size: int) -> None:
    """The activation peak of the reversible network is one integer at every depth."""
    assert len({activation_peak_at(depth, batch_size=batch_size) for depth in (1, 2, 3, 5, 9)}) == 1


def test_stored_activations_are_affine_in_depth_to_the_byte() -> None:
    """The same weights with ordinary autograd grow by one integer with each block."""
    peaks = [activation_peak_at(depth, activations="stored") for depth in (2, 3, 4, 5)]
    assert len({after - before for before, after in pairwise(peaks)}) == 1
    assert peaks[1] > peaks[0]


def test_the_counterpart_is_affine_in_depth_to_the_byte() -> None:
    """MS-ResNet grows by one integer with each block in every stage."""
    peaks = [activation_peak_at(depth, model="msresnet") for depth in (2, 3, 4, 5)]
    assert len({after - before for before, after in pairwise(peaks)}) == 1
    assert peaks[1] > peaks[0]


def test_at_most_one_float_a_neuron_is_saved_beside_what_convolution_and_norm_save() -> None:
    """MS-ResNet's growth by a block: potential and spikes of two neurons, the input of two norms, and statistics."""
    batch_size, timesteps, width = 16, 2, 8
    case = replace(SMALL, model="msresnet", width=width, batch_size=batch_size, device="fake")
    ends = [phase_end_splits(steady_timeline(replace(case, depth=depth)))["forward"]["saved"] for depth in (2, 3)]
    neurons = sum(width * 2**stage * (32 // 2**stage) ** 2 for stage in range(4)) * batch_size * timesteps
    statistics = sum(2 * 2 * width * 2**stage for stage in range(4)) * 4
    assert ends[1] - ends[0] == 2 * 3 * 4 * neurons + statistics


def test_recomputation_is_a_kind_of_the_reversible_network_alone() -> None:
    """The split of the peak names the recomputed tensors."""
    assert found(SMALL)["peak_recomputation_bytes"].value
    assert found(replace(SMALL, activations="stored"))["peak_recomputation_bytes"].value == 0


def test_figures_of_the_full_networks_stay_below_their_limits() -> None:
    """RevSResNet37 at most 22 MiB of activations per image (its authors: 28.3), MS-ResNet34 at most 60 (89.7)."""
    limits = {"revsresnet37": 22, "msresnet34": 60}
    for model, limit in limits.items():
        case = Case(model=model, timesteps=4, batch_size=32, device="fake")
        per_image = activation_peak_bytes(steady_timeline(case)) / case.batch_size / 2**20
        assert limit / 2 < per_image <= limit


def test_the_memory_allocator_saw_what_the_tracker_saw() -> None:
    """An independent witness: torch's profiler counts what the CPU allocator hands out, scratch memory included.

    The tracker cannot see scratch memory within kernels, so the allocator's peak is higher, by a few percent here.
    """
    case = replace(SMALL, model="msresnet", width=16, depth=2, timesteps=4, batch_size=16)
    training = prepare(case)
    training.step()
    for parameter in training.model.parameters():
        parameter.grad = None
    traced = activation_peak_bytes(trace(training))
    training.optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        training.step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    live = torch.tensor([event.nbytes() for event in sorted(events, key=lambda e: e.start_ns())]).cumsum(0)
    allocated = int(live.max())
    assert 0.9 * allocated < traced <= allocated


def test_a_prediction_is_the_traced_peak() -> None:
    """`predict_peak` gives what the memory pass on real tensors gives."""
    assert predict_peak(SMALL).total_bytes == found(SMALL)["peak_bytes"].value


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_counters_stand_beside_the_traced_peak() -> None:
    """On CUDA: requested <= allocated <= reserved, and the traced peak is near what was requested."""
    case = replace(SMALL, model="msresnet", width=32, depth=2, batch_size=64, device="cuda")
    peaks = {m.counter: m.value for m in memory_pass(prepare(case)) if m.metric == "peak_bytes"}
    requested, allocated = peaks["cuda_requested"] or 0, peaks["cuda_allocated"] or 0
    assert 0 < requested <= allocated <= (peaks["cuda_reserved"] or 0)
    assert abs((peaks["traced"] or 0) - requested) < 0.1 * requested
