"""The convolutional networks of OTTT and SLTT against the specification and against plain loops over timesteps."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.cases import Case
from revbench.bench.memory.measure import memory_pass, trace
from revbench.bench.memory.timeline import activation_peak_bytes, phase_end_splits
from revbench.bench.memory.tracker import Tracker
from revbench.bench.training import prepare, world
from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.layers import AveragePool
from revbench.models.networks.nf_resnet import NFResNet, nf_resnet
from revbench.models.networks.preact_resnet import PreActResNet, preact_resnet
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.spiking_vgg import (
    BatchNormVGG,
    SpikingVGG,
    StandardisedVGG,
    vgg_bn,
    vgg_bn_events,
    vgg_sws,
    vgg_sws_events,
)
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.stepwise_norm import StepwiseBatchNorm
from revbench.models.neurons import Dynamics, Neuron, Sigmoid, Triangle
from revbench.models.neurons.dynamics import single_step
from revbench.models.rules import BPTT

OTTT = Dynamics(leak=0.5, v_reset=None, detach_reset=True, surrogate=Sigmoid(4.0))
SLTT = Dynamics(leak=1 - 1 / 1.1, v_reset=None, detach_reset=False, surrogate=Triangle(1.0))
SIDES = {"vggsws": 32, "vggbn": 32, "preactresnet": 32, "nfresnet": 64}
"""Of the images that the small networks read."""
FAMILIES = tuple(SIDES)


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


def neurons_of_sample(network: SpikingNetwork) -> list[int]:
    """The number of neurons of each layer, for one sample."""
    found: list[int] = []
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _module, _inputs, spikes: found.append(spikes[0, 0].numel()))
    network(torch.empty(network.input_shape.of_batch(1, network.timesteps), device="meta"))
    return found


def geometries(network: nn.Module) -> list[tuple[int, int, int, int]]:
    """Channels in and out, kernel and stride of all convolutions, in order; checks the padding."""
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.padding == (m.kernel_size[0] // 2,) * 2 and m.groups == 1 for m in found)
    return [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in found]


# ------------------------------------------------------------------------------------- the specification, section 2


@pytest.mark.parametrize(
    ("name", "num_classes", "num_parameters"),
    [
        ("vgg11sws", 10, 9_228_362),
        ("vgg11sws", 100, 9_274_532),
        ("vgg11sws_event", 10, 9_227_786),
        ("vgg11sws_event", 11, 9_228_299),
        ("preactresnet18", 10, 11_176_906),
        ("preactresnet18", 100, 11_223_076),
        ("vgg11bn_event48", 10, 9_476_298),
        ("vgg11bn_event", 11, 9_501_387),
        ("nfresnet18", 1000, 11_689_520),
        ("nfresnet34", 1000, 21_797_688),
    ],
)
def test_numbers_of_parameters(name: str, num_classes: int, num_parameters: int) -> None:
    """Every network has exactly the parameters that the specification counts."""
    network = on_meta(name, num_classes=num_classes)
    assert sum(p.numel() for p in network.parameters()) == num_parameters
    assert network.num_classes == num_classes


def test_preact_resnet34_has_the_parameters_of_the_specification() -> None:
    """The size that SLTT's code defines and does not use."""
    with torch.device("meta"):
        network = preact_resnet([3, 4, 6, 3], timesteps=1)
    assert sum(p.numel() for p in network.parameters()) == 21_288_778


@pytest.mark.parametrize(
    ("name", "num_classes"), [("vgg11bn_event48", 10), ("vgg11bn_event", 11), ("nfresnet34", 1000), ("vgg11sws", 10)]
)
def test_classes_of_the_papers_are_the_default(name: str, num_classes: int) -> None:
    assert on_meta(name).num_classes == num_classes


@pytest.mark.parametrize(
    ("name", "num_macs", "num_neurons", "stem_macs"),
    [
        ("vgg11sws", 605_754_368, [65_536, 131_072, 65_536, 65_536, 32_768, 32_768, 8_192, 8_192], 1_769_472),
        ("preactresnet18", 555_422_720, [65_536] * 5 + [32_768] * 4 + [16_384] * 4 + [8_192] * 4, 1_769_472),
        ("vgg11bn_event48", 342_643_712, [147_456, 73_728] + [36_864] * 2 + [18_432] * 2 + [4_608] * 2, 0),
        ("nfresnet34", 3_663_761_408, None, 118_013_952),
    ],
)
def test_multiply_accumulates_and_neurons(
    name: str, num_macs: int, num_neurons: list[int] | None, stem_macs: int
) -> None:
    """One timestep costs what the specification counts; of three, static images go through the stem once."""
    assert macs(on_meta(name)) == num_macs
    assert macs(on_meta(name, timesteps=3)) == 3 * num_macs - 2 * stem_macs
    found = neurons_of_sample(on_meta(name))
    if num_neurons is None:
        assert (len(found), sum(found)) == (32, 2_935_296)
    else:
        assert sorted(found, reverse=True) == sorted(num_neurons, reverse=True)
        assert sum(found) == {"vgg11sws": 409_600, "preactresnet18": 557_056, "vgg11bn_event48": 340_992}[name]


@pytest.mark.parametrize("name", ["vgg11sws", "vgg11sws_event", "vgg11bn_event48", "vgg11bn_event"])
def test_layers_of_vgg(name: str) -> None:
    """The order of convolutions, norms, neurons and poolings."""
    network = on_meta(name)
    kinds = {StandardisedConv2d: "conv", nn.Conv2d: "conv", StepwiseBatchNorm: "norm", Neuron: "lif", AveragePool: "P"}
    order = [next((k for t, k in kinds.items() if isinstance(m, t)), "") for m in network.modules()]
    unit = ["conv", "lif"] if "sws" in name else ["conv", "norm", "lif"]
    groups = (1, 1, 2, 2, 2)
    pooled = (1, 2, 3) if "sws" in name else (0, 1, 2, 3, 4)
    expected = [part for i, number in enumerate(groups) for part in unit * number + ["P"] * (i in pooled)]
    assert [kind for kind in order if kind] == expected
    widths = [64, 128, 256, 256, 512, 512, 512, 512]
    assert geometries(network) == [(i, o, 3, 1) for i, o in pairwise([network.input_shape.channels, *widths])]
    assert all(m.bias is not None for m in network.modules() if isinstance(m, nn.Conv2d))
    assert (network.num_layers, network.num_blocks) == (9, 0)
    assert all(m.geometry == ([2, 2], [2, 2], [0, 0]) for m in network.modules() if isinstance(m, AveragePool))


@pytest.mark.parametrize(
    ("name", "stem", "blocks"),
    [
        ("preactresnet18", (3, 64, 3, 1), [2, 2, 2, 2]),
        ("nfresnet18", (3, 64, 7, 2), [2, 2, 2, 2]),
        ("nfresnet34", (3, 64, 7, 2), [3, 4, 6, 3]),
    ],
)
def test_convolutions_of_the_residual_networks(
    name: str, stem: tuple[int, int, int, int], blocks: Sequence[int]
) -> None:
    """Two convolutions 3x3 a block, and one 1x1 where the shape changes; all with bias but PreAct-ResNet's stem."""
    expected = Counter([stem])
    widths = [64, 128, 256, 512]
    for stage, (number, width) in enumerate(zip(blocks, widths, strict=True)):
        before = widths[max(0, stage - 1)]
        expected[before, width, 3, 2 if stage else 1] += 1
        expected[width, width, 3, 1] += 2 * number - 1
        if stage:
            expected[before, width, 1, 2] += 1
    network = on_meta(name)
    assert Counter(geometries(network)) == expected
    without_bias = [m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(without_bias) == (1 if name.startswith("preact") else 0)
    assert (network.num_layers, network.num_blocks) == (2 + 2 * sum(blocks), sum(blocks))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg11sws", OTTT),
        ("vgg11sws_event", OTTT),
        ("vgg11bn_event48", SLTT),
        ("vgg11bn_event", SLTT),
        ("preactresnet18", SLTT),
    ],
)
def test_neurons(name: str, expected: Dynamics) -> None:
    """Time constant, reset, surrogate, and whether the reset is detached."""
    assert {m.dynamics for m in on_meta(name).modules() if isinstance(m, Neuron)} == {expected}


def test_expected_variances_of_nf_resnet() -> None:
    """The input of a block is divided by the root of 1, 0.04 more behind each block; 1.04 behind those that halve."""
    variances = [1, 1.04, 1.08]
    variances += [1.12, 1.04, 1.08, 1.12]
    variances += [1.16, 1.04, 1.08, 1.12, 1.16, 1.2]
    variances += [1.24, 1.04, 1.08]
    found = [m.dynamics for m in on_meta("nfresnet34").modules() if isinstance(m, Neuron)]
    assert [d.input_scale for d in found[::2]] == pytest.approx([v**-0.5 for v in variances], rel=1e-12)
    assert [d.input_scale for d in found[1::2]] == [1] * 16
    assert {replace(d, input_scale=1.0) for d in found} == {OTTT}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", [1, 3])
def test_depth_and_width_of_families(name: str, depth: int) -> None:
    """Depth counts the convolutions of a group or the blocks of a stage; width the channels of the first."""
    network = on_meta(name, depth=depth, width=8)
    is_vgg = name.startswith("vgg")
    assert network.num_blocks == (0 if is_vgg else 4 * depth)
    assert network.num_layers == (1 + 5 * depth if is_vgg else 2 + 8 * depth)
    assert {out_channels for _, out_channels, _, _ in geometries(network)} == {8, 16, 32, 64}
    assert network.input_shape.of_batch(2, 3) == (2, 3, SIDES[name], SIDES[name])
    assert network.num_classes == 10


@pytest.mark.parametrize("name", FAMILIES)
def test_initialisation(name: str) -> None:
    """Convolutions are Kaiming normal over the fan out with bias 0; the read-out is as in the code."""
    network = registry.build(name, timesteps=1, depth=1, width=32)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)
            if name != "preactresnet" and module.bias is not None:
                assert not bool(module.bias.any())
    assert all(float(p.detach()) == 0 for key, p in network.named_parameters() if key.endswith("residual_gain"))
    head = network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    assert not bool(head.bias.any()) or name == "nfresnet"
    spread = {"vggsws": 0.01, "vggbn": 0.01, "nfresnet": 0.0, "preactresnet": (3 * 256) ** -0.5}[name]
    assert float(head.weight.detach().std()) == pytest.approx(spread, rel=0.1)


# ------------------------------------------------------------------------------------------- one timestep at a time


class Loop:
    """A network as a plain loop: one timestep after another through plain autograd, from the weights alone."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.network = network
        self.potentials: dict[int, Tensor] = {}
        self.statistics = {n: b.clone() for n, b in network.named_buffers()}
        self.calls = 0

    def logits(self, x: Tensor) -> Tensor:
        """`[T, B, K]`."""
        timesteps = self.network.timesteps
        frames = x if self.network.input_shape.kind == "events" else [x] * timesteps
        return torch.stack([self.timestep(frame) for frame in frames])

    def timestep(self, x: Tensor) -> Tensor:
        """Logits `[B, K]` of one frame."""
        self.calls = 0
        network = self.network
        if isinstance(network, SpikingVGG):
            return self.vgg(network, x)
        if isinstance(network, PreActResNet):
            return self.preact_resnet(network, x)
        assert isinstance(network, NFResNet)
        return self.nf_resnet(network, x)

    def lif(self, dynamics: Dynamics, x: Tensor) -> Tensor:
        """Neurons, whose potentials are kept by the order of the calls."""
        self.calls += 1
        spikes, self.potentials[self.calls] = single_step(dynamics, x, self.potentials.get(self.calls))
        return spikes

    def norm(self, module: object, x: Tensor) -> Tensor:
        """Batch norm of one timestep."""
        assert isinstance(module, StepwiseBatchNorm)
        name = next(n for n, m in self.network.named_modules() if m is module)
        mean, var = self.statistics[f"{name}.running_mean"], self.statistics[f"{name}.running_var"]
        self.statistics[f"{name}.num_batches_tracked"] += 1
        return F.batch_norm(x, mean, var, module.weight, module.bias, training=True)

    @staticmethod
    def convolve(module: object, x: Tensor) -> Tensor:
        """A plain or a standardised convolution."""
        if not isinstance(module, nn.Conv2d):
            assert isinstance(module, nn.Sequential)
            (module,) = module
        assert isinstance(module, nn.Conv2d)
        weight = module.weight
        if isinstance(module, StandardisedConv2d):
            centred = weight - weight.mean((1, 2, 3), keepdim=True)
            fan_in = weight[0].numel()
            weight = module.gain * centred / (fan_in * weight.var((1, 2, 3), keepdim=True) + 1e-4) ** 0.5
        return F.conv2d(x, weight, module.bias, module.stride, module.padding)

    def vgg(self, network: SpikingVGG, x: Tensor) -> Tensor:
        """Section 2, VGG-11 with standardised weights and with batch norm."""
        standardised = isinstance(network, StandardisedVGG)
        modules = iter([network.stem, *network.layers])
        for group, number in enumerate((1, 1, 2, 2, 2)):
            for _ in range(number):
                x = self.convolve(next(modules), x)
                if not standardised:
                    x = self.norm(next(modules), x)
                next(modules)
                x = self.lif(OTTT if standardised else SLTT, x) * (2.74 if standardised else 1.0)
            if not standardised or group in {1, 2, 3}:
                next(modules)
                x = F.avg_pool2d(x, 2)
        assert next(modules, None) is None
        x = F.adaptive_avg_pool2d(x, 1 if standardised else 7)
        return F.linear(x.flatten(1), network.head.weight, network.head.bias)

    def preact_resnet(self, network: PreActResNet, x: Tensor) -> Tensor:
        """Section 2, PreAct-ResNet-18."""
        x = self.convolve(network.stem, x)
        for index, block in enumerate(network.blocks):
            spikes = self.lif(SLTT, self.norm(block.first_norm, x))
            y = self.convolve(block.first_convolution, spikes)
            y = self.convolve(block.second_convolution, self.lif(SLTT, self.norm(block.second_norm, y)))
            x = y + (self.convolve(block.shortcut, spikes) if index in {2, 4, 6} else spikes)
        x = F.avg_pool2d(self.lif(SLTT, self.norm(network.last_norm, x)), 4)
        return F.linear(x.flatten(1), network.head.weight, network.head.bias)

    def nf_resnet(self, network: NFResNet, x: Tensor) -> Tensor:
        """Section 1.7, NF-ResNet."""
        x = F.avg_pool2d(self.convolve(network.stem[0], x), 3, 2, 1)  # type: ignore[index]
        variance = 1.0
        for index, block in enumerate(network.blocks):
            spikes = self.lif(OTTT, x / variance**0.5) * 2.74
            y = self.convolve(block.first_convolution, spikes)
            y = self.convolve(block.second_convolution, self.lif(OTTT, y) * 2.74)
            halves = index in {2, 4, 6}
            variance = (1.0 if halves else variance) + 0.04
            assert isinstance(block.residual_gain, Tensor)
            skip = self.convolve(block.shortcut, spikes) if halves else x
            x = y * block.residual_gain * 0.2 + skip
        return F.linear(x.mean((2, 3)), network.head.weight, network.head.bias)


def lively(network: SpikingNetwork) -> SpikingNetwork:
    """The network in float64, with gains at which all layers fire, and with gradients everywhere.

    As published, the deep layers of networks with standardised weights are silent at first (specification, 1.8), and
    NF-ResNet begins with residual gains and a read-out of 0.
    """
    network = network.double()
    for module in network.modules():
        if isinstance(module, StandardisedConv2d):
            nn.init.uniform_(module.gain, 2.0, 4.0)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.1, 0.1)
        if isinstance(module, StepwiseBatchNorm):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.uniform_(module.bias, -0.1, 0.3)
    if isinstance(network, NFResNet):
        for block in network.blocks:
            nn.init.constant_(block.get_parameter("residual_gain"), 1.5)
        nn.init.normal_(network.head.weight)
    return network


NETWORKS: dict[str, Callable[[int], SpikingNetwork]] = {
    "vggsws": lambda T: vgg_sws(timesteps=T, width=4),
    "vggsws, 20 pixels": lambda T: vgg_sws(timesteps=T, width=4, image_size=20),
    "vggsws, events": lambda T: vgg_sws_events(timesteps=T, width=4),
    "vggbn": lambda T: vgg_bn(timesteps=T, width=4),
    "vggbn, 70 pixels": lambda T: vgg_bn(timesteps=T, width=4, image_size=70),
    "vggbn, events": lambda T: vgg_bn_events(timesteps=T, width=4),
    "preactresnet": lambda T: preact_resnet([2, 2, 2, 2], timesteps=T, width=4),
    "nfresnet": lambda T: nf_resnet([2, 2, 2, 2], timesteps=T, width=4, num_classes=10, image_size=64),
}


def small(name: str, timesteps: int = 3) -> tuple[SpikingNetwork, Tensor]:
    """A small lively network, and input for two samples."""
    torch.manual_seed(0)
    network = lively(NETWORKS[name](timesteps))
    batch = synthetic_batch(network.input_shape, batch_size=2, timesteps=timesteps, num_classes=10, dtype=torch.float64)
    return network, batch.inputs


def loss_of(logits: Tensor) -> Tensor:
    """A loss with another gradient for every logit."""
    return (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum()


@pytest.mark.parametrize("timesteps", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients_are_those_of_the_plain_loop(name: str, timesteps: int) -> None:
    """In float64, on a network that fires in every layer: logits, all gradients, and the running statistics."""
    network, x = small(name, timesteps)
    loop = Loop(network)
    rates: list[float] = []
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.detach().mean())))
    logits, expected = network(x), loop.logits(x)
    assert len(rates) == loop.calls
    assert all(0.01 < rate < 0.99 for rate in rates), rates
    assert logits.shape == (timesteps, 2, 10)
    assert float((logits - expected).detach().abs().max()) <= 1e-10 * float(expected.detach().abs().max())
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(loss_of(logits), list(parameters.values()))
    wanted = torch.autograd.grad(loss_of(expected), list(parameters.values()))
    for key, ours, theirs in zip(parameters, found, wanted, strict=True):
        # A bias before a batch norm has no gradient but rounding errors.
        scale = max(float(theirs.norm()), 1e-3)
        assert float((ours - theirs).norm()) <= 1e-10 * scale, key
        assert float(theirs.norm()) > 1e-6 or key.endswith("bias"), key
    for key, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, loop.statistics[key], rtol=1e-10, atol=1e-12)


def remembering(network: SpikingNetwork) -> None:
    """Makes the neurons carry their potential from call to call."""
    for module in network.modules():
        if isinstance(module, Neuron):
            potentials: list[Tensor | None] = [None]

            def forward(x: Tensor, module: Neuron = module, potentials: list[Tensor | None] = potentials) -> Tensor:
                spikes, potentials[0] = module.single_step(x[0], potentials[0])
                return spikes[None]

            module.forward = forward  # type: ignore[method-assign]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_can_be_called_one_timestep_at_a_time(name: str) -> None:
    """With neurons that carry their state, T sequences of length 1 give the logits and statistics of one of T."""
    (whole, x), (stepped, _) = small(name), small(name)
    expected = whole(x)
    stepped.timesteps = 1
    remembering(stepped)
    frames = [x[t : t + 1] for t in range(3)] if whole.input_shape.kind == "events" else [x] * 3
    logits = torch.cat([stepped(frame) for frame in frames])
    assert float((logits - expected).detach().abs().max()) <= 1e-10 * float(expected.detach().abs().max())
    for (key, buffer), (_, other) in zip(whole.named_buffers(), stepped.named_buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=key)


def test_the_first_step_of_nf_resnet_moves_one_parameter() -> None:
    """As published: with gains and read-out at 0, 125 of 126 parameters have no gradient, all but the last bias.

    The read-out's weight has none because the deep layers do not fire yet, so that it reads zeros.
    """
    network = registry.build("nfresnet34", timesteps=1)
    batch = synthetic_batch(network.input_shape, batch_size=1, timesteps=1, num_classes=1000)
    network.loss(network(batch.inputs), batch.targets).backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert len(gradients) == 126
    assert [name for name, grad in gradients.items() if grad is None or bool(grad.any())] == ["head.bias"]


# ------------------------------------------------------------------------------------------------ the batch norm


def norms(channels: int, **options: Any) -> tuple[StepwiseBatchNorm, nn.BatchNorm2d]:
    """Ours and torch's, with the same random weights."""
    ours = StepwiseBatchNorm(channels, **options).double()
    nn.init.uniform_(ours.weight, 0.5, 2.0)
    nn.init.uniform_(ours.bias, -1.0, 1.0)
    theirs = nn.BatchNorm2d(channels, **options).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def sequences() -> Iterator[Any]:
    """Sequences `[3, 4, 5, 6, 2]` in several layouts."""
    x = torch.randn(3, 4, 5, 6, 2, dtype=torch.float64) * torch.tensor([1.0, 2, 3])[:, None, None, None, None]
    yield pytest.param(x, id="contiguous")
    yield pytest.param(x[:1], id="one timestep")
    yield pytest.param(x[0].expand(3, *x[0].shape), id="expanded")
    frames = x.flatten(0, 1).to(memory_format=torch.channels_last)
    yield pytest.param(frames.unflatten(0, (3, 4)), id="channels last")
    yield pytest.param(x.transpose(0, 1).contiguous().transpose(0, 1), id="transposed")


@pytest.mark.parametrize("track_running_stats", [True, False])
@pytest.mark.parametrize("x", list(sequences()))
def test_stepwise_batch_norm_is_that_of_torch_on_each_timestep(x: Tensor, track_running_stats: bool) -> None:
    """Values, gradients and running statistics equal those of `nn.BatchNorm2d` called T times; in evaluation too."""
    ours, theirs = norms(5, track_running_stats=track_running_stats)
    upstream = torch.randn(x.shape, dtype=torch.float64)
    for training in (True, True, False):
        found, wanted = [], []
        for norm, results in ((ours.train(training), found), (theirs.train(training), wanted)):
            leaf = x.detach().requires_grad_()
            y = norm(leaf) if norm is ours else torch.stack([norm(frame) for frame in leaf])
            results += [y.detach(), *torch.autograd.grad(y, (leaf, norm.weight, norm.bias), upstream)]
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()), rtol=1e-12, atol=1e-14)
    assert len(dict(ours.named_buffers())) == (3 if track_running_stats else 0)


@pytest.mark.parametrize("frozen", ["input", "weight", "bias"])
def test_stepwise_batch_norm_with_a_frozen_part(frozen: str) -> None:
    """What is frozen gets no gradient, and the others get theirs."""
    ours, theirs = norms(5)
    leaves: list[dict[str, Tensor]] = []
    x = torch.randn(3, 4, 5, 6, 2, dtype=torch.float64)
    for norm in (ours, theirs):
        parts = {"input": x.clone().requires_grad_(), "weight": norm.weight, "bias": norm.bias}
        parts[frozen].requires_grad_(False)
        y = ours(parts["input"]) if norm is ours else torch.stack([norm(frame) for frame in parts["input"]])
        loss_of(y).backward()
        leaves.append(parts)
    for name in ("input", "weight", "bias"):
        found, wanted = leaves[0][name].grad, leaves[1][name].grad
        assert (found is None) == (wanted is None) == (name == frozen)
        if found is not None:
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_stepwise_batch_norm_takes_gradients_of_any_layout() -> None:
    """A gradient that is the same for all pixels comes as an expanded tensor."""
    ours, theirs = norms(5)
    x = torch.randn(3, 4, 5, 6, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 4, 5, dtype=torch.float64)
    grads = []
    for y in (ours(x), torch.stack([theirs(frame) for frame in x])):
        loss = ((y.mean((-2, -1)) * weights).sum((0, 1)) ** 2).sum()
        grads.append(torch.autograd.grad(loss, x)[0])
    assert float(grads[1].norm()) > 1e-3
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


def test_stepwise_batch_norm_without_gradients_moves_its_statistics() -> None:
    """Timesteps that a rule does not look at count for the running statistics."""
    ours, theirs = norms(5)
    x = torch.randn(3, 4, 5, 6, 2, dtype=torch.float64)
    with torch.no_grad():
        assert not ours(x).requires_grad
    for frame in x:
        theirs(frame)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_stepwise_batch_norm_in_half_precision() -> None:
    """Input of another precision than the weights, as under autocast: like torch."""
    ours, theirs = (norm.float() for norm in norms(5))
    x = torch.randn(3, 4, 5, 6, 2, dtype=torch.bfloat16)
    found, wanted = [], []
    for norm, results in ((ours, found), (theirs, wanted)):
        leaf = x.clone().requires_grad_()
        y = norm(leaf) if norm is ours else torch.stack([norm(frame) for frame in leaf])
        assert y.dtype == torch.bfloat16
        results += [y.detach(), *torch.autograd.grad(loss_of(y.float()), (leaf, norm.weight, norm.bias))]
    torch.testing.assert_close(found, wanted)


def test_stepwise_batch_norm_keeps_its_input_and_two_numbers_a_channel_and_timestep() -> None:
    """Nothing else is saved, and beside the output nothing of the sequence's size is made."""
    norm = StepwiseBatchNorm(8)
    x = torch.randn(4, 2, 8, 16, 16, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    tracker = Tracker(norm, torch.optim.SGD(norm.parameters()), [x])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), tracker:
        y = norm(x)
    own = {x.untyped_storage()._cdata, norm.weight.untyped_storage()._cdata}
    statistics = 2 * 4 * 8 * 4
    assert sum(size for storage, size in kept.items() if storage not in own) == statistics
    timeline = tracker.timeline()
    assert int(timeline.live_bytes(("temporaries",)).max()) == y.untyped_storage().nbytes() + statistics


# ------------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize(("share", "one_hot"), [(0.0, True), (0.05, True), (0.05, False)])
def test_the_loss_is_a_mean_over_timesteps(share: float, one_hot: bool) -> None:
    """By the equation; a timestep alone gives its own share, so that rules may go through them one by one."""
    logits, targets = torch.randn(3, 4, 5, dtype=torch.float64), torch.tensor([1, 0, 4, 1])
    loss = StepwiseLoss(mse_share=share, one_hot=one_hot)
    wanted = torch.eye(5, dtype=torch.float64)[targets] if one_hot else torch.ones(4, 5, dtype=torch.float64)
    expected = sum(
        (1 - share) * -o.log_softmax(-1)[range(4), targets].mean() + share * ((o - wanted) ** 2).mean() for o in logits
    )
    torch.testing.assert_close(loss(logits, targets), expected / 3)
    torch.testing.assert_close(sum(loss(logits[t : t + 1], targets) for t in range(3)), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg11sws", StepwiseLoss(mse_share=0.05)),
        ("vgg11sws_event", StepwiseLoss(mse_share=0.001)),
        ("vgg11bn_event48", StepwiseLoss(mse_share=0.05)),
        ("vgg11bn_event", StepwiseLoss(mse_share=0.05, one_hot=False)),
        ("preactresnet18", StepwiseLoss(mse_share=0.05, one_hot=False)),
        ("nfresnet34", StepwiseLoss()),
    ],
)
def test_losses_of_the_papers(name: str, expected: StepwiseLoss) -> None:
    network, targets = on_meta(name), torch.tensor([1, 3])
    logits = torch.randn(3, 2, network.num_classes)
    assert torch.equal(network.loss(logits, targets), expected(logits, targets))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    """Training on one fixed batch begins to learn it, from the published initialisation."""
    network = registry.build(name, timesteps=2, depth=1, width=8)
    batch = synthetic_batch(network.input_shape, batch_size=4, timesteps=2, num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    losses = [float(BPTT().step(network, batch, optimizer)) for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]


# ------------------------------------------------------------------------------------------------------ memory

SMALL = Case(model="vggsws", depth=1, width=8, timesteps=2, batch_size=2)


@pytest.mark.parametrize(
    "case",
    [
        *(replace(SMALL, model=name) for name in FAMILIES),
        *(replace(SMALL, model=name, dtype="bfloat16") for name in FAMILIES),
        Case(model="vgg11bn_event48", timesteps=2),
        Case(model="vgg11sws_event", timesteps=2),
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


@pytest.mark.parametrize("name", FAMILIES)
def test_memory_is_affine_in_timesteps_to_the_byte(name: str) -> None:
    """Backpropagation through time costs one integer more for each timestep, from the second on."""
    case = replace(SMALL, model=name, batch_size=16, device="fake")
    peaks = [saved_and_peak(replace(case, timesteps=timesteps))[1] for timesteps in (2, 3, 5)]
    slope = peaks[1] - peaks[0]
    assert slope > 0
    assert peaks[2] - peaks[1] == 2 * slope


@pytest.mark.parametrize("name", ["vgg11sws", "vgg11bn_event48", "preactresnet18", "nfresnet18"])
def test_what_is_saved_for_a_timestep(name: str) -> None:
    """Potential and spikes of each neuron (or their means), and the input of each batch norm; beyond that, little."""
    case = Case(model=name, timesteps=2, batch_size=2, device="fake")
    (first, _), (second, peak) = (saved_and_peak(replace(case, timesteps=timesteps)) for timesteps in (2, 3))
    network = on_meta(name, timesteps=1)
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, (Neuron, StepwiseBatchNorm)):
            module.register_forward_hook(lambda _module, inputs, _y: sizes.append(inputs[0].numel()))
        if isinstance(module, nn.Conv2d) and module is not network.get_submodule("stem"):
            module.register_forward_hook(lambda _module, inputs, _y: sizes.append(inputs[0].numel()))
    x = torch.empty(network.input_shape.of_batch(2, 1), device="meta")
    network(x)
    assert 0.7 * 4 * sum(sizes) < second - first < 1.3 * 4 * sum(sizes)
    assert peak < 1.2 * second


# --------------------------------------------------------------------------------------------------- bad input


class Nothing(TorchDispatchMode):
    """Refuses every operator."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See the class."""
        pytest.fail(f"{func} was called")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: vgg_sws(timesteps=1, image_size=7),
            "frames of 7x7 are too small for 3 poolings by 2; this VGG takes sides of at least 8",
        ),
        (
            lambda: vgg_sws_events(timesteps=1, image_size=0),
            "frames of 0x0 are too small for 3 poolings by 2; this VGG takes sides of at least 8",
        ),
        (
            lambda: vgg_bn_events(timesteps=1, image_size=31),
            "frames of 31x31 are too small for 5 poolings by 2; this VGG takes sides of at least 32",
        ),
        (
            lambda: vgg_bn([1, 1, 1, 1], timesteps=1),
            "a VGG has five groups of at least one convolution each, not [1, 1, 1, 1]",
        ),
        (
            lambda: vgg_sws([1, 1, 0, 1, 1], timesteps=1),
            "a VGG has five groups of at least one convolution each, not [1, 1, 0, 1, 1]",
        ),
        (
            lambda: nf_resnet([1, 1, 1, 1], timesteps=1, image_size=31),
            "images of 31x31 are too small to be halved five times; NF-ResNet takes sides of at least 32",
        ),
        (
            lambda: nf_resnet([1, 1, 1], timesteps=1),
            "blocks are given for 4 stages, at least one for each, not [1, 1, 1]",
        ),
        (
            lambda: preact_resnet([1, 1, 0, 1], timesteps=1),
            "blocks are given for 4 stages, at least one for each, not [1, 1, 0, 1]",
        ),
    ],
)
def test_sizes_that_a_network_cannot_take(build: Callable[[], SpikingNetwork], message: str) -> None:
    """One sentence says what is wrong and what there is, before any tensor is made."""
    with Nothing(), pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()


@pytest.mark.parametrize(("name", "smallest"), [("vggsws", 8), ("vggbn", 32), ("nfresnet", 32)])
def test_the_smallest_images(name: str, smallest: int) -> None:
    """The sizes that the messages name can be taken."""
    builder: Any = {"vggsws": vgg_sws, "vggbn": vgg_bn, "nfresnet": nf_resnet}[name]
    network = builder([1] * (5 if name.startswith("vgg") else 4), timesteps=2, width=4, image_size=smallest)
    logits = network(torch.randn(2, 3, smallest, smallest))
    assert logits.shape == (2, 2, network.num_classes)


@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_another_form_are_refused(name: str) -> None:
    side = SIDES[name]
    with pytest.raises(ValueError, match=rf"this network reads \[B, C, H, W\] = \[B, 3, {side}, {side}\]"):
        on_meta(name, depth=1, width=8)(torch.zeros(2, 3, 28, 28, device="meta"))


def test_the_vggs_differ() -> None:
    """The two families are two classes."""
    assert isinstance(on_meta("vggsws", depth=1), StandardisedVGG)
    assert isinstance(on_meta("vggbn", depth=1), BatchNormVGG)


def test_the_small_nf_resnet_sees_more_than_the_corner_of_an_image() -> None:
    """Its residuals begin at 0, so the shortcuts alone tell images apart at first; each reads one pixel of four."""
    torch.manual_seed(0)
    network = registry.build("nfresnet", timesteps=4, depth=1, width=8)
    seen: list[Tensor] = []
    network.get_submodule("head").register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    side = network.input_shape.height
    images = 2 * torch.randn(8, 3, side, side)
    images[..., : side // 4, : side // 4] = 0
    network(images)
    (features,) = seen
    assert float(features.detach().std(-2).max()) > 0.01
