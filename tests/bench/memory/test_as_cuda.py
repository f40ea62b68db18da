"""The trace of what CUDA does, against what PyTorch's allocator of the CPU records when the same things are done."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cpu_allocations import requested_peak
from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.memory import as_cuda
from revbench.bench.memory.as_cuda import DIFFERENCES, AsCuda, Difference, scratch_of_neurons
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.predict import effects, predict, predict_peak
from revbench.bench.memory.recorder import Recorder
from revbench.bench.memory.timeline import Timeline
from revbench.bench.training import Training, make_optimizer, prepare
from revbench.models.neurons import Dynamics, Rectangle, fused, kernels, native

SMALL = Case(model="msresnet", depth=1, width=8, timesteps=3, batch_size=4, device="fake")
SCALARS_BYTES = 256
"""Numbers of Python become tensors of 4 and 8 bytes on the CPU, a few at a time, which is no business of CUDA."""


def as_on_cuda(case: Case) -> Training:
    """The step on real tensors, with the optimizer that CUDA would take."""
    training = prepare(replace(case, device="cpu"))
    optimizer = make_optimizer(case.optimizer, training.model.parameters(), foreach=True)
    return replace(training, optimizer=optimizer)


@pytest.mark.parametrize(
    ("case", "differences"),
    [
        (replace(SMALL, width=16), {"neurons"}),
        (replace(SMALL, batch_size=1, optimizer="adamw"), {"neurons", "counters"}),
        (
            replace(SMALL, model="vggbn", width=16, timesteps=1, batch_size=1, optimizer="adamw"),
            {"optimizer", "counters"},
        ),
        (replace(SMALL, model="spikingformer", width=16), {"neurons"}),
        (replace(SMALL, model="vggbn", rule="sltt"), {"neurons"}),
        (replace(SMALL, model="vggsws", rule="ottt_a"), {"neurons"}),
        (replace(SMALL, model="spikingresnet"), {"neurons"}),
        (replace(SMALL, model="revsresnet", activations="stored"), set()),
    ],
    ids=lambda value: value.label() if isinstance(value, Case) else "",
)
def test_the_allocator_is_asked_for_what_was_predicted(
    case: Case, differences: set[Difference], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak of real tensors without any tracker, neurons and optimizer as on CUDA; each difference matters."""
    monkeypatch.setenv(native.SWITCH, "torch")
    monkeypatch.setattr(kernels, "SLICE_ELEMENTS", 1 << 40)
    real = requested_peak(lambda: as_on_cuda(case))
    prediction = predict(case)
    found = effects(prediction)
    on_the_cpu = -found.get("counters", 0)
    assert 0 <= real - prediction.requested_bytes - on_the_cpu <= SCALARS_BYTES
    assert {name for name, num_bytes in found.items() if num_bytes} == differences


def test_what_is_predicted_of_the_model_is_the_trace_where_nothing_differs() -> None:
    """With all differences undone the peak is that of the plain trace, and so is every kind."""
    for case in (SMALL, replace(SMALL, model="revsresnet", optimizer="adamw", dtype="bfloat16")):
        prediction = predict(case, frozenset(DIFFERENCES))
        assert prediction.peak == predict_peak(case)
        assert prediction.requested_bytes == predict_peak(case).total_bytes


def test_kinds_add_up_with_all_differences() -> None:
    """The tracker of the step and the recorder of everything see the same peak."""
    for case in (SMALL, replace(SMALL, optimizer="adamw"), replace(SMALL, rule="sltt")):
        prediction = predict(case)
        assert sum(prediction.peak.by_kind.values()) == prediction.peak.total_bytes == prediction.requested_bytes


def swept(dynamics: Dynamics, x: Tensor, before: Tensor | None) -> list[tuple[Any, tuple[Any, ...]]]:
    """The arguments with which the operators of both sweeps are called."""
    constants = (dynamics.leak, dynamics.input_scale, dynamics.threshold, dynamics.v_reset)
    backward = (x, x, *constants, dynamics.detach_reset, dynamics.surrogate.name, dynamics.surrogate.alpha)
    return [(fused._multi_step, (x, *constants, True, before)), (fused._multi_step_backward, backward)]


@pytest.mark.parametrize(
    "dynamics",
    [
        Dynamics(),
        Dynamics(leak=0.5, input_scale=0.5, v_reset=None),
        Dynamics(leak=0.5, v_reset=0.25, detach_reset=False),
        Dynamics(leak=0.5, v_reset=None, detach_reset=False, surrogate=Rectangle()),
    ],
    ids=["hard", "soft", "attached", "soft and attached"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("remembers", [False, True])
def test_scratch_of_neurons_is_what_their_operators_make(
    dynamics: Dynamics, dtype: torch.dtype, remembers: bool
) -> None:
    """Seen from one neuron and multiplied, or on the whole sequence: the same births and deaths."""
    x = torch.empty(3, 2, 5, 7, dtype=dtype, device="meta").transpose(2, 3)
    for operator, args in swept(dynamics, x, x[0] if remembers else None):
        found = scratch_of_neurons(operator, args)
        with as_cuda._OfMeta() as recorder:
            given = {recorder.declared(a) for a in args if isinstance(a, Tensor)}
            results = fused.FUNCTIONS[operator](*args)
            results = [results] if isinstance(results, Tensor) else list(results)
            kept = given | {recorder.declared(result) for result in results}
            seen = [delta for storage, delta in recorder.changes().tolist() if storage not in kept]
        assert found == seen
        assert sum(found) == 0
        assert max(np.cumsum(found)) >= 2 * 5 * 7 * x.itemsize


def test_scratch_of_no_neurons() -> None:
    """An empty batch makes nothing."""
    x = torch.empty(3, 0, 5, device="meta")
    for operator, args in swept(Dynamics(), x, None):
        assert scratch_of_neurons(operator, args) == []


def changes(make: Any, *, undone: frozenset[Difference] = frozenset()) -> list[int]:
    """The bytes of all changes that `make` makes on fake tensors."""
    with fake_world(), Recorder() as recorder:
        x = torch.zeros(256, requires_grad=True)
        begin = recorder.num_changes
        with AsCuda([recorder], undone):
            make(x)
        return [int(delta) for _, delta in recorder.changes()[begin:]]


def large(sizes: list[int]) -> int:
    """The most bytes that were alive at once."""
    return int(np.cumsum(sizes).max())


def test_gradients_that_meet_are_added_in_place() -> None:
    """Of three gradients of 1 KiB two are alive at a time; with sums beside their terms, three."""

    def three(x: Tensor) -> None:
        y = x * 1
        torch.autograd.grad([y * 2, y * 3, y * 4], [y], [torch.ones(256)] * 3)

    assert large(changes(three, undone=frozenset({"sums"}))) - large(changes(three)) == 1024


@pytest.mark.parametrize("shares", ["the same", "a view"])
def test_a_gradient_that_somebody_else_holds_is_left_alone(shares: str) -> None:
    """Autograd's engine adds beside it, here as there."""

    def shared(x: Tensor) -> None:
        y = x * 1
        gradient = torch.ones(256)
        twice = [y.view(256), y.view(256)] if shares == "a view" else [y, y]
        torch.autograd.grad(twice, [y], [gradient, gradient])

    assert changes(shared) == changes(shared, undone=frozenset({"sums"}))


def test_sums_that_a_model_writes_are_no_sums_of_gradients() -> None:
    """In a forward pass, and in the code of a backward pass."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return (grad * 1) + grad

    def run(x: Tensor) -> None:
        torch.autograd.grad([Doubled.apply(x) + Doubled.apply(x)], [x], [torch.ones(256)])

    both = [changes(run, undone=undone) for undone in (frozenset[Difference](), frozenset[Difference]({"sums"}))]
    assert both[0].count(1024) == both[1].count(1024) - 1  # the engine's alone


def test_numbers_are_not_changed_by_the_mode() -> None:
    """On real tensors gradients are those without it."""
    gradients = []
    for watched in (False, True):
        torch.manual_seed(0)
        training = prepare(replace(SMALL, device="cpu"))
        recorder = Recorder()
        if watched:
            with recorder, AsCuda([recorder], frozenset({"neurons"})):
                training.step()
        else:
            training.step()
        gradients.append([p.grad.clone() for p in training.model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(bool(gradient.any()) for gradient in gradients[0])


def test_cublas_is_asked_in_the_forward_and_in_the_backward_pass() -> None:
    """Once each, and not by a network of convolutions alone."""
    history = predict(SMALL).history
    first, second = history.first_products
    assert 0 < first < second < history.step_begin
    assert predict(replace(SMALL, model="trevsnn")).history.first_products == ()


def test_the_counters_of_adamw_are_off_the_card() -> None:
    """4 bytes a parameter, and nothing else."""
    case = replace(SMALL, optimizer="adamw")
    with_counters = predict(case, frozenset({"counters"}))
    without = predict(case)
    num_tensors = sum(1 for _ in prepare(replace(case, device="cpu")).model.parameters())

    def state(timeline: Timeline) -> int:
        return timeline.split_at(len(timeline.delta_bytes))["optimizer_state"]

    assert state(with_counters.timeline) - state(without.timeline) == 4 * num_tensors
    assert with_counters.requested_bytes - without.requested_bytes == 4 * num_tensors


def test_foreach_makes_the_square_roots_of_all_second_moments_at_once() -> None:
    """AdamW's temporaries in the optimizer's step are the size of the parameters; SGD's are none."""
    for optimizer, num_copies in (("adamw", 1), ("sgd", 0)):
        timeline = predict(replace(SMALL, optimizer=optimizer)).timeline  # type: ignore[arg-type]
        ends = {mark.phase: mark.num_changes for mark in timeline.phase_ends}
        in_optimizer = timeline.live_bytes(("temporaries",))[ends["backward"] : ends["optimizer"]]
        parameters = timeline.split_at(len(timeline.delta_bytes))["parameters"]
        assert max(in_optimizer, default=0) // parameters == num_copies
