"""T-RevSNN against the specification: sizes, equations, losses, what it refuses."""

from functools import partial
from typing import Any

import lively_trevsnn as small
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.memory.fake import fake_world
from revbench.models import registry
from revbench.models.networks.spiking import CIFAR, IMAGENET
from revbench.models.networks.trevsnn import SMALL, TINY, TINY_EVENTS, TRevSNN, trevsnn, trevsnn_events, trevsnn_images
from revbench.models.networks.trevsnn_levels import Level
from revbench.models.networks.trevsnn_merged import MergedTRevSNN, num_deployed_parameters
from revbench.models.neurons.memoryless import MemorylessNeuron

NUM_LEVELS = 4


def on_meta(build: Any, *args: Any, **options: Any) -> TRevSNN:
    """A network without numbers: of any size in no time."""
    with torch.device("meta"):
        network: TRevSNN = build(*args, **options)
        return network


def count(module: nn.Module) -> int:
    """Parameters, each once."""
    return sum(p.numel() for p in module.parameters())


# ------------------------------------------------------------------------------------- sizes of the specification


def test_numbers_of_parameters() -> None:
    """Section 2.4 and 5.3, to the digit."""
    tiny_with_kernel_3 = on_meta(
        TRevSNN, widths=TINY, num_blocks=2, kernel_size=3, input_shape=IMAGENET, timesteps=4, num_classes=1000
    )
    assert count(tiny_with_kernel_3) == 17_203_856
    assert count(on_meta(trevsnn_images, TINY, timesteps=4)) == 17_376_912
    assert count(on_meta(trevsnn_images, TINY, timesteps=8)) == 31_344_272
    assert count(on_meta(trevsnn_images, SMALL, timesteps=4)) == 32_331_312
    assert count(on_meta(trevsnn_events, TINY_EVENTS, timesteps=8)) == 10_220_364
    assert count(on_meta(trevsnn, 2, timesteps=4)) == 14_673_416
    for num_blocks, millions in ((3, 25.06), (4, 32.74), (6, 48.10)):
        network = on_meta(trevsnn_images, TINY, timesteps=4, num_blocks=num_blocks)
        assert round(count(network) / 1e6, 2) == millions


def test_parameters_as_the_paper_counts_them() -> None:
    """15.2 M and 29.8 M: without auxiliary heads, with one layer in the last head."""
    assert num_deployed_parameters(on_meta(trevsnn_images, TINY, timesteps=4)) == 15_216_912
    assert num_deployed_parameters(on_meta(trevsnn_images, SMALL, timesteps=4)) == 29_787_312


def test_dead_parameters_are_those_of_the_first_timestep() -> None:
    """Without them a carry a channel of one timestep is gone, and every parameter gets a gradient."""
    lean = small.small_images(published_dead_parameters=False)
    assert count(small.small_images()) - count(lean) == sum(lean.widths)
    _, found = small.gradients(lean)
    assert set(found) == {name for name, _ in lean.named_parameters()}


@pytest.mark.parametrize(
    ("build", "widths", "size", "gigamacs"),
    [
        (trevsnn_images, TINY, 224, 5.359),
        (trevsnn_images, SMALL, 224, 10.925),
        (trevsnn_events, TINY_EVENTS, 64, 4.319),
        (trevsnn_events, TINY_EVENTS, 128, 17.28),
    ],
)
def test_dense_operations(build: Any, widths: tuple[int, ...], size: int, gigamacs: float) -> None:
    """Multiply-accumulates of one image over all timesteps, as counted in the specification (section 2.4)."""
    counter = FlopCounterMode(display=False)
    with fake_world(), torch.no_grad(), counter:
        network = build(widths, timesteps=4 if build is trevsnn_images else 8, image_size=size)
        network(torch.empty(network.input_shape.of_batch(1, network.timesteps)))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gigamacs, rel=2e-3)


def test_registered_sizes() -> None:
    """The names build what they say."""
    with torch.device("meta"):
        assert count(registry.build("trevsnn_small", timesteps=4)) == 32_331_312
        assert count(registry.build("trevsnn_cifar", timesteps=4)) == 14_673_416
        assert registry.build("trevsnn_tiny_event", timesteps=8).input_shape.kind == "events"
        deeper = registry.build("trevsnn", timesteps=5, depth=3, width=16, states="inverted")
    assert deeper.num_blocks == 12
    assert deeper.input_shape == CIFAR


# --------------------------------------------------------------------------------------------------- the equations


def spike(x: Tensor) -> Tensor:
    """1 where the input is at least 0.5."""
    return (x >= 0.5).to(x.dtype)


def standardised(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution with scaled weight standardisation, as section 2.2 writes it."""
    weight, gain = layer.weight, layer.get_parameter("gain")
    mean = weight.mean((1, 2, 3), keepdim=True)
    variance = ((weight - mean) ** 2).mean((1, 2, 3), keepdim=True)
    scaled = gain * weight[0].numel() ** -0.5 * (weight - mean) / torch.sqrt(variance + 1e-6)
    return F.conv2d(x, scaled, layer.bias, layer.stride, layer.padding)


def normed(path: nn.Module, state: Tensor) -> Tensor:
    """Spike, convolution, batch norm over the batch."""
    convolution, norm = path.get_submodule("convolution"), path.get_submodule("norm")
    assert isinstance(convolution, nn.Conv2d)
    y = F.conv2d(spike(state), convolution.weight, None, convolution.stride, convolution.padding)
    mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), correction=0, keepdim=True)
    weight, bias = (norm.get_parameter(name).view(1, -1, 1, 1) for name in ("weight", "bias"))
    return (y - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def block(module: nn.Module, z: Tensor, *, scaled: bool) -> Tensor:
    """Z + gamma DW2 PW2 q PW1 DW1 q(z), the scale where it stands in the paper."""
    first, second = module.get_submodule("depthwise"), module.get_submodule("projection.depthwise")
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    y = F.conv2d(spike(z), first.weight, first.bias, padding=first.padding, groups=z.shape[1])
    y = spike(standardised(module.get_submodule("pointwise"), y))  # type: ignore[arg-type]
    y = standardised(module.get_submodule("projection.pointwise"), y)  # type: ignore[arg-type]
    y = F.conv2d(y, second.weight, second.bias, padding=second.padding, groups=z.shape[1])
    return z + second.get_parameter("scale") * y if scaled else z + y


def by_the_equations(network: TRevSNN, x: Tensor) -> Tensor:
    """Logits of every read-out of images: c_l^t = L_l^t(c_(l-1)^t, c_(l+1)^(t-1)) + alpha c_l^(t-1), one by one."""
    couplings = [c for c in network.sequence.couplings if isinstance(c.function, Level)]
    encoded = standardised(network.stem[1], standardised(network.stem[0], x))  # type: ignore[index]
    before: list[Tensor] = []
    pooled = []
    for t in range(network.timesteps):
        now: list[Tensor] = []
        for place in range(NUM_LEVELS):
            coupling = couplings[NUM_LEVELS * t + place]
            level = coupling.function
            z = normed(level.get_submodule("bottom"), now[place - 1]) if place else encoded
            if t and place < NUM_LEVELS - 1:
                top = normed(level.get_submodule("tops.0"), before[place + 1])
                z = z + top.repeat_interleave(z.shape[-1] // top.shape[-1], -1).repeat_interleave(
                    z.shape[-2] // top.shape[-2], -2
                )
            for index, module in enumerate(level.get_submodule("blocks").children()):
                z = block(module, z, scaled=index == 0)
            if t:
                assert coupling.carry is not None
                z = z + coupling.carry.factor * before[place]
            now.append(z)
        last = t == network.timesteps - 1
        pooled.append((spike(now[3]) if last else now[3]).mean((2, 3), keepdim=True))
        before = now
    logits = [standardised(head, f) for head, f in zip(network.heads[:-1], pooled[:-1], strict=True)]  # type: ignore[arg-type]
    first, second = network.heads[-1].children()
    return torch.stack([*logits, standardised(second, standardised(first, pooled[-1]))]).flatten(2)  # type: ignore[arg-type]


def test_the_network_computes_the_equations() -> None:
    """All four read-outs, with every layer firing."""
    network = small.small_images()
    rates = small.firing_rates(network)
    assert len(rates) == 4 * NUM_LEVELS * 4 + 4 * 3 + 3 * 3 + 1
    assert min(rates) > 0.05
    assert max(rates) < 0.8
    x, _ = small.batch_of(network)
    expected = by_the_equations(network, x)
    assert expected.std() > 0.1
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


def test_spikes_and_their_window() -> None:
    """1 from 0.5 on, in training and inference alike; the gradient passes from 0 to 1, both included."""
    x = torch.tensor([-0.1, 0.0, 0.49, 0.5, 1.0, 1.1], requires_grad=True)
    neuron = MemorylessNeuron()
    for training in (True, False):
        spikes = neuron.train(training)(x)
        assert spikes.tolist() == [0, 0, 0, 1, 1, 1]
    (grad,) = torch.autograd.grad(spikes, x, torch.arange(1.0, 7))
    assert grad.tolist() == [0, 2, 3, 4, 5, 0]


def test_blocks_share_their_projection_over_time_and_nothing_else() -> None:
    """PW2 and DW2 of the last block of a level are the same in all timesteps."""
    network = small.small_images(timesteps=3)
    levels = [c.function for c in network.sequence.couplings if isinstance(c.function, Level)]
    for place in range(NUM_LEVELS):
        columns = [dict(level.named_parameters()) for level in levels[place::NUM_LEVELS]]
        shared = {name for name in columns[1] if name in columns[2] and columns[1][name] is columns[2][name]}
        assert shared
        assert all(name.startswith("blocks.1.projection.") for name in shared)
        assert len(shared) == 5
        assert all(columns[0][name] is columns[1][name] for name in shared)


@pytest.mark.parametrize(("timesteps", "read_outs"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (8, 4), (10, 4)])
def test_any_number_of_timesteps(timesteps: int, read_outs: int) -> None:
    """Images are read out at up to four timesteps, the last one among them."""
    network = small.small_images(timesteps)
    x, _ = small.batch_of(network)
    assert network(x).shape == (read_outs, 2, 10)
    assert network.read_outs[-1] == timesteps
    assert network(x)[-1].std() > 0.01
    assert small.small_images(timesteps, auxiliary_heads=False)(x).shape == (1, 2, 10)


def test_every_event_frame_is_read_in_its_own_timestep() -> None:
    """A change of frame t changes the read-outs from t on."""
    network = small.small_events(timesteps=4).eval()
    x, _ = small.batch_of(network)
    logits = network(x)
    assert logits.shape == (4, 2, 10)
    changed = x.clone()
    changed[2] += 1
    difference = (network(changed) - logits).abs().amax((1, 2))
    assert difference[:2].tolist() == [0, 0]
    assert (difference[2:] > 1e-3).all()


def test_the_paper_s_fusion_reads_all_deeper_states() -> None:
    """fusion='all': one path from each deeper state, the resolution and channels adapted."""
    network = small.small_images(timesteps=2, fusion="all")
    levels = [c for c in network.sequence.couplings if isinstance(c.function, Level)]
    assert [c.sources[1:] for c in levels] == [()] * 4 + [(1, 2, 3), (2, 3), (3,), ()]
    default = [c for c in small.small_images(timesteps=2).sequence.couplings if isinstance(c.function, Level)]
    assert [c.sources[1:] for c in default] == [()] * 4 + [(1,), (2,), (3,), ()]
    _, found = small.gradients(network)
    assert all(grad.abs().max() > 0 for name, grad in found.items() if ".tops." in name)


def test_the_paper_s_encoding_splits_the_channels() -> None:
    """encoding='groups': timestep t reads its own share of the encoded channels alone."""
    network = small.small_images(timesteps=4, encoding="groups").eval()
    x, _ = small.batch_of(network)
    logits = network(x)
    with torch.no_grad():
        network.stem[1].bias[4] += 1  # type: ignore[index]
    difference = (network(x) - logits).abs().amax((1, 2))
    assert difference[:2].tolist() == [0, 0]
    assert (difference[2:] > 1e-3).all()


def test_the_loss_of_images() -> None:
    """The sum of i/4 times the cross entropy of read-out i, and once more the last, with label smoothing 0.1."""
    network = small.small_images()
    logits, targets = torch.randn(4, 3, 10), torch.tensor([1, 5, 9])
    smooth = torch.full((3, 10), 0.01).scatter_(1, targets[:, None], 0.91)
    entropies = [-(smooth * torch.log_softmax(each, 1)).sum(1).mean() for each in logits]
    expected = 0.25 * entropies[0] + 0.5 * entropies[1] + 0.75 * entropies[2] + 2 * entropies[3]
    torch.testing.assert_close(network.loss(logits, targets), expected)
    torch.testing.assert_close(network.loss(logits[3:], targets), entropies[3])


def test_the_loss_of_events() -> None:
    """The mean cross entropy over time and a thousandth of the squared distance from 1."""
    network = small.small_events()
    logits, targets = torch.randn(3, 2, 10), torch.tensor([7, 0])
    entropy = sum(F.cross_entropy(each, targets) for each in logits) / 3
    expected = 0.999 * entropy + 0.001 * ((logits - 1) ** 2).mean()
    torch.testing.assert_close(network.loss(logits, targets), expected)


# ------------------------------------------------------------------------------------------------- for inference


@pytest.mark.parametrize("choices", [{}, {"fusion": "all"}, {"encoding": "groups"}, {"events": True}], ids=str)
def test_merged_for_inference(choices: dict[str, Any]) -> None:
    """The same outputs, and spikes into every convolution but those that encode."""
    events = choices.pop("events", False)
    network = small.small_events(dtype=torch.float32) if events else small.small_images(dtype=torch.float32, **choices)
    x, _ = small.batch_of(network)
    for _ in range(3):
        network(x)
    network.eval()
    assert min(small.firing_rates(network)) > 0.05
    merged = MergedTRevSNN(network)
    binary: dict[str, bool] = {}

    def note(name: str, _module: nn.Module, inputs: tuple[Tensor]) -> None:
        binary[name] = bool(((inputs[0] == 0) | (inputs[0] == 1)).all())

    for name, module in merged.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(partial(note, name))
    expected = network(x) if events else network(x)[-1:]
    assert expected.std() > 0.05
    torch.testing.assert_close(merged(x), expected, rtol=1e-5, atol=1e-5)
    encoding = {name for name, is_binary in binary.items() if not is_binary}
    allowed = {f"levels.{NUM_LEVELS * t}.bottom" for t in range(network.timesteps)}
    allowed |= {f"{name}.projection" for name in allowed} | {"stem.0", "stem.1"}
    assert encoding <= allowed
    assert len(binary) - len(encoding) >= network.timesteps * (NUM_LEVELS * 4 + 3)
    assert not any(p.requires_grad for p in merged.parameters())


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 28}, r"cannot take images of 28x28: .* multiples of 16, such as 32"),
        ({"image_size": 0}, "multiples of 16"),
        ({"fusion": "none"}, "fusion of T-RevSNN is next or all, not 'none'"),
        ({"encoding": "split"}, "encoding of T-RevSNN is whole or groups"),
        ({"encoding": "groups", "timesteps": 5}, r"64 encoded channels .* 5 equal groups; T must be one of \[1, 2, 4,"),
        ({"width": 0}, "width of at least 1"),
        ({"timesteps": 0}, "at least one timestep"),
        ({"states": "kept"}, "states are inverted or stored or coded, not 'kept'"),
    ],
    ids=str,
)
def test_bad_input(options: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the valid choices, before anything is allocated."""
    if "states" not in options:
        monkeypatch.setattr(nn.Conv2d, "__init__", lambda *_a, **_k: pytest.fail("a layer was made"))
    with pytest.raises(ValueError, match=sentence):
        trevsnn(1, **({"timesteps": 4} | options))


def test_bad_input_of_events() -> None:
    """Event frames keep their resolution in the first level."""
    with pytest.raises(ValueError, match=r"cannot take events of 30x30: .* multiples of 4"):
        trevsnn_events(TINY_EVENTS, timesteps=4, image_size=30)
    with pytest.raises(ValueError, match="in its own timestep"):
        trevsnn_events(TINY_EVENTS, timesteps=4, encoding="groups")


def test_a_batch_of_another_form_is_refused() -> None:
    """Channels, size and T are the network's."""
    with pytest.raises(ValueError, match=r"\[B, 3, 16, 16\]"):
        small.small_images()(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"\[3, B, 2, 8, 8\]"):
        small.small_events()(torch.zeros(4, 2, 2, 8, 8))
