"""Networks written with SpikingJelly under the rules of this suite, against our own and against SpikingJelly's OTTT."""

import copy
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from online_networks import batch_for, firing_rates, gradients
from torch import Tensor, nn
from torch.optim import SGD

from revbench.bench.cases import Case
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import peak
from revbench.bench.training import Training
from revbench.models.data import Batch
from revbench.models.networks.layers import AveragePool, OverFrames
from revbench.models.networks.spiking import CIFAR, EVENTS, SpikingNetwork
from revbench.models.networks.spiking_vgg import ottt_neuron
from revbench.models.rules import make_rule
from revbench.models.rules.losses import LOSSES
from revbench.models.simulation import Simulation

pytest.importorskip("spikingjelly", reason="the extra spikingjelly is not installed")

from spikingjelly.activation_based import base, functional, layer, neuron, surrogate

from revbench.models.networks.foreign import SpikingJellyNetwork

SMALL = {"images": replace(CIFAR, height=8, width=8), "events": replace(EVENTS, height=8, width=8)}
CLASSES, EXACT = 5, 1e-13
RULES = ("bptt", "tbptt-2", "sltt", "sltt-2", "ottt_a", "ottt_o", "ottt_a_strict")


class Ours(SpikingNetwork):
    """A VGG of three convolutions."""

    def __init__(self, kind: str, timesteps: int) -> None:
        super().__init__()
        self.input_shape, self.timesteps, self.num_classes = SMALL[kind], timesteps, CLASSES
        self.stem = nn.Conv2d(self.input_shape.channels, 8, 3, padding=1)
        self.layers = nn.Sequential(
            ottt_neuron(),
            OverFrames(nn.Conv2d(8, 12, 3, padding=1)),
            ottt_neuron(),
            OverFrames(AveragePool(2, stride=2, padding=0)),
            OverFrames(nn.Conv2d(12, 16, 3, padding=1)),
            ottt_neuron(),
        )
        self.head = nn.Linear(16 * 4 * 4, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.constant_(module.bias, 0.3)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep."""
        logits: Tensor = self.head(self.layers(self.stem_once(self.stem, x)).flatten(2))
        return logits


def lif(**changes: Any) -> nn.Module:
    """The neuron of OTTT: no decay of the input, soft reset that is detached, sigmoid with alpha 4."""
    own = {"tau": 2.0, "decay_input": False, "v_reset": None, "detach_reset": True}
    node: nn.Module = neuron.LIFNode(surrogate_function=surrogate.Sigmoid(4.0), **own | changes)
    return node


def vgg(in_channels: int, make_neuron: Callable[[], nn.Module] = lif, container: Any = nn.Sequential) -> nn.Module:
    """The same VGG in SpikingJelly's modules."""
    network: nn.Module = container(
        layer.Conv2d(in_channels, 8, 3, padding=1),
        make_neuron(),
        layer.Conv2d(8, 12, 3, padding=1),
        make_neuron(),
        layer.AvgPool2d(2),
        layer.Conv2d(12, 16, 3, padding=1),
        make_neuron(),
        layer.Flatten(),
        layer.Linear(16 * 4 * 4, CLASSES),
    )
    return network


def pair(kind: str, step_mode: str, timesteps: int = 4) -> tuple[Ours, SpikingJellyNetwork]:
    """Our network and SpikingJelly's, of the same weights, in float64."""
    ours = Ours(kind, timesteps).double()
    module = vgg(SMALL[kind].channels)
    functional.set_step_mode(module, step_mode)
    theirs = SpikingJellyNetwork(module, SMALL[kind], timesteps, CLASSES).double()
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(own)
    return ours, theirs


def found_by(network: SpikingNetwork, rule: str) -> list[Tensor]:
    """The gradients of one step, in the order of the layers."""
    return list(gradients(network, rule).values())


def at_rest(network: nn.Module) -> bool:
    """Whether all neurons of SpikingJelly are as they were made."""
    return all(isinstance(value, float) and value == 0 for value in base.memories(network))


# --------------------------------------------------------------------------------------------------- the same network


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("kind", SMALL)
def test_gradients_are_those_of_our_network(kind: str, step_mode: str, rule: str) -> None:
    """In float64, for static images and event frames, in single-step and multi-step mode."""
    ours, theirs = pair(kind, step_mode)
    assert all(0.01 < rate < 0.99 for rate in firing_rates(ours))
    found, expected = found_by(theirs, rule), found_by(ours, rule)
    assert len(found) == len(expected) == 8
    for a, b in zip(found, expected, strict=True):
        assert float(b.abs().max()) > 1e-3
        torch.testing.assert_close(a, b, rtol=0, atol=EXACT * float(b.abs().max()))


def test_the_rules_differ() -> None:
    """What the test above compares is not one thing."""
    found = [torch.cat([grad.flatten() for grad in found_by(pair("images", "s")[1], rule)]) for rule in RULES[:5]]
    for index, one in enumerate(found):
        assert all(float((one - other).norm() / one.norm()) > 0.01 for other in found[index + 1 :])


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_logits_in_parts_are_those_of_the_whole(step_mode: str) -> None:
    """Neurons go on from part to part, and begin at rest in each simulation and in each call."""
    _, network = pair("events", step_mode, timesteps=5)
    x = batch_for(network).inputs
    expected = network(x)
    assert at_rest(network)
    assert torch.equal(network(x), expected)
    for _ in range(2):
        with Simulation(network, x) as simulation:
            found = [simulation.logits(part) for part in (range(2), range(2, 3), range(3, 5))]
            assert not at_rest(network)
        assert at_rest(network)
        torch.testing.assert_close(torch.cat(found), expected, rtol=1e-12, atol=1e-14)
    assert network.timesteps == 5
    copy.deepcopy(network)


@pytest.mark.parametrize("rule", RULES)
def test_a_step_leaves_neurons_at_rest(rule: str) -> None:
    """Also one that fails; and BPTT after it is as if nothing had happened."""
    _, network = pair("images", "s")
    expected = found_by(network, "bptt")
    make_rule(rule).step(network, batch_for(network), SGD(network.parameters(), lr=0.0))
    assert at_rest(network)
    handle = network.get_submodule("module.6").register_forward_hook(lambda *_: pytest.fail("broken"))
    with pytest.raises(pytest.fail.Exception):
        make_rule(rule).step(network, batch_for(network), SGD(network.parameters(), lr=0.0))
    handle.remove()
    assert all(torch.equal(a, b) for a, b in zip(found_by(network, "bptt"), expected, strict=True))


def test_ottt_is_that_of_spikingjelly() -> None:
    """SpikingJelly's own layers with traces, trained timestep by timestep: the same gradients."""
    _, network = pair("images", "s")
    online = vgg(3, neuron.OTTTLIFNode, layer.OTTTSequential).double()
    for node in online.modules():
        if isinstance(node, neuron.OTTTLIFNode):
            node.surrogate_function = surrogate.Sigmoid(4.0)
    with torch.no_grad():
        for own, other in zip(network.parameters(), online.parameters(), strict=True):
            other.copy_(own)
    batch = batch_for(network)
    for _ in range(4):
        (F.cross_entropy(online(batch.inputs), batch.targets) / 4).backward()
    expected = [parameter.grad for parameter in online.parameters()]
    for a, b in zip(found_by(network, "ottt_a"), expected, strict=True):
        assert b is not None
        torch.testing.assert_close(a, b, rtol=0, atol=EXACT * float(b.abs().max()))


# ----------------------------------------------------------------------------------------------- what it says of itself


def test_what_the_network_says_of_itself() -> None:
    _, network = pair("images", "m")
    assert (network.num_layers, network.num_blocks, network.num_classes) == (4, 0, CLASSES)
    assert network.multi_step
    assert not pair("images", "s")[1].multi_step
    assert network.leaks() == {0.5}
    assert len(network.spiking_layers()) == 3
    assert [type(each).__name__ for each in network.traceable_layers()] == ["Conv2d"] * 3 + ["Linear"]
    mixed = SpikingJellyNetwork(nn.Sequential(neuron.IFNode(), lif(tau=4.0)), SMALL["images"], 4, CLASSES)
    assert mixed.leaks() == {1.0, 0.75}
    assert not mixed.undividable


def test_containers_of_sequences_are_seen() -> None:
    """Layers of single steps inside a container that takes a sequence."""
    module = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(3, 8, 3), nn.Flatten()), lif(step_mode="m"), nn.Linear(8 * 36, CLASSES)
    )
    network = SpikingJellyNetwork(module, SMALL["images"], 4, CLASSES).double()
    assert network.multi_step
    for rule in RULES:
        assert all(float(grad.abs().max()) > 0 for grad in found_by(network, rule))


def test_a_loss_of_the_network() -> None:
    """By default the mean of the logits counts for BPTT, as in RevSNN; a loss of timesteps may be given."""
    _, network = pair("images", "s")
    logits = network(batch_for(network).inputs)
    targets = batch_for(network).targets
    assert torch.equal(network.loss(logits, targets), F.cross_entropy(logits.mean(0), targets))
    given = SpikingJellyNetwork(network.module, SMALL["images"], 4, CLASSES, loss=LOSSES["stepwise_mse"])
    assert torch.equal(given.loss(logits, targets), LOSSES["stepwise_mse"](logits, targets))


def test_logits_of_another_shape_are_refused() -> None:
    module = nn.Sequential(layer.Flatten(), lif(), layer.Linear(192, CLASSES))
    with pytest.raises(ValueError, match=r"logits have shape \[4, 2, 5\], not \[T, B, K\] = \[4, 2, 6\]"):
        SpikingJellyNetwork(module, SMALL["images"], 4, 6)(torch.randn(2, 3, 8, 8))


# ------------------------------------------------------------------------------------------------------------ refusals


def network_of(*modules: nn.Module) -> SpikingJellyNetwork:
    """These modules, flattened images in front and a read-out behind."""
    return SpikingJellyNetwork(
        nn.Sequential(layer.Flatten(), *modules, layer.Linear(192, CLASSES)), SMALL["images"], 4, CLASSES
    )


@pytest.mark.parametrize("node", [neuron.OTTTLIFNode, neuron.SLTTLIFNode])
def test_neurons_of_one_rule_are_refused(node: Any) -> None:
    with pytest.raises(NotImplementedError, match=f"{node.__name__} detaches its potential in every rule; use LIFNode"):
        network_of(node())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: neuron.PSN(T=4, surrogate_function=surrogate.ATan()), "PSN"),
        (lambda: neuron.SlidingPSN(k=2, step_mode="m"), "SlidingPSN"),
        (lambda: layer.SynapseFilter(tau=2.0), "SynapseFilter"),
    ],
)
def test_timesteps_that_cannot_be_divided(make: Callable[[], nn.Module], name: str) -> None:
    """Layers that see several timesteps, or remember in a way of their own."""
    network = network_of(lif(), make())
    for rule in RULES[1:]:
        with pytest.raises(NotImplementedError, match=f"^{name} cannot go on from one part of a simulation"):
            make_rule(rule).check(network)
    make_rule("bptt").check(network)


def test_a_network_without_neurons_has_no_timesteps_to_divide() -> None:
    with pytest.raises(NotImplementedError, match="without spiking neurons"):
        make_rule("sltt").check(network_of())


def test_a_leak_that_is_learnt_has_no_trace() -> None:
    network = network_of(neuron.ParametricLIFNode())
    with pytest.raises(NotImplementedError, match="leak of ParametricLIFNode is not known to be constant"):
        make_rule("ottt_a").check(network)
    make_rule("sltt").check(network)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: layer.WSLinear(192, 192), "WSLinear"),
        (lambda: nn.Bilinear(4, 4, 4), "Bilinear"),
        (lambda: layer.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), "Conv2d"),
        (lambda: nn.Conv2d(3, 3, 3, padding="same"), "Conv2d"),
    ],
)
def test_layers_that_cannot_learn_from_a_trace(make: Callable[[], nn.Module], name: str) -> None:
    network = network_of(lif(), make())
    with pytest.raises(NotImplementedError, match=f"^{name} cannot learn from a trace; Conv2d that pads with zeros"):
        make_rule("ottt_a").check(network)
    make_rule("sltt").check(network)


def test_checkpointing_is_refused() -> None:
    """A second evaluation would begin with the potential that the first one left."""
    for rule in RULES:
        with pytest.raises(NotImplementedError, match="use activations that are stored"):
            make_rule(rule, checkpointing=True).check(network_of(lif()))


WITHOUT = """
import sys
sys.modules["spikingjelly"] = None
import revbench.bench.cli, revbench.models.rules, revbench.models.simulation
from revbench.models import registry
assert len(registry.entries()) > 10
try:
    import revbench.models.networks.foreign
except ImportError as error:
    print("spikingjelly" in str(error))
"""


def test_nothing_else_needs_spikingjelly() -> None:
    """Without it the package imports; the module of this test says what it misses."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


# -------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_memory_of_the_rules(step_mode: str) -> None:
    """SLTT and OTTT are constant in timesteps, BPTT is not; to the byte, on real tensors and on fake ones."""

    def peak_bytes(rule: str, timesteps: int, *, fake: bool) -> int:
        torch.manual_seed(0)
        with fake_world() if fake else nullcontext():
            module = vgg(3)
            functional.set_step_mode(module, step_mode)
            network = SpikingJellyNetwork(module, SMALL["images"], timesteps, CLASSES)
            batch = Batch(torch.randn(8, 3, 8, 8), torch.randint(CLASSES, (8,)))
            optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9)
            case = Case(model="any", device="fake" if fake else "cpu")
            training = Training(case, network, make_rule(rule), batch, optimizer)
            training.warm_up(1)
            return peak(trace(training)).total_bytes

    for rule in ("bptt", "sltt", "ottt_a"):
        few, many = (peak_bytes(rule, timesteps, fake=False) for timesteps in (2, 5))
        assert (few, many) == tuple(peak_bytes(rule, timesteps, fake=True) for timesteps in (2, 5))
        assert many > 1.5 * few if rule == "bptt" else many == few
