"""The residual networks against the specification, and with recomputed against stored activations."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.layers import AveragePool
from revbench.models.networks.msresnet import MSResNet, msresnet, msresnet_events
from revbench.models.networks.revsresnet import RevSResNet, revsresnet, revsresnet_events
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape, SpikingNetwork
from revbench.models.neurons import ArcTan, Dynamics, Neuron, Sigmoid
from revbench.models.reversible import Activations, ReversibleSequence
from revbench.models.rules import BPTT

Geometry = tuple[int, int, int, int]  # of a convolution: channels in and out, kernel, stride
Spikes = Callable[[Tensor], Tensor]

IMAGE_NETWORKS = ("msresnet18", "msresnet34", "msresnet104", "revsresnet21", "revsresnet37", "revsresnet109")
EVENT_NETWORKS = ("msresnet20_event", "revsresnet24_event")
FAMILIES = ("msresnet", "revsresnet", "msresnet_event", "revsresnet_event")
REVERSIBLE = ("revsresnet", "revsresnet_event")


def on_meta(name: str, **options: object) -> SpikingNetwork:
    """A network without numbers: of any size in no time."""
    with torch.device("meta"):
        return registry.build(name, timesteps=4, **options)


def small(
    name: str, *, activations: Activations | None = None, dtype: torch.dtype = torch.float32, timesteps: int = 3
) -> SpikingNetwork:
    """A family at depth 1 and width 8 (4 for events), seeded, in which every layer fires.

    As initialised, the input of every neuron has mean 0 and variance 1, or a little more behind residual additions, of
    which the threshold 1 cuts off a part. In event networks the stem's average pooling and the leak leave too little
    of it for the first stage, so the gain of the stem's batch norm is 4 here.
    """
    torch.manual_seed(0)
    width = 4 if name.endswith("event") else 8
    network = registry.build(name, timesteps=timesteps, depth=1, width=width, activations=activations).to(dtype)
    return with_lively_stem(network)


def with_lively_stem(network: SpikingNetwork) -> SpikingNetwork:
    """The network, with a gain of 4 in the stem if it reads events."""
    if network.input_shape.kind == "events":
        nn.init.constant_(network.get_submodule("stem.1").get_parameter("weight"), 4.0)
    return network


def random_input(network: SpikingNetwork, dtype: torch.dtype = torch.float32, batch_size: int = 2) -> Tensor:
    """Input of the network's form, seeded."""
    torch.manual_seed(1)
    return synthetic_batch(
        network.input_shape, batch_size=batch_size, timesteps=network.timesteps, num_classes=10, dtype=dtype
    ).inputs


def loss_of(logits: Tensor) -> Tensor:
    """A loss with another gradient for every logit."""
    return (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum()


def firing_rates(network: SpikingNetwork, x: Tensor) -> list[float]:
    """The share of ones in the output of every neuron layer, for each of its calls."""
    rates: list[float] = []
    handles = [
        neuron.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.mean())))
        for neuron in network.modules()
        if isinstance(neuron, Neuron)
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return rates


def gradients(network: SpikingNetwork, x: Tensor) -> dict[str, Tensor]:
    """The gradients of all parameters, by name."""
    loss_of(network(x)).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def convolutions(network: nn.Module) -> Counter[Geometry]:
    """How many convolutions of each geometry a network has; checks what all have in common."""
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for m in found:
        assert m.bias is None
        assert m.groups == 1
        assert m.kernel_size == (m.kernel_size[0],) * 2
        assert m.padding == (m.kernel_size[0] // 2,) * 2
    return Counter((m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in found)


# ------------------------------------------------------------------------------------- the specification, section 2


@pytest.mark.parametrize(
    ("name", "num_classes", "num_parameters"),
    [
        ("msresnet18", 10, 11_173_962),
        ("msresnet18", 100, 11_220_132),
        ("revsresnet21", 10, 10_967_690),
        ("revsresnet21", 100, 11_048_420),
        ("msresnet34", 10, 21_282_122),
        ("msresnet34", 100, 21_328_292),
        ("revsresnet37", 10, 23_510_154),
        ("revsresnet37", 100, 23_590_884),
        ("msresnet104", 10, 76_764_490),
        ("msresnet104", 100, 76_810_660),
        ("revsresnet109", 10, 69_995_146),
        ("revsresnet109", 100, 70_075_876),
        ("msresnet20_event", 10, 272_330),
        ("msresnet20_event", 11, 272_395),
        ("revsresnet24_event", 10, 260_362),
        ("revsresnet24_event", 11, 260_459),
    ],
)
def test_numbers_of_parameters(name: str, num_classes: int, num_parameters: int) -> None:
    """Every network has exactly the parameters that the specification counts."""
    network = on_meta(name, num_classes=num_classes)
    assert sum(p.numel() for p in network.parameters()) == num_parameters


@pytest.mark.parametrize(
    ("name", "num_layers", "num_blocks"),
    [
        ("msresnet18", 18, 8),
        ("msresnet34", 34, 16),
        ("msresnet104", 104, 51),
        ("msresnet20_event", 20, 9),
        ("revsresnet21", 21, 4),
        ("revsresnet37", 37, 8),
        ("revsresnet109", 109, 26),
        ("revsresnet24_event", 24, 5),
    ],
)
def test_numbers_of_layers_are_those_of_the_names(name: str, num_layers: int, num_blocks: int) -> None:
    """Layers are counted as in the names: convolutions on the main path and the read-out."""
    network = on_meta(name)
    assert (network.num_layers, network.num_blocks) == (num_layers, num_blocks)
    shortcuts = sum(geometry[2] == 1 for geometry in convolutions(network).elements())
    on_main_path = sum(convolutions(network).values()) - (shortcuts if name.startswith("ms") else 0)
    assert on_main_path + 1 == num_layers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "revsresnet37",
            {
                (3, 128, 3, 1): 1,
                (64, 64, 3, 1): 4,
                (128, 256, 1, 1): 1,
                (128, 128, 3, 1): 8,
                (256, 512, 1, 1): 1,
                (256, 256, 3, 1): 12,
                (512, 896, 1, 1): 1,
                (448, 448, 3, 1): 8,
            },
        ),
        (
            "msresnet34",
            {
                (3, 64, 3, 1): 1,
                (64, 64, 3, 1): 6,
                (64, 128, 3, 2): 1,
                (64, 128, 1, 2): 1,
                (128, 128, 3, 1): 7,
                (128, 256, 3, 2): 1,
                (128, 256, 1, 2): 1,
                (256, 256, 3, 1): 11,
                (256, 512, 3, 2): 1,
                (256, 512, 1, 2): 1,
                (512, 512, 3, 1): 5,
            },
        ),
        (
            "revsresnet24_event",
            {
                (2, 32, 3, 2): 1,
                (16, 16, 3, 1): 4,
                (32, 64, 1, 1): 1,
                (32, 32, 3, 1): 8,
                (64, 96, 1, 1): 1,
                (48, 48, 3, 1): 8,
            },
        ),
        (
            "msresnet20_event",
            {
                (2, 16, 3, 2): 1,
                (16, 16, 3, 1): 6,
                (16, 32, 3, 2): 1,
                (16, 32, 1, 2): 1,
                (32, 32, 3, 1): 5,
                (32, 64, 3, 2): 1,
                (32, 64, 1, 2): 1,
                (64, 64, 3, 1): 5,
            },
        ),
    ],
)
def test_convolutions(name: str, expected: dict[Geometry, int]) -> None:
    """Channels, kernels and strides of all convolutions, and one batch norm of the same width behind each."""
    network = on_meta(name)
    found = convolutions(network)
    assert found == expected
    norms = Counter(m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    widths: Counter[int] = Counter()
    for (_, out_channels, _, _), number in found.items():
        widths[out_channels] += number
    assert norms == widths


@pytest.mark.parametrize("name", IMAGE_NETWORKS + EVENT_NETWORKS)
def test_neurons(name: str) -> None:
    """Which neuron, threshold, reset, time constant and surrogate each network has."""
    expected = Dynamics(threshold=1.0, v_reset=0.0, detach_reset=True, surrogate=ArcTan(2.0))
    if name.endswith("event"):
        expected = replace(expected, leak=1 - 1 / 1.5, input_scale=1 / 1.5, surrogate=Sigmoid(4.0))
    found = [m.dynamics for m in on_meta(name).modules() if isinstance(m, Neuron)]
    assert set(found) == {expected}
    # Before every convolution but the stem's, and before the head.
    assert len(found) == sum(convolutions(on_meta(name)).values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msresnet34", []),
        ("revsresnet37", ["AveragePool"] * 3),
        ("msresnet20_event", ["MaxPool2d"]),
        ("revsresnet24_event", ["AveragePool"] * 3),
    ],
)
def test_pooling(name: str, expected: list[str]) -> None:
    """Stems of event networks pool, by the maximum in MS-ResNet alone; RevSResNet pools between its stages."""
    pools = [m for m in on_meta(name).modules() if "Pool" in type(m).__name__]
    assert [type(m).__name__ for m in pools] == expected
    for pool in pools:
        if isinstance(pool, AveragePool):
            assert pool.geometry == ([3, 3], [2, 2], [1, 1])
        else:
            assert isinstance(pool, nn.MaxPool2d)
            assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("revsresnet", [(8, 32), (16, 16), (32, 8), (56, 4)]),
        ("revsresnet_event", [(4, 32), (8, 16), (12, 8)]),
    ],
)
def test_stages_of_revsresnet(name: str, expected: list[tuple[int, int]]) -> None:
    """Every stage has two streams of the specified width and resolution."""
    network = small(name)
    seen: list[list[tuple[int, ...]]] = []
    for stage in network.stages if isinstance(network, RevSResNet) else ():
        stage.register_forward_hook(lambda _module, _inputs, streams: seen.append([tuple(y.shape) for y in streams]))
    network(random_input(network))
    assert seen == [[(3, 2, width, size, size)] * 2 for width, size in expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("msresnet", [(8, 32), (16, 16), (32, 8), (64, 4)]),
        ("msresnet_event", [(4, 32), (8, 16), (16, 8)]),
    ],
)
def test_stages_of_msresnet(name: str, expected: list[tuple[int, int]]) -> None:
    """Every stage has the specified width and resolution, and its first block alone a shortcut of its own."""
    network = registry.build(name, timesteps=3, depth=2, width=expected[0][0])
    assert isinstance(network, MSResNet)
    seen: list[tuple[int, ...]] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _module, _inputs, y: seen.append(tuple(y.shape)))
    network(random_input(network))
    assert seen == [(3, 2, width, size, size) for width, size in expected for _ in range(2)]
    identities = [isinstance(block.shortcut, nn.Identity) for block in network.blocks]
    assert identities == [True, True] + [False, True] * (len(expected) - 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_initialisation(name: str) -> None:
    """Convolutions are Kaiming normal over the fan out; batch norms begin with 1 and 0."""
    network = registry.build(name, timesteps=2, depth=2, width=32)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            weight = module.weight.detach()
            assert float(weight.std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)
            assert float(weight.abs().max()) > 2.2 * float(weight.std())  # normal, not uniform
        elif isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert not bool(module.bias.any())


# ------------------------------------------------------------------------------------------- forward, by hand


def integrate_and_fire(x: Tensor) -> Tensor:
    """IF neurons of threshold 1, written down: charge, fire, reset to 0."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        h = v + x_t
        s = (h >= 1).to(x.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def leaky_integrate_and_fire(x: Tensor) -> Tensor:
    """LIF neurons of threshold 1 and time constant 1.5, written down: charge, fire, reset to 0."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        h = v + (x_t - v) / 1.5
        s = (h >= 1).to(x.dtype)
        v = (1 - s) * h
        spikes.append(s)
    return torch.stack(spikes)


def convolve(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Convolution and batch norm over all frames of `[T, B, C, H, W]`, from the layers' weights alone."""
    convolution, norm = layers[0], layers[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    frames = F.conv2d(x.flatten(0, 1), convolution.weight, stride=convolution.stride, padding=convolution.padding)
    frames = F.batch_norm(frames, None, None, norm.weight, norm.bias, training=True)
    return frames.view(*x.shape[:2], *frames.shape[1:])


def pool(x: Tensor) -> Tensor:
    """Average pooling 3x3 of stride 2 over all frames."""
    frames = F.avg_pool2d(x.flatten(0, 1), 3, 2, 1)
    return frames.view(*x.shape[:2], *frames.shape[1:])


def residual(function: nn.Module, x: Tensor, spikes: Spikes) -> Tensor:
    """Neuron, convolution, batch norm, twice."""
    assert isinstance(function.first_convolution, nn.Sequential)
    assert isinstance(function.second_convolution, nn.Sequential)
    return convolve(function.second_convolution, spikes(convolve(function.first_convolution, spikes(x))))


def revsresnet_by_hand(network: RevSResNet, x: Tensor, spikes: Spikes) -> Tensor:
    """The equations of the specification on the concatenated streams, with the network's weights."""
    stem = network.stem
    assert isinstance(stem, nn.Sequential)
    if network.input_shape.kind == "images":
        joined = convolve(stem, x.expand(network.timesteps, *x.shape).contiguous())
    else:
        joined = pool(convolve(stem, x))
    for index, stage in enumerate(network.stages):
        if index > 0:
            downsampling = network.downsamplings[index - 1]
            assert isinstance(downsampling.convolution, nn.Sequential)
            joined = convolve(downsampling.convolution, pool(spikes(joined)))
        assert isinstance(stage, ReversibleSequence)
        functions = list(stage.functions)
        for f, g in zip(functions[::2], functions[1::2], strict=True):
            x1, x2 = joined.chunk(2, dim=2)
            y1 = x1 + residual(f, x2, spikes)
            y2 = x2 + residual(g, y1, spikes)
            joined = torch.cat([y1, y2], dim=2)
    return spikes(joined).mean((-2, -1)) @ network.head.weight.T + network.head.bias


def msresnet_by_hand(network: MSResNet, x: Tensor, spikes: Spikes) -> Tensor:
    """The equations of the specification, with the network's weights."""
    stem = network.stem
    assert isinstance(stem, nn.Sequential)
    if network.input_shape.kind == "images":
        current = convolve(stem, x.expand(network.timesteps, *x.shape).contiguous())
    else:
        current = convolve(stem, x)
        current = F.max_pool2d(current.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
    for block in network.blocks:
        shortcut = current
        if not isinstance(block.shortcut, nn.Identity):
            assert isinstance(block.shortcut, nn.Module)
            assert isinstance(block.shortcut.convolution, nn.Sequential)
            shortcut = convolve(block.shortcut.convolution, spikes(current))
        assert isinstance(block.residual, nn.Module)
        current = shortcut + residual(block.residual, current, spikes)
    return spikes(current).mean((-2, -1)) @ network.head.weight.T + network.head.bias


@pytest.mark.parametrize("activations", ["recomputed", "stored"])
@pytest.mark.parametrize("name", REVERSIBLE)
def test_forward_of_revsresnet_is_that_of_the_equations(name: str, activations: Activations) -> None:
    """The logits equal those of the equations, written down with other operators and the same weights."""
    torch.manual_seed(0)
    if name == "revsresnet":
        network = revsresnet([1, 2, 1, 1], timesteps=3, width=4, activations=activations).double()
    else:
        network = revsresnet_events([1, 2, 1], timesteps=3, width=4, activations=activations).double()
        with_lively_stem(network)
    x = random_input(network, torch.float64)
    spikes = integrate_and_fire if name == "revsresnet" else leaky_integrate_and_fire
    with torch.no_grad():
        error = (network(x) - revsresnet_by_hand(network, x, spikes)).abs().max()
    assert float(error) <= 1e-12
    assert min(firing_rates(network, x)) > 0.01


@pytest.mark.parametrize("name", ["msresnet", "msresnet_event"])
def test_forward_of_msresnet_is_that_of_the_equations(name: str) -> None:
    """The logits equal those of the equations, written down with other operators and the same weights."""
    torch.manual_seed(0)
    if name == "msresnet":
        network = msresnet([1, 2, 1, 1], timesteps=3, width=8).double()
    else:
        network = msresnet_events([1, 2, 1], timesteps=3, width=4).double()
    x = random_input(network, torch.float64)
    spikes = integrate_and_fire if name == "msresnet" else leaky_integrate_and_fire
    with torch.no_grad():
        error = (network(x) - msresnet_by_hand(network, x, spikes)).abs().max()
    assert float(error) <= 1e-12
    assert min(firing_rates(network, x)) > 0.01


# -------------------------------------------------------------------------------- recomputed against stored


@pytest.mark.parametrize("name", REVERSIBLE)
def test_gradients_of_whole_networks_are_those_of_autograd(name: str) -> None:
    """In float64, every gradient of a network whose every layer fires (see `small`) is that of plain autograd."""
    recomputed, stored = (small(name, activations=way, dtype=torch.float64) for way in ("recomputed", "stored"))
    x = random_input(recomputed, torch.float64)
    rates = firing_rates(recomputed, x)
    assert all(0.01 < rate < 0.99 for rate in rates)
    expected, found = gradients(stored, x), gradients(recomputed, x)
    assert len(expected) == len(found) == len(list(stored.parameters()))
    assert all(g.norm() > 0 for g in expected.values())
    assert all((found[key] - expected[key]).norm() <= 1e-10 * expected[key].norm() for key in expected)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_whole_networks_in_float32(name: str) -> None:
    """In float32 logits and statistics are the same bits, and all gradients agree within 1e-5."""
    recomputed, stored = (small(name, activations=way) for way in ("recomputed", "stored"))
    x = random_input(recomputed)
    assert torch.equal(recomputed(x), stored(x))
    expected, found = gradients(stored, x), gradients(recomputed, x)
    assert len(found) == len(expected)
    assert all((found[key] - expected[key]).norm() <= 1e-5 * expected[key].norm() for key in expected)
    statistics = dict(stored.named_buffers())
    assert len(statistics) == 3 * sum(convolutions(stored).values())
    assert all(torch.equal(buffer, statistics[key]) for key, buffer in recomputed.named_buffers())


@pytest.mark.parametrize("name", REVERSIBLE)
def test_weights_fit_both_ways(name: str) -> None:
    """Networks with recomputed and stored activations have the same keys and give the same logits."""
    recomputed, stored = (small(name, activations=way) for way in ("recomputed", "stored"))
    x = random_input(recomputed)
    recomputed(x)
    assert list(recomputed.state_dict()) == list(stored.state_dict())
    stored.load_state_dict(recomputed.state_dict())
    assert torch.equal(recomputed.eval()(x), stored.eval()(x))


def test_activations_are_recomputed_unless_told_otherwise() -> None:
    """The choice reaches every stage, and recomputation is the default."""
    for given, expected in ((None, "recomputed"), ("recomputed", "recomputed"), ("stored", "stored")):
        network = on_meta("revsresnet37", activations=given)
        sequences = [m for m in network.modules() if isinstance(m, ReversibleSequence)]
        assert [m.activations for m in sequences] == [expected] * 4


# ----------------------------------------------------------------------------------------------- as a module


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("num_classes", [10, 100])
def test_logits_of_every_timestep(name: str, num_classes: int) -> None:
    """The output is `[T, B, K]`, and timesteps differ."""
    network = registry.build(name, timesteps=4, depth=1, width=8, num_classes=num_classes)
    logits = network(random_input(network))
    assert logits.shape == (4, 2, num_classes)
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_reads_the_mean_of_the_last_spikes(name: str) -> None:
    """The read-out is called once, with spike counts over the last resolution: multiples of 1 over its size."""
    network = small(name)
    seen: list[Tensor] = []
    head = network.get_submodule("head")
    head.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].detach()))
    network(random_input(network))
    assert len(seen) == 1
    size = 8 if name.endswith("event") else 4
    counts = seen[0] * size**2
    assert torch.equal(counts, counts.round())
    assert 0 < float(seen[0].mean()) < 1
    assert float(seen[0].max()) <= 1


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("width", [8, 16])
def test_depth_and_width_of_families(name: str, depth: int, width: int) -> None:
    """Depth counts the blocks of each stage, and width the channels of the first (of each stream)."""
    network = on_meta(name, depth=depth, width=width)
    stages = 3 if name.endswith("event") else 4
    assert network.num_blocks == stages * depth
    assert network.num_layers == (1 + stages + 4 * stages * depth if name in REVERSIBLE else 2 + 2 * stages * depth)
    last = {"msresnet": [4, 8], "revsresnet": [4, 7], "msresnet_event": [4], "revsresnet_event": [3]}[name]
    widths = {out_channels for _, out_channels, kernel, _ in convolutions(network).elements() if kernel == 3}
    expected = {factor * width for factor in (1, 2, *last)}
    assert widths == expected | ({2 * width} if name in REVERSIBLE else set())


@pytest.mark.parametrize("name", ["msresnet", "revsresnet"])
def test_images_go_through_the_stem_once(name: str) -> None:
    """A static image is encoded once, and its encoding is seen at every timestep."""
    network = small(name)
    seen: list[tuple[int, ...]] = []
    network.get_submodule("stem").register_forward_hook(lambda _m, inputs, _y: seen.append(tuple(inputs[0].shape)))
    network(random_input(network))
    assert seen == [(2, 3, 32, 32)]


@pytest.mark.parametrize("name", ["msresnet_event", "revsresnet_event"])
def test_event_frames_go_through_the_stem_together(name: str) -> None:
    """All frames of all timesteps go through the stem in one call, and the order of timesteps counts."""
    network = small(name)
    seen: list[tuple[int, ...]] = []
    network.get_submodule("stem").register_forward_hook(lambda _m, inputs, _y: seen.append(tuple(inputs[0].shape)))
    x = random_input(network)
    logits = network(x)
    assert seen == [(6, 2, 128, 128)]
    assert not torch.allclose(network(x.flip(0)).mean(0), logits.mean(0))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("revsresnet", (2, 2, 32, 32)),
        ("revsresnet", (2, 3, 28, 32)),
        ("revsresnet", (2, 3, 32, 28)),
        ("msresnet", (3, 32, 32)),
        ("msresnet", (3, 2, 3, 32, 32)),
        ("msresnet", ()),
    ],
)
def test_wrong_images_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """Another number of channels, another size or a missing or surplus dimension is named beside what is read."""
    with pytest.raises(ValueError, match=r"this network reads \[B, C, H, W\] = \[B, 3, 32, 32\]") as error:
        small(name)(torch.zeros(shape))
    assert f"shape {list(shape)};" in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("revsresnet_event", (3, 2, 3, 128, 128)),
        ("revsresnet_event", (4, 2, 2, 128, 128)),
        ("revsresnet_event", (2, 3, 2, 128, 128)),
        ("msresnet_event", (2, 2, 128, 128)),
        ("msresnet_event", (3, 2, 2, 64, 64)),
        ("msresnet_event", (1, 3, 2, 2, 128, 128)),
    ],
)
def test_wrong_event_frames_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """Another T, another number of channels, another size or a missing dimension is named beside what is read."""
    expected = r"this network reads \[T, B, C, H, W\] = \[3, B, 2, 128, 128\]"
    with pytest.raises(ValueError, match=expected) as error:
        small(name)(torch.zeros(shape))
    assert f"shape {list(shape)};" in str(error.value)


@pytest.mark.parametrize(
    ("form", "shape", "mean", "variance"),
    [(CIFAR, (5, 3, 32, 32), 0.0, 1.0), (EVENTS, (3, 5, 2, 128, 128), 0.1, 0.1)],
    ids=["images", "events"],
)
def test_synthetic_batches(form: InputShape, shape: tuple[int, ...], mean: float, variance: float) -> None:
    """Synthetic input has the network's form; images are standard normal, events are counts of rate 0.1."""
    batch = synthetic_batch(form, batch_size=5, timesteps=3, num_classes=4, dtype=torch.float64)
    assert batch.inputs.shape == shape
    assert batch.inputs.dtype == torch.float64
    assert float(batch.inputs.mean()) == pytest.approx(mean, abs=0.05)
    assert float(batch.inputs.var()) == pytest.approx(variance, rel=0.1)
    assert torch.equal(batch.inputs, batch.inputs.round()) == (form.kind == "events")
    assert batch.targets.shape == (5,)
    assert set(batch.targets.tolist()) <= set(range(4))


# ---------------------------------------------------------------------------------------------- training steps


def step_of(network: SpikingNetwork, *, learning_rate: float = 0.05) -> Callable[[], Tensor]:
    """A training step on one fixed batch of 4."""
    torch.manual_seed(2)
    batch = synthetic_batch(network.input_shape, batch_size=4, timesteps=network.timesteps, num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    return lambda: BPTT().step(network, batch, optimizer)


def stray_tensors(network: nn.Module) -> list[str]:
    """Names of tensors that modules hold beside parameters and buffers."""

    def tensors_in(value: object) -> bool:
        if isinstance(value, dict):
            return any(tensors_in(part) for part in value.values())
        if isinstance(value, (list, tuple)):
            return any(tensors_in(part) for part in value)
        return isinstance(value, Tensor)

    owned = ("_parameters", "_buffers", "_modules")
    return [
        f"{name}.{attribute}"
        for name, module in network.named_modules()
        for attribute, value in vars(module).items()
        if attribute not in owned and tensors_in(value)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_state_is_left_behind(name: str) -> None:
    """After a step no module holds a tensor beside parameters and buffers, and the next pass starts from rest."""
    network = small(name)
    x = random_input(network)
    before = network.eval()(x)
    logits = network.train()(x)
    loss_of(logits).backward()
    assert stray_tensors(network) == []
    fresh = small(name).eval()
    assert torch.equal(fresh(x), before)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), fresh(x))


def test_stray_tensors_are_found() -> None:
    """The search for state finds a tensor in an attribute, a list or a dictionary of a module."""
    network = small("msresnet")
    head = network.get_submodule("head")
    vars(head)["v"], vars(head)["trace"] = torch.zeros(1), {"t": [torch.zeros(1)]}
    assert stray_tensors(network) == ["head.v", "head.trace"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_losses(name: str) -> None:
    """Two training runs from one seed have the same losses to the bit; another seed has others."""
    runs = []
    for _ in range(2):
        step = step_of(small(name, timesteps=2))
        runs.append([float(step()) for _ in range(2)])
    assert runs[0] == runs[1]
    torch.manual_seed(3)
    other = registry.build(name, timesteps=2, depth=1, width=4 if name.endswith("event") else 8)
    assert float(step_of(other)()) != runs[0][0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    """Training on one fixed batch learns it."""
    step = step_of(small(name, timesteps=2), learning_rate=0.2)
    losses = [float(step()) for _ in range(10)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_layers_below_the_head_learn(name: str) -> None:
    """With a frozen read-out the loss falls as well: the gradients through the neurons lead downwards."""
    network = small(name, timesteps=2)
    network.get_submodule("head").requires_grad_(False)
    step = step_of(network, learning_rate=0.5)
    losses = [float(step()) for _ in range(12)]
    assert losses[-1] < 0.98 * losses[0]


# ----------------------------------------------------------------------------------------------- average pooling


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 3, 7, 5), (1, 1, 2, 2)], ids=str)
def test_average_pooling_is_that_of_torch(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    """Value and gradient equal those of `F.avg_pool2d`."""
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format)
    pooled: list[Tensor] = []
    grads: list[Tensor] = []
    for function in (AveragePool(3, stride=2, padding=1), lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)):
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        pooled.append(y)
        grads += torch.autograd.grad(loss_of(y), leaf)
    assert torch.equal(pooled[0], pooled[1])
    assert torch.equal(grads[0], grads[1])


def test_average_pooling_saves_nothing() -> None:
    """No tensor is kept for the backward pass."""
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        AveragePool(3, stride=2, padding=1)(x)
        assert saved == []
        F.avg_pool2d(x, 3, stride=2, padding=1)
    assert saved == [(2, 3, 8, 8)]


def test_average_pooling_under_autocast() -> None:
    """Under autocast the value has the precision of `F.avg_pool2d`, and the gradient that of the input."""
    x = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = AveragePool(3, stride=2, padding=1)(x), F.avg_pool2d(x, 3, stride=2, padding=1)
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    assert grad.dtype == torch.bfloat16
