"""The published code's buffers: the values of the lean networks, and the bytes of RevSNN's own code."""

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from revbench.bench.cases import Case
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import ACTIVATION_KINDS, KINDS, Timeline
from revbench.bench.memory.tracker import Tracker
from revbench.bench.training import Training
from revbench.models import annotations, registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.msresnet import msresnet, msresnet_events
from revbench.models.networks.published import release
from revbench.models.networks.revsformer import revsformer, revsformer_events
from revbench.models.networks.revsresnet import RevSResNet, revsresnet, revsresnet_events
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.spikingformer import spikingformer, spikingformer_events
from revbench.models.neurons import IF, LIF, Neuron
from revbench.models.neurons.published import PublishedNeuron
from revbench.models.reversible import ReversibleSequence
from revbench.models.rules import BPTT

Build = Callable[..., SpikingNetwork]
MIB = 2**20

SMALL: dict[str, Build] = {
    "msresnet": partial(msresnet, [1, 1, 1, 1], width=8),
    "revsresnet": partial(revsresnet, [1, 2, 1, 1], width=8),
    "msresnet_events": partial(msresnet_events, [1, 1, 1], width=8),
    "revsresnet_events": partial(revsresnet_events, [2, 1, 1], width=8),
    "spikingformer": partial(spikingformer, 2, width=16, num_heads=2),
    "revsformer": partial(revsformer, 2, width=16, num_heads=2),
    "spikingformer_events": partial(spikingformer_events, 2, width=16, num_heads=2, image_size=64),
    "revsformer_events": partial(revsformer_events, 2, width=16, num_heads=2, image_size=64),
}
REVERSIBLE = [name for name in SMALL if name.startswith("rev")]


def pair(name: str, **options: Any) -> tuple[SpikingNetwork, SpikingNetwork]:
    """The lean network and the same with the published buffers, in float64, with batch norms that let them fire."""
    lean, published = (
        SMALL[name](timesteps=3, published_buffers=on, **options).to(torch.float64) for on in (False, True)
    )
    for module in lean.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2)
            nn.init.uniform_(module.bias, -0.5, 1.5)
    published.load_state_dict(lean.state_dict())
    return lean, published


def training_of(network: SpikingNetwork, batch_size: int) -> Training:
    """A training step of that network."""
    shape, dtype = network.input_shape, next(network.parameters()).dtype
    batch = synthetic_batch(
        shape, batch_size=batch_size, timesteps=network.timesteps, num_classes=network.num_classes, dtype=dtype
    )
    return Training(Case(model="any"), network, BPTT(), batch, SGD(network.parameters(), lr=0.01, momentum=0.9))


def held_bytes(module: nn.Module) -> int:
    """What the neurons inside hold until they are released."""
    return sum(part.held_bytes for part in module.modules() if isinstance(part, PublishedNeuron))


# ---------------------------------------------------------------------------------------------- values and gradients


def outcome(network: SpikingNetwork, x: Tensor) -> list[Tensor]:
    """Logits and all gradients, the input's among them."""
    leaf = x.clone().requires_grad_()
    logits = network(leaf)
    (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    grads = [leaf.grad, *(parameter.grad for parameter in network.parameters())]
    return [logits.detach(), *(grad for grad in grads if grad is not None)]


def firing_rates(network: SpikingNetwork, x: Tensor) -> list[float]:
    """The share of ones in every output of a neuron layer."""
    rates: list[float] = []
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.mean())))
    with torch.no_grad():
        network(x)
    return rates


@pytest.mark.parametrize("name", SMALL)
def test_values_and_gradients_are_those_of_the_lean_network(name: str) -> None:
    """Bit for bit in the residual networks; in the transformers, which sum in another order, to 1e-12."""
    lean, published = pair(name)
    assert {type(m) for m in published.modules() if isinstance(m, Neuron)} == {PublishedNeuron}
    x = training_of(lean, 2).batch.inputs
    expected, found = outcome(lean, x), outcome(published, x)
    assert len(found) == len(expected) > 10
    for a, b in zip(expected, found, strict=True):
        if "resnet" in name:
            assert torch.equal(a, b)
        else:
            assert torch.allclose(a, b, rtol=0, atol=1e-12 * float(max(1, a.abs().max())))
    assert all(0.01 < rate < 0.99 for rate in firing_rates(published, x))


@pytest.mark.parametrize("name", REVERSIBLE)
def test_stored_activations_have_the_buffers_too(name: str) -> None:
    """Without recomputation the values are the same, and a sequence is like all else: held until the step's end."""
    lean, published = pair(name, activations="stored")
    x = training_of(lean, 2).batch.inputs
    for a, b in zip(outcome(lean, x), outcome(published, x), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12 * float(max(1, a.abs().max())))
    assert all(held_bytes(part) > 0 for part in published.modules() if isinstance(part, ReversibleSequence))


@pytest.mark.parametrize("neuron", [IF(), LIF(tau=1.5), LIF(v_reset=None, detach_reset=False)], ids=str)
def test_a_layer_computes_what_the_fused_neuron_computes(neuron: Neuron) -> None:
    """Spikes and gradients, for all dynamics, of inputs that are parts of other tensors as well."""
    for x in (torch.randn(4, 3, 5), torch.randn(4, 3, 10)[..., ::2]):
        results = []
        for layer in (neuron, PublishedNeuron(neuron.dynamics)):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            spikes = layer(leaf)
            assert 0.05 < float(spikes.mean()) < 0.95
            results.append([spikes, *torch.autograd.grad((spikes * x).sum(), leaf)])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# ------------------------------------------------------------------------------------------------- bytes of one layer


def test_bytes_of_a_layer_by_hand() -> None:
    """3 T N of the work buffer, (T + 1) N and N of the attributes; zeros of T N beside the gradient in backward."""
    T, N = 4, 3 * 256
    x = torch.randn(T, 3, 256, requires_grad=True)
    neuron, dummy = PublishedNeuron(IF().dynamics), nn.Linear(1, 1)
    tracker = Tracker(dummy, SGD(dummy.parameters(), lr=0.1), [x])
    with tracker:
        with annotations.phase("forward"):
            spikes = neuron(x)
        gradient = torch.ones_like(spikes)
        with annotations.phase("backward"):
            (found,) = torch.autograd.grad(spikes, x, gradient)
        assert spikes.untyped_storage().nbytes() == 3 * T * N * 4
        del spikes, gradient, found
        with annotations.phase("optimizer"):
            neuron.release()
    timeline = tracker.timeline()
    forward, backward, optimizer = (timeline.split_at(mark.num_changes) for mark in timeline.phase_ends)
    assert forward["saved"] == 3 * T * N * 4
    assert forward["neuron_state"] == backward["neuron_state"] == ((T + 1) * N + N) * 4
    assert optimizer["saved"] == optimizer["neuron_state"] == optimizer["temporaries"] == 0
    during = slice(timeline.phase_ends[0].num_changes, timeline.phase_ends[1].num_changes)
    assert timeline.live_bytes(("temporaries",))[during].max() == 3 * T * N * 4  # of spikes, v_seq and the input


def test_bytes_of_a_layer_without_gradients() -> None:
    """The buffer has no part for the potential before the reset: 2 T N, also where the input is a parameter's child."""
    T, N = 4, 3 * 256
    neuron = PublishedNeuron(IF().dynamics)
    with torch.no_grad():
        spikes = neuron(torch.randn(T, 3, 256, requires_grad=True))
    assert spikes.untyped_storage().nbytes() == 2 * T * N * 4
    assert neuron(torch.randn(T, 3, 256)).untyped_storage().nbytes() == 2 * T * N * 4
    assert neuron.held_bytes == 2 * ((T + 1) * N + N) * 4


# --------------------------------------------------------------------------------------------- when the buffers go


def test_a_sequence_is_reset_at_its_end_and_in_backward_after_each_function() -> None:
    """In forward all functions hold until the last was evaluated; in backward one function holds, to its very end."""
    _, network = pair("revsresnet")
    assert isinstance(network, RevSResNet)
    sequence = network.stages[1]
    assert isinstance(sequence, ReversibleSequence)
    of_one = 2 * (3 + 1 + 1) * (2 * 16 * 16 * 16) * 8  # two neurons, T = 3, two samples of 16 channels
    held: dict[str, list[int]] = {"forward": [], "before": [], "evaluated": [], "backward": []}

    def note(when: str) -> None:
        held[when].append(held_bytes(sequence))

    def before(_function: nn.Module, _sources: Any) -> None:
        note("before" if torch.is_grad_enabled() else "forward")

    def evaluated(_function: nn.Module, _sources: Any, _value: Tensor) -> None:
        if torch.is_grad_enabled():
            note("evaluated")

    def spiked(_neuron: nn.Module, _inputs: Any, spikes: Tensor) -> None:
        if torch.is_grad_enabled():
            spikes.register_hook(lambda _: note("backward"))

    for function in sequence.functions:
        function.register_forward_pre_hook(before)
        function.register_forward_hook(evaluated)
        function.get_submodule("first_neuron").register_forward_hook(spiked)
    training = training_of(network, 2)
    loss = network.loss(network(training.batch.inputs), training.batch.targets)
    assert all(held_bytes(stage) == 0 for stage in network.stages)
    assert held_bytes(network.downsamplings) > 0
    loss.backward()
    assert held == {
        "forward": [0, of_one, 2 * of_one, 3 * of_one],
        "before": [0] * 4,
        "evaluated": [of_one] * 4,
        "backward": [of_one] * 4,
    }
    assert all(held_bytes(stage) == 0 for stage in network.stages)
    assert held_bytes(network.downsamplings) > 0


@pytest.mark.parametrize("name", ["msresnet", "revsformer"])
def test_the_buffers_of_a_step_go_before_the_next(name: str) -> None:
    """After each step the same is held; what the trainer's reset leaves is nothing."""
    _, network = pair(name)
    training = training_of(network, 2)
    training.step()
    held = held_bytes(network)
    assert held > 0
    seen: list[int] = []
    next(network.children()).register_forward_pre_hook(lambda *_: seen.append(held_bytes(network)))
    training.step()
    assert seen[0] == 0
    assert held_bytes(network) == held
    release(network)
    assert held_bytes(network) == 0


@pytest.mark.parametrize("name", ["msresnet", "revsresnet", "revsformer"])
def test_copies_hold_nothing(name: str) -> None:
    """A deep copy begins without buffers, leaves the original's alone, and its state is that of a lean network."""
    lean, network = pair(name)
    x = training_of(network, 2).batch.inputs
    network(x)
    held = held_bytes(network)
    twin = copy.deepcopy(network)
    assert held_bytes(twin) == 0
    assert twin.state_dict().keys() == network.state_dict().keys() == lean.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(outcome(twin, x), outcome(network, x), strict=True))
    release(twin)
    assert (held_bytes(twin), held_bytes(network)) == (0, held)


# -------------------------------------------------------------------------------------------------- the figures


def steady_step(build: Build, batch_size: int, *, fake: bool = True) -> Timeline:
    """The timeline of the second training step."""
    torch.manual_seed(0)
    if not fake:
        training = training_of(build(), batch_size)
        training.warm_up(1)
        return trace(training)
    with fake_world():
        return steady_step(build, batch_size, fake=False)


@pytest.mark.parametrize("name", SMALL)
def test_fake_bytes_are_real_bytes(name: str) -> None:
    """At every moment, by kind."""
    build = partial(SMALL[name], timesteps=2, published_buffers=True)
    real, fake = (steady_step(build, 1, fake=fake) for fake in (False, True))
    for kind in KINDS:
        assert np.array_equal(real.live_bytes((kind,)), fake.live_bytes((kind,)))


BATCH_SIZE = 8
PEAKS = {  # MiB per image at the end of forward and at the peak, of the published code (specification, section 6)
    "msresnet18": (54.76, 55.3),
    "revsresnet21": (23.56, 28.3),
    "msresnet34": (89.13, 89.7),
    "revsresnet37": (23.56, 28.3),
    "spikingformer2_384": (82.92, 89.7),
    "revsformer2_384": (41.68, 60.4),
    "spikingformer4_384": (124.93, 131.7),
    "revsformer4_384": (41.68, 71.7),
}


@cache
def end_and_peak(name: str) -> tuple[float, float]:
    """Activation bytes per image of a registered model: at the end of forward, at the peak; hardly moved by the batch.

    The name may stand for a network with the published buffers that is not registered.
    """
    return activations(partial(registry.build, f"{name}_published", timesteps=4), BATCH_SIZE)


def activations(build: Build, batch_size: int) -> tuple[float, float]:
    """Activation bytes per image, at the end of forward and at the peak."""
    timeline = steady_step(build, batch_size)
    live = timeline.live_bytes(ACTIVATION_KINDS)
    return live[timeline.phase_ends[0].num_changes - 1] / batch_size, live.max() / batch_size


@pytest.mark.parametrize("name", PEAKS)
def test_figures_of_the_published_code(name: str) -> None:
    """The end of forward is met to a thousandth, the peak to 5 %."""
    end, peak = PEAKS[name]
    found_end, found_peak = end_and_peak(name)
    assert found_end / MIB == pytest.approx(end, rel=1e-3)
    assert found_peak / MIB == pytest.approx(peak, rel=0.05)


def test_figures_of_the_deepest_network() -> None:
    """RevSResNet109, whose peak is in the forward pass: 46.0 MiB per image at batch 4."""
    end, peak = activations(partial(revsresnet, [2, 4, 16, 4], timesteps=4, published_buffers=True), 4)
    assert end / MIB == pytest.approx(23.56, rel=1e-3)
    assert peak / MIB == pytest.approx(46.0, rel=0.05)


@pytest.mark.parametrize(
    ("name", "at_end", "at_peak"),
    [
        ("revsresnet21", 2.32, 1.95),
        ("revsresnet37", 3.78, 3.17),
        ("revsformer2_384", 1.99, 1.48),
        ("revsformer4_384", 3.00, 1.84),
    ],
)
def test_ratios_of_the_published_code(name: str, at_end: float, at_peak: float) -> None:
    """The printed 3.79 and 3.00 are reached at the end of forward, and not at the peak."""
    counterpart = registry.entries()[f"{name}_published"].counterpart
    assert counterpart is not None
    above, below = end_and_peak(counterpart.removesuffix("_published")), end_and_peak(name)
    assert above[0] / below[0] == pytest.approx(at_end, rel=3e-3)
    assert above[1] / below[1] == pytest.approx(at_peak, rel=0.05)


@pytest.mark.parametrize(
    ("build", "bytes_per_block"),
    [
        # T = 4: 6 numbers held a neuron; four layers of 64x32x32 neurons; ten of 384x8x8, the hidden one counted as 4
        (lambda depth, **options: revsresnet([depth, 1, 1, 1], timesteps=4, **options), 4 * 6 * 64 * 32 * 32 * 4),
        (lambda depth, **options: revsformer(depth, timesteps=4, **options), 10 * 6 * 384 * 8 * 8 * 4),
    ],
    ids=["revsresnet", "revsformer"],
)
def test_the_peak_grows_with_depth(build: Build, bytes_per_block: int) -> None:
    """6 MiB per image and block of 64 channels, 5.6 per block of the transformer; nothing by default."""
    depths = (4, 6)
    with_buffers = [activations(partial(build, depth, published_buffers=True), BATCH_SIZE) for depth in depths]
    lean = [activations(partial(build, depth), BATCH_SIZE) for depth in depths]
    assert with_buffers[1][1] - with_buffers[0][1] == 2 * bytes_per_block
    assert with_buffers[1][0] == with_buffers[0][0]
    assert lean[1] == lean[0]
