"""Summaries against counts by hand and the figures of the specification, and what they leave behind: nothing."""

import io
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from revbench.bench.memory.fake import fake_world
from revbench.bench.summary import Counts, Layer, Summary, print_summary, summarise, summary
from revbench.models import registry
from revbench.models.networks.layers import over_frames
from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.neurons import LIF
from revbench.models.reversible import Activations, Coupling, ReversibleSequence


class Attention(nn.Module):
    """Products of spikes in the module's own forward pass; `[T, B, C, H, W]`."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = LIF()
        self.gain = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        """No softmax, and a gain."""
        spikes = self.neuron(x).flatten(3)
        return (spikes @ spikes.transpose(-2, -1) @ spikes).view(x.shape) * self.gain.sum()


class Spikes(nn.Module):
    """Says by itself that it is a layer of neurons."""

    is_spiking = True

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return (x > 0).to(x.dtype)


class Small(SpikingNetwork):
    """Small enough to be counted by hand, with everything that is awkward to count."""

    def __init__(self, *, timesteps: int = 2, activations: Activations = "recomputed") -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=4, width=4)
        self.timesteps = timesteps
        self.num_classes = 10
        self.num_layers = self.num_blocks = 1
        self.head = nn.Linear(4, 10)
        self.tied = nn.Linear(4, 10)
        self.tied.weight = self.head.weight
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        couplings = [Coupling(0, (1,), Attention()), Coupling(1, (0,), Attention())]
        self.sequence = ReversibleSequence(couplings, activations)
        self.mixer = nn.Conv2d(4, 4, 1, bias=False)
        self.neuron = LIF()
        self.framewise = Spikes()
        self.stepwise = Spikes()
        self.dropout = nn.Dropout()
        self.passes: Tensor
        self.register_buffer("passes", torch.zeros(()))
        self.memory: Tensor | None = None
        self.fails = False
        self.forms: list[bool] = []

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        streams = self.stem_once(self.stem, x).chunk(2, dim=2)
        x = over_frames(self.norm, torch.cat(self.sequence(*streams), dim=2))
        for _ in range(2):
            x = self.dropout(self.neuron(over_frames(self.mixer, x)))
        self.forms.append(self.training)
        self.passes += 1
        self.memory = x
        if self.fails:
            raise RuntimeError("in the middle")
        x = over_frames(self.framewise, x).mean((-2, -1))
        self.stepwise(x[-1])
        logits: Tensor = self.head(x)
        return logits


def named(found: Summary) -> dict[str, Layer]:
    return {layer.name: layer for layer in found}


def fake(name: str, **options: int) -> Summary:
    with fake_world():
        return summarise(registry.build(name, **options))


def shown(found: Summary, *, width: int = 120, levels: int | None = None) -> list[str]:
    """The lines of the table, from the first layer to the totals."""
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    print_summary(found, console, levels=levels)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    begin = next(index for index, line in enumerate(lines) if "──" in line)
    return [line for line in lines[begin + 1 : lines.index("", lines.index("", begin) + 1)] if line]


def test_counts_by_hand() -> None:
    """Every layer of the small network, T = 2, frames 4x4."""
    layers = named(summarise(Small()))
    expected = {
        "": Counts(),
        "stem": Counts(parameters=4 * 9 + 4, macs=16 * 4 * 9),  # once an image
        "norm": Counts(parameters=8),
        "sequence": Counts(),
        "sequence.functions.0": Counts(parameters=3, macs=2 * (2 * 16 * 2 + 2 * 2 * 16)),
        "sequence.functions.0.neuron": Counts(neurons=2 * 16),
        "sequence.functions.1": Counts(parameters=3, macs=2 * (2 * 16 * 2 + 2 * 2 * 16)),
        "sequence.functions.1.neuron": Counts(neurons=2 * 16),
        "mixer": Counts(parameters=16, macs=2 * 2 * 16 * 16),
        "neuron": Counts(neurons=2 * 4 * 16),
        "framewise": Counts(neurons=4 * 16),
        "stepwise": Counts(neurons=4),
        "dropout": Counts(),
        "head": Counts(parameters=50, macs=2 * 40),
        "tied": Counts(parameters=10),
    }
    assert {name: layer.own for name, layer in layers.items() if name in expected} == expected
    assert {name for name, layer in layers.items() if layer.own} <= expected.keys()
    assert layers[""].total == Counts(
        parameters=40 + 8 + 6 + 16 + 50 + 10, neurons=64 + 128 + 64 + 4, macs=576 + 2 * 256 + 1024 + 80
    )
    assert layers["sequence"].total == Counts(parameters=6, neurons=64, macs=512)


def test_shapes_and_calls() -> None:
    """Shapes are those of the tensors seen; a module called twice is one layer, one that is never called has none."""
    layers = named(summarise(Small(), batch_size=3))
    assert layers["stem"].output_shapes == ((3, 4, 4, 4),)
    assert layers["sequence"].output_shapes == ((2, 3, 2, 4, 4),) * 2
    assert layers["norm"].output_shapes == ((6, 4, 4, 4),)
    assert layers["head"].output_shapes == layers[""].output_shapes == ((2, 3, 10),)
    assert (layers["neuron"].calls, layers["mixer"].calls, layers["stem"].calls, layers["tied"].calls) == (2, 2, 1, 0)
    assert layers["tied"].output_shapes == ()


@pytest.mark.parametrize("activations", ["recomputed", "stored"])
def test_what_is_recomputed(activations: Activations) -> None:
    """All that is below a sequence that recomputes, and nothing else."""
    found = summarise(Small(activations=activations))
    below = {layer.name for layer in found if layer.name.startswith("sequence.")}
    assert {layer.name for layer in found if layer.is_recomputed} == (below if activations == "recomputed" else set())
    whole = Counts(parameters=6, neurons=64, macs=512)
    assert found.recomputed == (whole if activations == "recomputed" else Counts())
    assert found.total == summarise(Small()).total


def test_a_module_with_two_places_is_one_layer() -> None:
    """Its parameters count once, its neurons and products as often as it runs."""
    network = Small()
    network.register_module("mixer_again", network.mixer)
    network.register_module("attention", network.sequence.functions[0])
    assert summarise(network).total == summarise(Small()).total


def test_parameters_that_want_no_gradient_are_told() -> None:
    """A frozen layer has the same parameters, and all of them are frozen."""
    network = Small()
    network.stem.requires_grad_(False)
    found = summarise(network)
    assert (found.total.frozen, named(found)["stem"].own.frozen) == (40, 40)
    assert found.total.parameters == summarise(Small()).total.parameters
    assert shown(found)[0].split()[-4:] == ["4]", "40", "40", "<0.01"]
    assert not named(found)["stem"].is_recomputed


@pytest.mark.parametrize("batch_size", [2, 4])
def test_counts_are_for_one_image(batch_size: int) -> None:
    """Another batch has other shapes and the same counts, with as many images as timesteps too."""
    one, many = summarise(Small(timesteps=4)), summarise(Small(timesteps=4), batch_size)
    assert [layer.own for layer in one] == [layer.own for layer in many]
    assert many.input_shape == (batch_size, 1, 4, 4)
    with pytest.raises(ValueError, match="batch size must be at least 1, not 0"):
        summarise(Small(), 0)


def in_world(make: Callable[[], SpikingNetwork]) -> Summary:
    with fake_world():
        return summarise(make())


def after_world(make: Callable[[], SpikingNetwork]) -> Summary:
    with fake_world():
        network = make()
    return summarise(network)


def in_inference_mode(make: Callable[[], SpikingNetwork]) -> Summary:
    with torch.inference_mode():
        return summarise(make())


def in_double_precision(make: Callable[[], SpikingNetwork]) -> Summary:
    return summarise(make().double())


@pytest.mark.parametrize("how", [in_world, after_world, in_inference_mode, in_double_precision])
@pytest.mark.parametrize(
    "make", [Small, lambda: registry.build("revsresnet_event", timesteps=2, depth=1, width=2)], ids=["small", "events"]
)
def test_real_and_fake_give_the_same(
    make: Callable[[], SpikingNetwork], how: Callable[[Callable[[], SpikingNetwork]], Summary]
) -> None:
    """Whatever the parameters are made of, and wherever it is called."""
    assert how(make) == summarise(make())


def state(network: Small) -> tuple[list[tuple[bool, list[str]]], list[Tensor], list[bytes], bytes]:
    """Flags and attributes, the tensors themselves, their bits, and the random numbers to come."""
    modules = [(module.training, sorted(vars(module))) for module in network.modules()]
    tensors = [*network.parameters(), *network.buffers()]
    bits = [tensor.detach().numpy().tobytes() for tensor in tensors]
    return modules, tensors, bits, torch.get_rng_state().numpy().tobytes()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_stays_as_it_was(training: bool, fails: bool) -> None:
    """Statistics, other buffers, attributes, flags, hooks, gradients and random numbers, even if its forward fails."""
    network = Small().train(training)
    network.norm.train(not training)
    network.fails = fails
    calls: list[nn.Module] = []
    network.stem.register_forward_hook(lambda module, *_: calls.append(module))
    before = state(network)
    versions = [tensor._version for tensor in before[1]]
    if fails:
        with pytest.raises(RuntimeError, match="in the middle"):
            summarise(network)
    else:
        summarise(network)
    after = state(network)
    assert after[0] == before[0]
    assert all(a is b for a, b in zip(after[1], before[1], strict=True))
    assert after[2:] == before[2:]
    assert [tensor._version for tensor in after[1]] == versions
    assert network.memory is None
    assert network.forms == [True]
    assert calls == [network.stem]
    hooked = {m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks}
    assert hooked == {network.stem}
    assert all(parameter.grad is None for parameter in network.parameters())


PUBLISHED = {
    # parameters, GMAC and T of the specification of RevSNN, section 2; both run the stem once an image
    "msresnet18": (11_173_962, 2.216, 4),
    "revsresnet21": (10_967_690, 2.374, 4),
    "msresnet34": (21_282_122, 4.632, 4),
    "revsresnet37": (23_510_154, 4.649, 4),
    "msresnet20_event": (272_330, 0.416, 10),
    "revsresnet24_event": (260_362, 0.422, 10),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_totals_of_the_specification(name: str) -> None:
    """Parameters to the last one, multiply-accumulates as printed."""
    parameters, gmacs, timesteps = PUBLISHED[name]
    total = fake(name, timesteps=timesteps).total
    assert (total.parameters, f"{total.macs / 1e9:.3f}") == (parameters, f"{gmacs:.3f}")


def test_all_products_of_revsresnet37() -> None:
    """Each by its geometry: the stem once, everything else at every timestep."""
    stages = [(64, 32, 2), (128, 16, 4), (256, 8, 6), (448, 4, 4)]
    functions = sum(count * 2 * 9 * width**2 * side**2 for width, side, count in stages)
    mixing = sum(4 * narrow * wide * side**2 for (narrow, _, _), (wide, side, _) in pairwise(stages))
    found = fake("revsresnet37", timesteps=4)
    assert found.total.macs == 3 * 128 * 9 * 32**2 + 4 * (functions + mixing + 896 * 10)
    assert found.recomputed.macs == 4 * functions
    assert found.recomputed.parameters == sum(count * (18 * width**2 + 4 * width) for width, _, count in stages)


def test_totals_of_a_transformer() -> None:
    """The specification's network runs its stem, 3 to 48 channels, at every timestep, ours once."""
    found = fake("revsformer2_384", timesteps=4)
    once = 3 * 48 * 9 * 32**2
    assert named(found)["tokenizer.stages.stem"].total.macs == once
    assert f"{(found.total.macs + 3 * once) / 1e9:.3f}" == "2.805"
    assert named(found)["blocks.functions.0"].own.macs == 4 * 2 * 64 * 64 * 384  # query and key, then value


def test_one_line_a_block() -> None:
    """By default rows of blocks are unfolded, in the order of the calls, and nothing else."""
    lines = shown(fake("revsresnet37", timesteps=4))
    names = [line.split("  ")[0] if line[0] != " " else line.split()[0] for line in lines]
    functions = [[f"functions.{index}" for index in range(count)] for count in (2, 4, 6, 4)]
    expected = ["stem", "stages.0", *functions[0]]
    for stage in (1, 2, 3):
        expected += [f"downsamplings.{stage - 1}", f"stages.{stage}", *functions[stage]]
    assert names == [*expected, "last_neuron", "head", "total", "recomputed"]


def test_levels() -> None:
    """Level 1 has the parts of the network, 99 all there is; what a module does beside its parts has a line."""
    found = summarise(Small())
    parts = [line.split()[0] for line in shown(found, levels=1)]
    layers = ["stem", "sequence", "norm", "mixer", "neuron", "framewise", "stepwise", "head", "tied"]
    assert parts == [*layers, "total", "recomputed"]
    everything = [re.sub(r"(\S)  .*", r"\1", line) for line in shown(found, levels=99)]
    function = ["    (itself)", "    neuron"]
    assert everything[1:8] == ["sequence", "  functions.0", *function, "  functions.1", *function]
    assert shown(found) == shown(found, levels=2)


def test_what_a_line_says() -> None:
    """Name, kind, calls, shapes and the counts, empty where there is nothing to count."""
    lines = {line.split()[0]: re.split(r"\s{2,}", line) for line in shown(summarise(Small(), 3), levels=1)}
    assert lines["stem"] == ["stem", "Conv2d", "[3, 4, 4, 4]", "40", "<0.01"]
    assert lines["sequence"] == ["sequence", "ReversibleSequence", "2x [2, 3, 2, 4, 4]", "6", "64", "<0.01", "yes"]
    assert lines["neuron"] == ["neuron", "LIF, 2 calls", "[2, 3, 4, 4, 4]", "128"]
    assert lines["tied"] == ["tied", "Linear", "never called", "10"]
    assert lines["total"] == ["total", "130", "260", "<0.01"]
    assert lines["recomputed"] == ["recomputed", "4.6%", "24.6%", "23.4%"]


def test_partly_recomputed() -> None:
    """A part of the network in which some layers are evaluated once more, and some are not."""

    class Wrapped(Small):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleDict({"sequence": self.sequence, "mixer": self.mixer})
            self.body.forward = lambda x: x  # type: ignore[method-assign]
            del self.sequence, self.mixer

        def logits(self, x: Tensor) -> Tensor:
            self.sequence, self.mixer = self.body["sequence"], self.body["mixer"]
            return super().logits(self.body(x))

    lines = {line.split()[0]: line for line in shown(summarise(Wrapped()), levels=1)}
    assert lines["body"].endswith("partly")


def test_summary_prints_and_returns(capsys: pytest.CaptureFixture[str]) -> None:
    """As a library: one call, with a model of one's own."""
    found = summary(Small(), 2)
    out = capsys.readouterr().out
    assert out.startswith("Small\n1 layers, T=2, batch 2, input [2, 1, 4, 4]\n")
    assert "Bold lines are sums" in " ".join(out.split())
    assert found == summarise(Small(), 2)
