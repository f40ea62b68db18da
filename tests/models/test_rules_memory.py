"""What the rules keep, in bytes: constant in timesteps or not, with depth in reversible networks, and as published.

Networks of full size on fake tensors; their peaks are those of real ones.
"""

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from online_networks import BUILDERS, EVENT_BUILDERS, small_revsresnet
from torch import nn
from torch.optim import SGD

from revbench.bench.cases import Case
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import (
    KINDS,
    Timeline,
    activation_peak_bytes,
    peak,
    phase_end_splits,
)
from revbench.bench.training import Training
from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.layers import convolution_and_norm
from revbench.models.networks.msresnet import cifar_neuron
from revbench.models.networks.resnet19 import SpikingResNet
from revbench.models.networks.revsformer import revsformer
from revbench.models.networks.revsresnet import RevSResNet
from revbench.models.networks.spiking import CIFAR, SpikingNetwork
from revbench.models.networks.spiking_vgg import vgg_bn_events
from revbench.models.rules import make_rule

Build = Callable[..., SpikingNetwork]

FAMILIES: dict[str, Build] = {
    **BUILDERS,
    **EVENT_BUILDERS,
    "vggbn_events": partial(vgg_bn_events, [1, 1, 1, 1, 1], width=4, image_size=32),
    "spikingresnet": partial(SpikingResNet, [1, 1, 1], width=4),
}
WITHOUT_INPUTS = tuple(kind for kind in KINDS if kind != "inputs")


def steady_step(build: Build, rule: str, *, batch_size: int, fake: bool = False) -> Timeline:
    """The timeline of the second training step, with SGD and momentum; on fake tensors if they are large."""
    torch.manual_seed(0)
    random.seed(0)
    with fake_world() if fake else nullcontext():
        network = build()
        batch = synthetic_batch(
            network.input_shape,
            batch_size=batch_size,
            timesteps=network.timesteps,
            num_classes=network.num_classes,
        )
        case = Case(model="any", device="fake" if fake else "cpu")
        optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9)
        training = Training(case, network, make_rule(rule), batch, optimizer)
        training.warm_up(1)
        return trace(training)


def peaks(name: str, rule: str, timesteps: tuple[int, ...], batch_size: int = 8) -> list[int]:
    """The largest live bytes beside the input itself, of a small network of a family, for several T."""
    steps = [steady_step(partial(FAMILIES[name], timesteps=T), rule, batch_size=batch_size) for T in timesteps]
    return [int(step.live_bytes(WITHOUT_INPUTS).max()) for step in steps]


# ---------------------------------------------------------------------------------------------- growth with timesteps


@pytest.mark.parametrize("rule", ["sltt", "ottt_a", "ottt_o"])
@pytest.mark.parametrize("name", FAMILIES)
def test_rules_of_single_timesteps_are_constant_in_timesteps(name: str, rule: str) -> None:
    """I14: to the byte, from the second timestep on, in which gradients exist before the forward pass."""
    two, five = peaks(name, rule, (2, 5))
    assert two == five > 0


@pytest.mark.parametrize(("rule", "timesteps"), [("sltt-2", (2, 5)), ("sltt-3", (4, 6)), ("tbptt-2", (4, 8))])
@pytest.mark.parametrize("name", ["vggsws", "vggbn_events", "revsformer"])
def test_parts_of_a_length_are_constant_in_timesteps(name: str, rule: str, timesteps: tuple[int, int]) -> None:
    """Truncated BPTT from its second part on, SLTT-K from T = K on."""
    fewer, more = peaks(name, rule, timesteps)
    assert fewer == more > 0


@pytest.mark.parametrize("name", ["vggsws", "vggbn_events", "nfresnet", "revsresnet", "revsformer", "sdt"])
def test_bptt_is_affine_in_timesteps(name: str) -> None:
    """I14: to the byte, and by much; truncated BPTT lies between it and SLTT."""
    five, six, eight = peaks(name, "bptt", (5, 6, 8), batch_size=16)
    assert eight - six == 2 * (six - five) > 0
    (sltt,), (truncated,) = (peaks(name, rule, (4,), batch_size=16) for rule in ("sltt", "tbptt-2"))
    assert sltt < truncated < five


@pytest.mark.parametrize("name", ["vggsws", "vggbn_events", "preactresnet"])
def test_what_is_remembered_is_what_is_kept_anyway(name: str) -> None:
    """The potential that goes on to the next timestep is the one that the backward pass of this one reads."""
    steps = [steady_step(partial(FAMILIES[name], timesteps=1), rule, batch_size=8) for rule in ("bptt", "sltt")]
    bptt, sltt = (phase_end_splits(step)["forward"] for step in steps)
    assert bptt["saved"] == sltt["saved"] > 0
    assert bptt["neuron_state"] == sltt["neuron_state"] == 0


@pytest.mark.parametrize("name", ["vggsws_events", "vggbn_events"])
def test_the_input_itself_is_all_that_grows(name: str) -> None:
    """Event frames are there from the beginning: the whole peak of SLTT grows by their bytes."""
    found = []
    for T in (2, 5):
        step = steady_step(partial(FAMILIES[name], timesteps=T), "sltt", batch_size=8)
        found.append((peak(step).total_bytes, peak(step).by_kind["inputs"]))
    (two, input_of_two), (five, input_of_five) = found
    shape = FAMILIES[name](timesteps=1).input_shape
    assert five - two == input_of_five - input_of_two == 3 * 8 * shape.channels * shape.height * shape.width * 4


@pytest.mark.parametrize("rule", ["tbptt-2", "sltt-1", "ottt_a"])
@pytest.mark.parametrize("name", ["vggsws", "preactresnet", "revsresnet"])
def test_peaks_of_fake_tensors_are_those_of_real_ones(name: str, rule: str) -> None:
    """To the byte, by kind."""
    build = partial(FAMILIES[name], timesteps=2)
    real, fake = (peak(steady_step(build, rule, batch_size=2, fake=fake)) for fake in (False, True))
    assert real == fake


# ------------------------------------------------------------------------------- growth with depth, where it is undone


def deep_revsresnet(depth: int, **options: Any) -> RevSResNet:
    """Two stages of 4 and 8 channels, of which the first has that many blocks."""
    return RevSResNet(
        blocks=[depth, 1],
        widths=[4, 8],
        stem=convolution_and_norm(CIFAR.channels, 8),
        neuron=cifar_neuron,
        input_shape=replace(CIFAR, height=16, width=16),
        num_classes=10,
        **options,
    )


def deep_revsformer(depth: int, **options: Any) -> SpikingNetwork:
    """Blocks of 16 channels over 4x4 tokens of 16x16 images."""
    return revsformer(depth, width=16, num_heads=2, image_size=16, **options)


REVERSIBLE = {  # numbers a sample and block: of neurons, of what convolutions read
    "revsresnet": (deep_revsresnet, 4 * 4 * 16 * 16, 4 * 4 * 16 * 16),
    "revsformer": (deep_revsformer, (5 + 5) * 16 * 4 * 4, (4 + 5) * 16 * 4 * 4),
}


def growth(build: Build, rule: str, activations: str) -> int:
    """Bytes by which the peak of the activations grows from two blocks to four."""
    shallow, deep = (
        activation_peak_bytes(
            steady_step(partial(build, depth, timesteps=2, activations=activations), rule, batch_size=32)
        )
        for depth in (2, 4)
    )
    return deep - shallow


@pytest.mark.parametrize("name", REVERSIBLE)
def test_a_reversible_network_keeps_the_state_of_its_neurons(name: str) -> None:
    """With depth, SLTT keeps one float a neuron; OTTT the traces too; both less than activations that are stored.

    The gradients of a timestep are found for the whole sequence before they are added to those of the one before.
    Where there are none before (OTTT_O), the states are all.
    """
    build, neurons, read = REVERSIBLE[name]
    state, traces = 2 * 32 * 4 * neurons, 2 * 32 * 4 * read
    gradients = num_bytes(build(4, timesteps=1)) - num_bytes(build(2, timesteps=1))
    assert growth(build, "bptt", "recomputed") == 0
    assert growth(build, "sltt", "recomputed") == state + gradients < growth(build, "sltt", "stored")
    assert growth(build, "ottt_o", "recomputed") == state + traces < growth(build, "ottt_o", "stored")


def num_bytes(network: nn.Module) -> int:
    """Of the parameters."""
    return sum(parameter.nbytes for parameter in network.parameters())


@pytest.mark.parametrize("rule", ["sltt", "ottt_a", "ottt_o", "tbptt-2"])
def test_recomputation_takes_less_than_storing(rule: str) -> None:
    """For the whole step of a reversible network."""
    stored, recomputed = (
        activation_peak_bytes(
            steady_step(partial(small_revsresnet, timesteps=4, activations=activations), rule, batch_size=32)
        )
        for activations in ("stored", "recomputed")
    )
    assert recomputed < stored


# ----------------------------------------------------------------------------------------- as published, at full size

MB = 10**6
TIMESTEPS = (1, 2, 4, 8, 16)
PUBLISHED: dict[tuple[str, int], dict[str, dict[int, float]]] = {  # peaks by T (specification, section 4.2)
    ("vgg11sws", 4): {
        "bptt": dict(zip(TIMESTEPS, (270.1, 394.7, 643.8, 1142.0, 2138.3), strict=True)),
        "sltt": dict.fromkeys(TIMESTEPS, 270.1),
        "sltt-1": dict.fromkeys(TIMESTEPS, 270.1),
        "ottt_a": dict.fromkeys(TIMESTEPS, 283.8),
        "ottt_o": dict.fromkeys(TIMESTEPS, 283.8),
    },
    ("preactresnet18", 4): {
        "bptt": dict(zip(TIMESTEPS, (183.1, 245.9, 299.6, 406.7, 621.0), strict=True)),
        "sltt": dict.fromkeys(TIMESTEPS, 183.1),
        "sltt-2": dict.fromkeys(TIMESTEPS[1:], 183.1),
    },
    ("vgg11bn_event48", 4): {
        "bptt": dict(zip(TIMESTEPS, (151.6, 203.2, 240.3, 312.2, 456.0), strict=True)),
        "sltt": dict(zip(TIMESTEPS, (151.6, 151.7, 151.8, 152.1, 152.7), strict=True)),
        "sltt-2": dict(zip(TIMESTEPS[1:], (151.7, 151.8, 152.1, 152.7), strict=True)),
    },
    ("nfresnet34", 1): {
        "bptt": dict(zip((1, 2, 4, 6, 8), (589.7, 879.3, 1454.3, 2029.3, 2604.3), strict=True)),
        "sltt": dict.fromkeys((1, 2, 4, 6, 8), 589.7),
        "sltt-1": dict.fromkeys((1, 2, 4, 6, 8), 589.7),
        "ottt_a": dict.fromkeys((1, 2, 4, 6, 8), 613.1),
    },
}


@pytest.mark.parametrize(
    ("name", "batch_size", "rule"),
    [(name, batch_size, rule) for (name, batch_size), rules in PUBLISHED.items() for rule in rules],
)
def test_peaks_are_below_those_of_the_published_code(name: str, batch_size: int, rule: str) -> None:
    """Of a whole step with SGD and momentum, at the same T and batch.

    The published code keeps its gradients allocated; ours are freed before a step, and there again from the second
    timestep on. So T = 1 would tell of rules that go timestep by timestep what T = 2 tells, with fewer bytes.
    """
    published = PUBLISHED[name, batch_size][rule]
    found = {
        T: peak(steady_step(partial(registry.build, name, timesteps=T), rule, batch_size=batch_size, fake=True))
        for T in {"bptt": (1, max(published)), "sltt": (2, 4)}.get(rule, (4,))
    }
    for T, highest in found.items():
        assert 0.05 * published[T] * MB < highest.total_bytes < published[T] * MB, T
    if rule == "sltt":
        assert len({highest.total_bytes - highest.by_kind["inputs"] for highest in found.values()}) == 1
