"""The residual networks against the specification, section 2."""

from collections import Counter
from dataclasses import replace

import pytest
from residual_networks import (
    EVENT_NETWORKS,
    FAMILIES,
    IMAGE_NETWORKS,
    Geometry,
    convolutions,
    on_meta,
    random_input,
    small,
)
from torch import nn

from revbench.models import registry
from revbench.models.networks.layers import AveragePool
from revbench.models.networks.msresnet import MSResNet
from revbench.models.networks.revsresnet import RevSResNet
from revbench.models.neurons import ArcTan, Dynamics, Neuron, Sigmoid


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
        ("revsresnet_event", [(4, 12), (8, 6), (12, 3)]),
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
        ("msresnet_event", [(4, 12), (8, 6), (16, 3)]),
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
