"""The tracker against sums made by hand, on small programs whose every tensor is known."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revbench.bench.memory.timeline import (
    ACTIVATION_KINDS,
    StorageKind,
    Timeline,
    activation_peak_bytes,
    peak,
    phase_end_splits,
)
from revbench.bench.memory.tracker import Tracker
from revbench.models import annotations
from revbench.models.networks.layers import AveragePool
from revbench.models.neurons import IF

KB = 1024
SIDE = 16
"""A square float32 matrix of this side is 1 KiB."""


def matrix() -> Tensor:
    return torch.randn(SIDE, SIDE)


class Nothing(nn.Module):
    """A model without parameters."""


def tracked(inputs: list[Tensor] | None = None, model: nn.Module | None = None) -> Tracker:
    model = model or Nothing()
    parameters = list(model.parameters()) or [nn.Parameter(torch.zeros(0))]
    return Tracker(model, torch.optim.SGD(parameters, lr=0.1), inputs or [])


def alive(timeline: Timeline, *kinds: StorageKind) -> int:
    return int(timeline.live_bytes(kinds or ACTIVATION_KINDS)[-1])


def test_every_operator_result_is_counted_from_birth_to_death() -> None:
    """Three matrices one after the other, of which two are alive together."""
    x = matrix()
    with tracked([x]) as tracker:
        a = x + 1
        b = a * 2
        del a
        c = b * 2
        del b
    timeline = tracker.timeline()
    assert activation_peak_bytes(timeline) == 2 * KB
    assert alive(timeline) == KB
    assert alive(timeline, "inputs") == KB
    assert c.numel()


def test_views_and_in_place_operators_count_once() -> None:
    """Many views of one storage are one storage, which lives as long as the last of them."""
    with tracked() as tracker:
        a = matrix()
        views = [a.view(-1), a.t(), a[1:], a.unsqueeze(0), a.detach(), a.expand(3, SIDE, SIDE), *a.unbind(0)]
        a.add_(1).relu_()
        del a
        assert alive(tracker.timeline()) == KB
        del views
    assert activation_peak_bytes(tracker.timeline()) == KB
    assert alive(tracker.timeline()) == 0


def test_results_in_lists_and_given_as_out_are_seen() -> None:
    """Operators with several results, and those that write where they are told."""
    x = matrix()
    with tracked([x]) as tracker:
        values, indices = x.sort()
        out = torch.empty(SIDE, SIDE)
        torch.add(x, 1, out=out)
        parts = torch._foreach_add([x, x], 1.0)
    assert alive(tracker.timeline()) == KB + 2 * KB + KB + 2 * KB
    assert (values.numel(), indices.numel(), len(parts)) == (SIDE * SIDE, SIDE * SIDE, 2)


def test_a_storage_that_is_resized_changes_its_size() -> None:
    """Resizing by an operator, and of the storage itself (which is no operator)."""
    with tracked() as tracker:
        a = matrix()
        a.resize_(2 * SIDE, SIDE)
        assert alive(tracker.timeline()) == 2 * KB
        a.untyped_storage().resize_(0)
        assert alive(tracker.timeline()) == 0
        a.untyped_storage().resize_(3 * KB)
        assert alive(tracker.timeline()) == 3 * KB
    assert activation_peak_bytes(tracker.timeline()) == 3 * KB


def test_resizes_are_not_observed_after_the_tracker() -> None:
    """The method of torch is as before once the tracker has ended."""
    before = torch.UntypedStorage.resize_
    with tracked():
        assert torch.UntypedStorage.resize_ is not before
    assert torch.UntypedStorage.resize_ is before


def test_what_the_graph_holds_is_saved_and_goes_in_the_backward_pass() -> None:
    """`exp` saves its result, `mul` both factors; all of it is gone after the backward pass."""
    x = matrix().requires_grad_()
    with tracked([x]) as tracker:
        with annotations.phase("forward"):
            y = x.exp()
            loss = (y * y.exp()).sum()
            del y
        with annotations.phase("backward"):
            loss.backward()
        del loss
    timeline = tracker.timeline()
    ends = phase_end_splits(timeline)
    assert ends["forward"]["saved"] == 2 * KB + 4
    assert ends["backward"]["saved"] == 4
    assert alive(timeline, "saved") == 0


def test_tensors_saved_by_a_custom_function_and_kept_as_an_attribute_are_saved() -> None:
    """Whatever survives the forward pass counts, also where hooks for saved tensors see nothing."""

    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x + 1)
            ctx.hidden = x + 2
            return x + 3

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0] * ctx.saved_tensors[0] * ctx.hidden

    x = matrix().requires_grad_()
    with tracked([x]) as tracker:
        with annotations.phase("forward"):
            loss: Tensor = Keeps.apply(x).sum()
        with annotations.phase("backward"):
            loss.backward()
    assert phase_end_splits(tracker.timeline())["forward"]["saved"] == 2 * KB + 4


def test_activation_checkpointing_is_seen_to_store_less_and_compute_again() -> None:
    """PyTorch's own checkpointing under the tracker: fewer bytes at the end of the forward pass."""

    def run(checkpointed: bool) -> Timeline:
        x = matrix().requires_grad_()

        def layers(x: Tensor) -> Tensor:
            return x.exp().exp().exp().exp()

        with tracked([x]) as tracker:
            with annotations.phase("forward"):
                y = checkpoint(layers, x, use_reentrant=False) if checkpointed else layers(x)
                loss = y.sum()
                del y
            with annotations.phase("backward"):
                loss.backward()
        return tracker.timeline()

    assert phase_end_splits(run(False))["forward"]["saved"] == 4 * KB + 4
    assert phase_end_splits(run(True))["forward"]["saved"] == 4
    assert activation_peak_bytes(run(True)) >= 4 * KB


def test_every_kind_of_a_training_step_of_a_linear_layer() -> None:
    """Parameters, gradients, optimizer state, buffers, inputs: sizes known by arithmetic."""
    model = nn.Sequential(nn.Linear(SIDE, SIDE, bias=False), nn.BatchNorm1d(SIDE))
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    x = torch.randn(8, SIDE)

    def train() -> None:
        optimizer.zero_grad()
        with annotations.phase("forward"):
            loss = model(x).square().sum()
        with annotations.phase("backward"):
            loss.backward()
        with annotations.phase("optimizer"):
            optimizer.step()

    train()
    with Tracker(model, optimizer, [x]) as tracker:
        train()
    timeline = tracker.timeline()
    ends = phase_end_splits(timeline)
    parameter_bytes = KB + 2 * SIDE * 4
    assert ends["forward"]["parameters"] == parameter_bytes
    assert ends["forward"]["gradients"] == 0
    assert ends["backward"]["gradients"] == parameter_bytes
    assert ends["optimizer"]["optimizer_state"] == 2 * parameter_bytes + 3 * 4
    assert ends["forward"]["buffers"] == 2 * SIDE * 4 + 8
    assert ends["forward"]["inputs"] == 8 * SIDE * 4
    assert sum(peak(timeline).by_kind.values()) == peak(timeline).total_bytes


def test_state_that_the_optimizer_makes_in_the_step_is_optimizer_state() -> None:
    """The first step creates the momentum, which is then no temporary."""
    model = nn.Linear(SIDE, SIDE, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Tracker(model, optimizer, []) as tracker:
        model(matrix()).sum().backward()
        optimizer.step()
    assert alive(tracker.timeline(), "optimizer_state") == KB


def test_declared_kinds_count_where_nothing_else_does() -> None:
    """The innermost declaration of the code that makes a tensor gives its kind."""
    with tracked() as tracker:
        with annotations.kind("recomputation"):
            a = matrix()
            with annotations.kind("neuron_state"):
                b = matrix()
        c = matrix()
    timeline = tracker.timeline()
    assert [alive(timeline, kind) for kind in ("recomputation", "neuron_state", "temporaries")] == [KB, KB, KB]
    assert a.shape == b.shape == c.shape


def test_the_potential_of_a_neuron_is_neuron_state() -> None:
    """What a neuron carries from one timestep to the next has a kind of its own: here one matrix and no more."""
    x, neuron = matrix() + 0.5, IF()
    with tracked([x]) as tracker, torch.no_grad():
        v = None
        for _ in range(3):
            _, v = neuron.single_step(x, v)
    assert alive(tracker.timeline(), "neuron_state") == KB
    assert v is not None


def test_a_model_called_once_per_timestep() -> None:
    """An outer loop over time: the graph grows by the same bytes each timestep, and shared weights count once."""
    layer, neuron = nn.Linear(SIDE, SIDE, bias=False), IF()

    def run(timesteps: int) -> Timeline:
        x = matrix()
        with Tracker(layer, torch.optim.SGD(layer.parameters(), lr=0.1), [x]) as tracker:
            with annotations.phase("forward"):
                v, total = None, torch.zeros(())
                for _ in range(timesteps):
                    spikes, v = neuron.single_step(layer(x), v)
                    total = total + spikes.sum()
            with annotations.phase("backward"):
                total.backward()
        layer.weight.grad = None
        return tracker.timeline()

    saved = [phase_end_splits(run(timesteps))["forward"]["saved"] for timesteps in (2, 3, 4, 5)]
    growth = {after - before for before, after in pairwise(saved)}
    assert len(growth) == 1
    assert growth.pop() > 0
    assert phase_end_splits(run(5))["backward"]["parameters"] == KB


def test_gradients_that_are_accumulated_keep_their_kind() -> None:
    """A second backward pass adds to the gradient in place: one set of gradients, no more."""
    layer = nn.Linear(SIDE, SIDE, bias=False)
    with Tracker(layer, torch.optim.SGD(layer.parameters(), lr=0.1), []) as tracker:
        for _ in range(3):
            layer(matrix()).sum().backward()
    assert alive(tracker.timeline(), "gradients") == KB


def test_an_exception_ends_the_tracker_cleanly() -> None:
    """Hooks, listeners and the mode are gone after an error inside."""
    layer = nn.Linear(2, 2)
    tracker = tracked(model=layer)
    with pytest.raises(ZeroDivisionError), tracker:
        _ = 1 / 0
    before = len(tracker.timeline().delta_bytes)
    with annotations.phase("forward"):
        layer(torch.ones(1, 2)).sum().backward()
    assert len(tracker.timeline().delta_bytes) == before
    assert not tracker.timeline().phase_ends


def test_deaths_after_the_tracker_are_not_noted() -> None:
    """What outlives the tracker stays alive in its timeline."""
    with tracked() as tracker:
        a = matrix()
    del a
    assert alive(tracker.timeline()) == KB


def test_the_average_pool_keeps_its_input_alive_in_no_way() -> None:
    """After the forward pass only the pooled frames are left, neither saved nor kept as an attribute."""
    x = torch.randn(1, 1, SIDE, SIDE, requires_grad=True)
    with tracked([x]) as tracker, annotations.phase("forward"):
        spikes = x * 1
        pooled = AveragePool(3, stride=2, padding=1)(spikes)
        del spikes
    assert phase_end_splits(tracker.timeline())["forward"]["saved"] == pooled.nbytes == KB // 4
