"""The residual networks as modules: what goes in, what comes out, and which choices there are."""

import pytest
import torch
from residual_networks import FAMILIES, REVERSIBLE, convolutions, on_meta, random_input, small
from torch import Tensor

from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape


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
    size = 3 if name.endswith("event") else 4
    counts = seen[0] * size**2
    torch.testing.assert_close(counts, counts.round())
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
    assert seen == [(6, 2, 48, 48)]
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
        ("revsresnet_event", (3, 2, 3, 48, 48)),
        ("revsresnet_event", (4, 2, 2, 48, 48)),
        ("revsresnet_event", (2, 3, 2, 48, 48)),
        ("msresnet_event", (2, 2, 48, 48)),
        ("msresnet_event", (3, 2, 2, 64, 64)),
        ("msresnet_event", (1, 3, 2, 2, 48, 48)),
    ],
)
def test_wrong_event_frames_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """Another T, another number of channels, another size or a missing dimension is named beside what is read."""
    expected = r"this network reads \[T, B, C, H, W\] = \[3, B, 2, 48, 48\]"
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
