"""Modules that were written without this suite, as networks of it: same step, same bytes, clear sentences."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.timeline import Timeline
from revbench.bench.memory.tracker import Tracker
from revbench.models import registry, target
from revbench.models.data import synthetic_batch
from revbench.models.networks.outside import OutsideNetwork, adapt
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape, SpikingNetwork
from revbench.models.rules import make_rule

SMALL = InputShape(kind="images", channels=3, height=8, width=8)
FRAMES = InputShape(kind="events", channels=2, height=8, width=8)


class Plain(nn.Module):
    """Logits of all timesteps together, `[B, K]`, or of each, `[T, B, K]`."""

    def __init__(self, channels: int = 3, each: int | None = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3)
        self.head = nn.Linear(4, 5)
        self.each = each

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        frames = x.flatten(0, 1) if x.ndim == 5 else x
        logits: Tensor = self.head(self.convolution(frames).relu().mean((2, 3)))
        if x.ndim == 5:
            return logits.view(*x.shape[:2], 5)
        return logits if self.each is None else torch.stack([logits] * self.each)


def tracked(make_step: Callable[[], tuple[nn.Module, SGD, Any, Callable[[], object]]]) -> Timeline:
    with fake_world():
        model, optimizer, batch, step = make_step()
        step()
        tracker = Tracker(model, optimizer, [batch.inputs, batch.targets])
        with tracker:
            step()
        return tracker.timeline()


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.mean(0) if logits.ndim == 3 else logits, targets)


@pytest.mark.parametrize(
    ("shape", "each"), [(SMALL, None), (SMALL, 3), (FRAMES, None)], ids=["[B, K]", "[T, B, K]", "frames"]
)
def test_the_wrapper_adds_no_byte(shape: InputShape, each: int | None) -> None:
    """Every change of the live bytes is that of the step which the module's author would write."""

    def batch_of(timesteps: int) -> Any:
        return synthetic_batch(shape, batch_size=2, timesteps=timesteps, num_classes=5)

    def own() -> Any:
        module, batch = Plain(shape.channels, each), batch_of(3)
        optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss_of(module(batch.inputs), batch.targets).backward()
            optimizer.step()

        return module, optimizer, batch, step

    def adapted() -> Any:
        network, batch = adapt(Plain(shape.channels, each), shape, 3), batch_of(3)
        optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9)
        return network, optimizer, batch, lambda: make_rule("bptt").step(network, batch, optimizer)

    plain, wrapped = tracked(own), tracked(adapted)
    births = [timeline.delta_bytes[timeline.delta_bytes > 0].tolist() for timeline in (plain, wrapped)]
    assert births[0] == births[1]
    assert wrapped.live_bytes().max() == plain.live_bytes().max() > 0


def test_a_network_of_the_suite_comes_back_as_it_is() -> None:
    """With its own input and T."""
    network = registry.build("msresnet", depth=1, width=4, timesteps=2)
    assert adapt(network, EVENTS, 7) is network


@pytest.mark.parametrize("name", ["timesteps", "T"])
def test_a_module_tells_its_timesteps(name: str) -> None:
    """As a number in one of two attributes; anything else is none."""
    module = Plain()
    assert adapt(module, SMALL, 4).timesteps == 4
    setattr(module, name, 6)
    assert adapt(module, SMALL, 4).timesteps == 6
    setattr(module, name, True)
    assert adapt(module, SMALL, 4).timesteps == 4


def test_loss_and_gradients_are_those_of_the_module() -> None:
    """One training step moves the weights as its author's step would."""
    torch.manual_seed(0)
    module, batch = Plain(), synthetic_batch(SMALL, batch_size=2, timesteps=1, num_classes=5)
    network = adapt(module, SMALL, 4, 5)
    loss = network.loss(network(batch.inputs), batch.targets)
    assert loss == F.cross_entropy(module(batch.inputs), batch.targets)
    three = torch.randn(3, 2, 5)
    assert network.loss(three, batch.targets) == F.cross_entropy(three.mean(0), batch.targets)


@pytest.mark.parametrize("rule", ["sltt", "tbptt-2", "ottt_a", "sltt-1"])
def test_rules_that_need_parts_of_a_simulation_say_what_to_do(rule: str) -> None:
    """The module computes everything in one call."""
    with pytest.raises(NotImplementedError, match="use the rule bptt, or write it as a SpikingNetwork"):
        make_rule(rule).check(adapt(Plain(), SMALL, 4))
    with pytest.raises(NotImplementedError, match="checkpoint them yourself"):
        make_rule("bptt", checkpointing=True).check(adapt(Plain(), SMALL, 4))
    make_rule("bptt").check(adapt(Plain(), SMALL, 4))


class Returns(nn.Module):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Any:
        """Always the same."""
        return self.value


@pytest.mark.parametrize(
    ("value", "num_classes", "sentence"),
    [
        ((torch.zeros(2, 5),), None, "the module returns a tuple, not a tensor of logits"),
        (None, None, "the module returns a NoneType"),
        (torch.zeros(3, 5), None, r"the logits have shape \[3, 5\], not \[T, B, K\] or \[B, K\] with B = 2$"),
        (torch.zeros(5), None, r"shape \[5\]"),
        (torch.zeros(1, 1, 2, 5), None, r"shape \[1, 1, 2, 5\]"),
        (torch.zeros(2, 5), 6, r"with B = 2, K = 6"),
    ],
)
def test_what_are_no_logits(value: Any, num_classes: int | None, sentence: str) -> None:
    """Is answered with what was found and what is wanted."""
    with pytest.raises((TypeError, ValueError), match=sentence):
        OutsideNetwork(Returns(value), SMALL, 4, num_classes)(torch.zeros(2, 3, 8, 8))


def test_neurons_of_spikingjelly_get_their_rules() -> None:
    """Unless the module loops over time itself: then its neurons are reset around each pass."""
    pytest.importorskip("spikingjelly", reason="the extra spikingjelly is not installed")
    from spikingjelly.activation_based import layer, neuron

    from revbench.models.networks.foreign import LoopingNetwork, SpikingJellyNetwork

    module = nn.Sequential(layer.Conv2d(3, 4, 3), neuron.LIFNode(), layer.Flatten(), layer.Linear(144, 5))

    class Looping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.T = 3
            self.network = module

        def forward(self, x: Tensor) -> Tensor:
            """The mean over time."""
            return torch.stack([self.network(x) for _ in range(self.T)]).mean(0)

    x = torch.randn(2, 3, 8, 8)
    single = adapt(module, SMALL, 4)
    assert isinstance(single, SpikingJellyNetwork)
    make_rule("sltt").check(single)
    assert single(x).shape == (4, 2, 5)
    looping = adapt(Looping(), SMALL, 4)
    assert isinstance(looping, LoopingNetwork)
    assert looping.timesteps == 3
    first, second = looping(x), looping(x)
    assert torch.equal(first, second)
    assert first.shape == (1, 2, 5)
    assert not torch.equal(first[0], Looping()(x) + Looping()(x))


# ------------------------------------------------------------------------------------------------------------- targets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with the module `anyones.nets`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "anyones").mkdir()
    (tmp_path / "anyones" / "__init__.py").touch()
    (tmp_path / "anyones" / "nets.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "CONSTANT = torch.ones(2)\n\n"
        "def plain():\n    'A plain net.'\n    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))\n\n"
        "def sized(timesteps, depth, width=8):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, width * depth), nn.Linear(width * depth, 5))\n"
        "    net.input_shape, net.num_classes, net.timesteps = '3x4x4', 5, timesteps\n    return net\n\n"
        "def needs(data):\n    return plain()\n\n"
        "def nothing():\n    pass\n\n"
        "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)\n\n"
        "made = plain()\n"
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "anyones"]:
        del sys.modules[name]


@pytest.mark.usefixtures("folder")
def test_a_function_of_someones_module_is_a_model() -> None:
    """It is called with what it takes; input, classes and T are its own where it tells them."""
    plain = registry.build("anyones.nets:plain", timesteps=3)
    assert isinstance(plain, SpikingNetwork)
    assert (plain.input_shape, plain.timesteps) == (CIFAR, 3)
    entry = registry.entry("anyones.nets:sized")
    assert (entry.family, entry.fixed, entry.reversible) == (True, frozenset(), False)
    sized = registry.build("anyones.nets:sized", timesteps=7, depth=2, width=16)
    assert (str(sized.input_shape), sized.timesteps, sized.num_classes) == ("3x4x4", 7, 5)
    assert next(sized.parameters()).shape == (32, 48)
    assert not registry.entry("anyones.nets:plain").family
    assert registry.entry("anyones.nets:plain").summary == "A plain net."
    assert registry.entry("anyones.nets:Net").build(timesteps=1).num_layers == 1


@pytest.mark.usefixtures("folder")
def test_the_input_may_stand_in_the_name() -> None:
    """Images or event frames; the module's own word is not contradicted."""
    told = registry.build(target.with_input("anyones.nets:plain", "Tx2x48x48"), timesteps=3)
    assert told.input_shape == InputShape(kind="events", channels=2, height=48, width=48)
    assert str(told.input_shape) == "Tx2x48x48"
    with pytest.raises(ValueError, match="reads 3x4x4, as its attribute input_shape says, and not 3x8x8"):
        registry.build("anyones.nets:sized@3x8x8", timesteps=3, depth=1)
    with pytest.raises(target.TargetError, match="is told twice"):
        target.with_input("anyones.nets:plain@3x4x4", "3x4x4")


@pytest.mark.usefixtures("folder")
def test_a_module_is_imported_as_it_is_in_a_world_of_fake_tensors() -> None:
    """Its constants are real afterwards."""
    with fake_world():
        registry.build("anyones.nets:plain", timesteps=3)
    assert type(sys.modules["anyones.nets"].CONSTANT) is Tensor


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("anyones.nets:plian", "the module 'anyones.nets' has no function 'plian'; did you mean 'plain'?"),
        ("anyones.nets:xyz", "has no function 'xyz'; define it in"),
        ("anyones.nest:plain", "there is no module 'anyones.nest' in "),
        ("noones:plain", "there is no module 'noones' in "),
        ("anyones.nets:made", "anyones.nets:made is an object of the type Sequential, not a function"),
        ("anyones.nets:CONSTANT", "is an object of the type Tensor, not a function"),
        ("anyones.nets:needs", "anyones.nets:needs needs 'data', and is given no more than timesteps, depth"),
        ("anyones.nets:", "is not of the form package.module:function"),
        ("anyones/nets.py:plain", "is not of the form package.module:function"),
        ("anyones.nets:plain@3x4", "the input '3x4' is not of the form 3x32x32"),
        ("anyones.nets:plain@0x4x4", "the input '0x4x4' is not of the form"),
        ("faulty:plain", "the module 'faulty' cannot be imported: ZeroDivisionError: by zero (faulty.py:2)"),
        ("lacking:plain", "the module 'lacking' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("garbled:plain", "the module 'garbled' cannot be imported: SyntaxError"),
    ],
)
def test_targets_that_cannot_be_used(folder: Path, name: str, sentence: str) -> None:
    """In one sentence that says what to do."""
    (folder / "faulty.py").write_text("def f():\n    raise ZeroDivisionError('by zero\\nand more')\nf()\n")
    (folder / "lacking.py").write_text("import nowhere.at.all\n")
    (folder / "garbled.py").write_text("x = = 1\n")
    with pytest.raises(target.TargetError) as caught:
        registry.entry(name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_a_function_that_makes_no_module() -> None:
    """Is told what it returned."""
    with pytest.raises(TypeError, match=r"anyones\.nets:nothing returns None, not an nn\.Module"):
        registry.build("anyones.nets:nothing", timesteps=1)
