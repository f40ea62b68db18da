"""ResNet-19 with spikes and with ReLU against the specification and against the equations."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.cases import Case
from revbench.bench.memory.measure import memory_pass, trace
from revbench.bench.memory.timeline import activation_peak_bytes, phase_end_splits
from revbench.bench.training import prepare, world
from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.resnet19 import ANNResNet, SpikingResNet
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Dynamics, Neuron, Triangle
from revbench.models.neurons.dynamics import multi_step_reference
from revbench.models.rules import BPTT

NEURON = Dynamics(leak=0.5, v_reset=0.0, detach_reset=False, surrogate=Triangle(1.0))
NETWORKS = ("spikingresnet19", "resnet19")
FAMILIES = ("spikingresnet", "annresnet")


def on_meta(name: str, *, timesteps: int = 1, **options: Any) -> SpikingNetwork:
    """A network without numbers: of any size in no time."""
    with torch.device("meta"):
        return registry.build(name, timesteps=timesteps, **options)


def macs(network: SpikingNetwork) -> int:
    """Multiply-accumulates of one forward pass over one sample."""
    x = torch.empty(network.input_shape.of_batch(1, network.timesteps), device="meta")
    with FlopCounterMode(display=False) as counter:
        network(x)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("options", "num_classes", "num_parameters"),
    [
        ({}, 10, 12_630_858),
        ({}, 100, 12_653_988),
        ({"stem_width": 128}, 10, 12_697_994),
        ({"stem_width": 128}, 100, 12_721_124),
        ({"hidden_layer": False}, 10, 12_502_090),
        ({"hidden_layer": False}, 100, 12_548_260),
        ({"stem_width": 128, "hidden_layer": False}, 10, 12_569_226),
        ({"stem_width": 128, "hidden_layer": False}, 100, 12_615_396),
    ],
)
def test_numbers_of_parameters(name: str, options: dict[str, int], num_classes: int, num_parameters: int) -> None:
    """Every version has exactly the parameters that the specification counts, with spikes and with ReLU."""
    network = on_meta(name, num_classes=num_classes, **options)
    assert sum(p.numel() for p in network.parameters()) == num_parameters
    assert network.num_layers == (18 if "hidden_layer" in options else 19)
    assert network.num_blocks == 8


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("stem_width", "giga"), [(64, 2.2165), (128, 2.2854)])
def test_multiply_accumulates(name: str, stem_width: int, giga: float) -> None:
    """One timestep costs what the specification says; ReLU sees one, and images go through the stem once."""
    one = macs(on_meta(name, stem_width=stem_width))
    assert one / 1e9 == pytest.approx(giga, abs=5e-5)
    three = macs(on_meta(name, timesteps=3, stem_width=stem_width))
    assert three == (one if name == "resnet19" else 3 * one - 2 * 3 * stem_width * 9 * 32 * 32)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers(name: str) -> None:
    """Convolutions, batch norms behind them, activations; nothing pools."""
    network = on_meta(name)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    expected = Counter({(3, 64, 3, 1): 1})
    for before, width, number, stride in ((64, 128, 3, 1), (128, 256, 3, 2), (256, 512, 2, 2)):
        expected += Counter({(before, width, 3, stride): 1, (width, width, 3, 1): 2 * number - 1})
        expected += Counter({(before, width, 1, stride): 1})
    assert Counter((m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions) == expected
    assert all(m.bias is None and m.padding == (m.kernel_size[0] // 2,) * 2 for m in convolutions)
    norms = Counter(m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert norms == Counter(m.out_channels for m in convolutions)
    neurons = [m.dynamics for m in network.modules() if isinstance(m, Neuron)]
    relus = [m for m in network.modules() if isinstance(m, nn.ReLU)]
    assert (neurons, len(relus)) == (([NEURON] * 18, 0) if name == "spikingresnet19" else ([], 18))
    assert not any("Pool" in type(m).__name__ for m in network.modules())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", [1, 3])
def test_depth_and_width_of_families(name: str, depth: int) -> None:
    """Depth counts the blocks of each of three stages, which have 2, 4, 8 times the width."""
    network = on_meta(name, depth=depth, width=8)
    assert (network.num_blocks, network.num_layers) == (3 * depth, 3 + 6 * depth)
    assert {m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)} == {8, 16, 32, 64}
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [32, 10]


# ---------------------------------------------------------------------------------------------- by the equations


def by_hand(network: SpikingResNet, x: Tensor, activation: Callable[[Tensor], Tensor], timesteps: int) -> Tensor:
    """Section 6 for images `[B, C, H, W]` that all timesteps show, with the network's weights."""

    def convolve(layers: object, x: Tensor, stride: int = 1) -> Tensor:
        assert isinstance(layers, nn.Sequential)
        convolution, norm = layers
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        frames = F.conv2d(x.flatten(0, 1), convolution.weight, None, stride, convolution.kernel_size[0] // 2)
        frames = F.batch_norm(frames, None, None, norm.weight, norm.bias, training=True)
        return frames.unflatten(0, x.shape[:2])

    current = activation(convolve(network.stem, x.repeat(timesteps, 1, 1, 1, 1)))
    for index, block in enumerate(network.blocks):
        stride = 2 if index in {1, 3} else 1
        y = activation(convolve(block.first_convolution, current, stride))
        y = convolve(block.second_convolution, y)
        changes = index in {0, 1, 3}
        current = activation(y + (convolve(block.shortcut, current, stride) if changes else current))
    first, _, second = network.head
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    hidden = activation(F.linear(current.mean((3, 4)), first.weight, first.bias))
    return F.linear(hidden, second.weight, second.bias)


def small(kind: type[SpikingResNet], timesteps: int) -> tuple[SpikingResNet, Tensor]:
    """A small network in float64 in which every layer fires, and two images."""
    torch.manual_seed(0)
    network = kind([1, 2, 1], timesteps=timesteps, width=8).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.uniform_(module.bias, -0.1, 0.3)
    nn.init.uniform_(network.head.get_submodule("0").get_parameter("weight"), -0.5, 0.5)
    batch = synthetic_batch(network.input_shape, batch_size=2, timesteps=1, num_classes=10, dtype=torch.float64)
    return network, batch.inputs


def loss_of(logits: Tensor) -> Tensor:
    """A loss with another gradient for every logit."""
    return (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum()


@pytest.mark.parametrize(
    ("kind", "timesteps"), [(SpikingResNet, 1), (SpikingResNet, 4), (ANNResNet, 1), (ANNResNet, 4)]
)
def test_logits_and_gradients_are_those_of_the_equations(kind: type[SpikingResNet], timesteps: int) -> None:
    """In float64, on a network that fires in every layer (or whose every ReLU is on and off)."""
    network, x = small(kind, timesteps)
    rates: list[float] = []
    for module in network.modules():
        if isinstance(module, (Neuron, nn.ReLU)):
            module.register_forward_hook(lambda _module, _inputs, y: rates.append(float((y > 0).double().mean())))
    logits = network(x)
    assert len(rates) == 10
    assert all(0.01 < rate < 0.99 for rate in rates), rates
    if kind is ANNResNet:
        expected = by_hand(network, x, torch.relu, 1)
    else:
        expected = by_hand(network, x, lambda y: multi_step_reference(NEURON, y), timesteps)
    assert logits.shape == expected.shape == (1 if kind is ANNResNet else timesteps, 2, 10)
    assert float((logits - expected).detach().abs().max()) <= 1e-10 * float(expected.detach().abs().max())
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(loss_of(logits), list(parameters.values()))
    wanted = torch.autograd.grad(loss_of(expected), list(parameters.values()))
    for key, ours, theirs in zip(parameters, found, wanted, strict=True):
        assert float(theirs.norm()) > 1e-6, key
        assert float((ours - theirs).norm()) <= 1e-10 * float(theirs.norm()), key


def test_relu_knows_no_time() -> None:
    """The network with ReLU gives the same logits whatever T, and trains as all others do."""
    (short, x), (long, _) = (small(ANNResNet, timesteps) for timesteps in (1, 9))
    assert (short.timesteps, long.timesteps) == (1, 9)
    assert torch.equal(short(x), long(x))
    batch = synthetic_batch(long.input_shape, batch_size=4, timesteps=9, num_classes=10, dtype=torch.float64)
    optimizer = torch.optim.SGD(long.parameters(), lr=0.01, momentum=0.9)
    losses = [float(BPTT().step(long, batch, optimizer)) for _ in range(8)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("width", [8, 64])
def test_every_layer_fires_from_the_beginning(width: int) -> None:
    """The hidden linear layer too, which was silent with the default weights of a linear layer."""
    torch.manual_seed(0)
    network = SpikingResNet((1, 1, 1), width=width, timesteps=4)
    rates: dict[str, float] = {}
    for name, neuron in network.named_modules():
        if isinstance(neuron, Neuron):
            neuron.register_forward_hook(lambda _, __, spikes, name=name: rates.update({name: float(spikes.mean())}))
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32))
    assert "head.1" in rates
    assert len(rates) == 8
    assert all(0.05 < rate < 0.5 for rate in rates.values()), rates


def test_spikes_learn() -> None:
    """A few steps on one batch lower the loss of the spiking network."""
    network, _ = small(SpikingResNet, 2)
    batch = synthetic_batch(network.input_shape, batch_size=4, timesteps=2, num_classes=10, dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = [float(BPTT().step(network, batch, optimizer)) for _ in range(12)]
    assert losses[-1] < 0.75 * losses[0]


# ------------------------------------------------------------------------------------------------------- memory

SMALL = Case(model="spikingresnet", depth=1, width=8, timesteps=2, batch_size=2)


@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        replace(SMALL, model="annresnet"),
        replace(SMALL, dtype="bfloat16"),
        replace(SMALL, model="annresnet", dtype="bfloat16"),
        Case(model="spikingresnet19", timesteps=2),
    ],
    ids=lambda case: case.label(),
)
def test_real_and_fake_tensors_agree_to_the_byte(case: Case) -> None:
    """Every number of the memory pass is the same integer with and without arithmetic."""
    found = []
    for each in (case, replace(case, device="fake")):
        with world(each):
            found.append({m.metric: m.value for m in memory_pass(prepare(each))})
    assert found[0] == found[1]


def saved_and_peak(case: Case) -> tuple[int, int]:
    """What a steady training step on fake tensors has saved at the end of the forward pass, and its peak."""
    with world(case):
        training = prepare(case)
        training.warm_up(1)
        timeline = trace(training)
    return phase_end_splits(timeline)["forward"]["saved"], activation_peak_bytes(timeline)


def test_memory_is_affine_in_timesteps_with_spikes_and_flat_with_relu() -> None:
    """To the byte: one integer more for each timestep, from the second on; with ReLU, the same peak at every T."""
    for name in FAMILIES:
        case = replace(SMALL, model=name, batch_size=16, device="fake")
        peaks = [saved_and_peak(replace(case, timesteps=timesteps))[1] for timesteps in (2, 3, 5)]
        slope = peaks[1] - peaks[0]
        assert peaks[2] - peaks[1] == 2 * slope
        assert (slope > 0) == (name == "spikingresnet")


def test_what_is_saved_for_a_timestep() -> None:
    """Potential and spikes of each neuron, and the input of each batch norm but the stem's; hardly a byte more."""
    case = Case(model="spikingresnet19", batch_size=2, device="fake")
    (first, _), (second, peak) = (saved_and_peak(replace(case, timesteps=timesteps)) for timesteps in (3, 4))
    neurons = 65_536 + 6 * 131_072 + 6 * 65_536 + 4 * 32_768
    spikes = neurons - 32_768  # The last are averaged, which keeps nothing.
    norms = neurons - 65_536 + 131_072 + 65_536 + 32_768
    assert 0 <= (second - first) / 2 / 4 - (neurons + spikes + norms) < 0.001 * neurons
    assert peak < 1.1 * second


@pytest.mark.parametrize("blocks", [[3, 3], [3, 3, 2, 1], [3, 0, 2]])
@pytest.mark.parametrize("kind", [SpikingResNet, ANNResNet])
def test_blocks_that_a_network_cannot_have(kind: type[SpikingResNet], blocks: list[int]) -> None:
    """One sentence says what is wrong and what there is."""
    message = f"blocks are given for 3 stages, at least one for each, not {blocks}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(blocks, timesteps=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_another_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"this network reads \[B, C, H, W\] = \[B, 3, 32, 32\]"):
        on_meta(name)(torch.zeros(2, 3, 64, 64, device="meta"))
