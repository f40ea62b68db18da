"""A simulation in parts: the numbers of the whole, nothing left behind, and parts in their order."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from online_networks import (
    BUILDERS,
    STEPWISE,
    assert_alive,
    batch_for,
    firing_rates,
    gradients,
    largest_error,
    learning,
    lively,
    small_revsresnet,
)
from torch import Tensor, nn
from torch.optim import SGD

from revbench.models import annotations
from revbench.models.networks.msresnet import cifar_neuron
from revbench.models.networks.spiking import CIFAR, SpikingNetwork
from revbench.models.networks.stepwise_norm import StepwiseBatchNorm
from revbench.models.neurons import LIF, Neuron
from revbench.models.neurons.memory import Memory
from revbench.models.reversible import Coupling, ReversibleSequence
from revbench.models.rules import make_rule
from revbench.models.simulation import Simulation

PARTITIONS = [(1, 1, 1, 1, 1), (2, 2, 1), (1, 4), (5,)]


def parts(lengths: tuple[int, ...]) -> Iterator[range]:
    """Parts of these lengths, one behind the other."""
    start = 0
    for length in lengths:
        yield range(start, start + length)
        start += length


def in_parts(
    network: SpikingNetwork, x: Tensor, lengths: tuple[int, ...], then: Callable[[Tensor], object] = lambda _: None
) -> Tensor:
    """The logits of all timesteps; `then` is called with those of each part."""
    found = []
    with Simulation(network, x) as simulation:
        for part in parts(lengths):
            logits = simulation.logits(part)
            assert logits.shape[0] == len(part)
            found.append(logits.detach())
            then(logits)
    return torch.cat(found)


def divided(name: str, timesteps: int = 5, **options: Any) -> SpikingNetwork:
    """A network each timestep of which is by itself but for the neurons' potential."""
    return lively(name, timesteps, constant_norms=name not in STEPWISE, **options)


def assert_nothing_left(network: SpikingNetwork, timesteps: int = 5) -> None:
    """The network is as one that was never simulated in parts."""
    assert network.timesteps == timesteps
    assert all(module.memory is None for module in network.modules() if isinstance(module, Neuron))
    assert not any(module._forward_pre_hooks for module in network.modules())
    fresh = copy.deepcopy(network)
    assert torch.equal(fresh(batch_for(fresh).inputs), network(batch_for(fresh).inputs))


# ------------------------------------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("lengths", PARTITIONS, ids=str)
@pytest.mark.parametrize("name", BUILDERS)
def test_logits_in_parts_are_those_of_the_whole(name: str, lengths: tuple[int, ...]) -> None:
    """To the bit, with gradients and without."""
    network = divided(name)
    x = batch_for(network).inputs
    assert all(0.01 < rate < 0.99 for rate in firing_rates(network))
    with torch.no_grad():
        expected = network(x)
        assert not torch.equal(expected[4], expected[0])
        assert torch.equal(in_parts(network, x, lengths), expected)
    assert torch.equal(in_parts(network, x, lengths, lambda logits: logits.sum().backward()), expected)


def test_event_frames_go_to_their_parts() -> None:
    """Each part reads its own frames."""
    network = divided("vggsws_events")
    x = batch_for(network).inputs
    with torch.no_grad():
        expected = network(x)
        assert torch.equal(in_parts(network, x, (1, 3, 1)), expected)
        assert not torch.equal(in_parts(network, x.flip(0), (1, 3, 1)), expected)


@pytest.mark.parametrize("name", ["vggbn", "preactresnet"])
def test_running_statistics_in_parts_are_those_of_the_whole(name: str) -> None:
    """Of norms that look at each timestep by itself."""
    whole, divided_one = lively(name, 5), lively(name, 5)
    x = batch_for(whole).inputs
    with torch.no_grad():
        whole(x)
        in_parts(divided_one, x, (2, 1, 2))
    expected = dict(whole.named_buffers())
    assert any(isinstance(module, StepwiseBatchNorm) for module in whole.modules())
    for key, buffer in divided_one.named_buffers():
        assert torch.equal(buffer, expected[key])


def test_parts_with_and_without_gradients_follow_each_other() -> None:
    """Any order of parts that learn and that do not; the gradient of a part is that of the whole simulation's part."""
    for name in ("preactresnet", "revsresnet"):
        network = divided(name)
        x = batch_for(network).inputs
        with torch.no_grad():
            expected = network(x)
        for learning_parts in ({0, 2}, {1, 3}, {4}, set[int]()):
            with Simulation(network, x) as simulation:
                for t in range(5):
                    with torch.set_grad_enabled(t in learning_parts):
                        logits = simulation.logits(range(t, t + 1))
                    assert logits.requires_grad == (t in learning_parts)
                    assert torch.equal(logits.detach(), expected[t : t + 1])
                    if logits.requires_grad:
                        logits.sum().backward()


# ------------------------------------------------------------------------------------------------- nothing stays


@pytest.mark.parametrize("name", ["vggsws", "vggbn", "revsresnet", "sdt"])
def test_nothing_remains_after_a_simulation(name: str) -> None:
    """The potential ends with the block; the next simulation, and the next call, begin at rest."""
    network = divided(name)
    x = batch_for(network).inputs
    first, second = (in_parts(network, x, (2, 3), lambda logits: logits.sum().backward()) for _ in range(2))
    assert torch.equal(first, second)
    assert_nothing_left(network)


@pytest.mark.parametrize("rule", ["sltt", "sltt-2", "tbptt-5", "ottt_a", "ottt_o_strict"])
@pytest.mark.parametrize("name", ["vggsws", "preactresnet", "revsresnet"])
def test_bptt_after_another_rule_is_as_if_nothing_had_happened(name: str, rule: str) -> None:
    """Gradients and logits, to the bit."""
    network = divided(name)
    expected = gradients(network, "bptt")
    assert_alive(network, expected)
    for checkpointing in (False, True):
        made = make_rule(rule, checkpointing=checkpointing)
        made.step(network, batch_for(network), SGD(network.parameters(), lr=0.0))
        found = gradients(network, "bptt")
        assert all(torch.equal(grad, expected[key]) for key, grad in found.items())
    assert_nothing_left(network)


class BrokenError(Exception):
    """What a test breaks."""


def explode(*_: Any) -> None:
    """Goes wrong."""
    raise BrokenError


@pytest.mark.parametrize("where", ["forward", "backward", "optimizer"])
@pytest.mark.parametrize("rule", ["sltt", "ottt_a", "ottt_o"])
@pytest.mark.parametrize("name", ["vggsws", "revsresnet"])
def test_nothing_remains_after_an_error(name: str, rule: str, where: str) -> None:
    """In any phase of a step: the network is as before, and learns as before."""
    network = divided(name)
    expected = gradients(network, rule)
    optimizer = SGD(network.parameters(), lr=0.0)
    last = [module for module in network.modules() if isinstance(module, Neuron)][-1]
    if where == "forward":
        handle: Any = last.register_forward_hook(explode)
    elif where == "backward":
        handle = network.get_parameter("head.weight").register_hook(explode)
    else:
        handle = optimizer.register_step_pre_hook(explode)
    with pytest.raises(BrokenError):
        make_rule(rule, checkpointing=True).step(network, batch_for(network), optimizer)
    handle.remove()
    assert_nothing_left(network)
    found = gradients(network, rule)
    assert all(torch.equal(grad, expected[key]) for key, grad in found.items())


# --------------------------------------------------------------------------------------------------- order of parts


def test_a_part_before_the_backward_pass_of_the_last_is_refused() -> None:
    """Where activations are recomputed, the potential is known only after the backward pass."""
    network = divided("revsresnet")
    x = batch_for(network).inputs
    with Simulation(network, x) as simulation:
        simulation.logits(range(1)).sum().backward()
        logits = simulation.logits(range(1, 2))
        with pytest.raises(RuntimeError, match="begun before the backward pass of the one before"):
            simulation.logits(range(2, 3))
        logits.sum().backward()
        simulation.logits(range(2, 3))
    assert_nothing_left(network)


def test_with_stored_activations_backward_may_come_later() -> None:
    """Then the gradient of all parts together is the same."""
    network = divided("revsresnet", activations="stored")
    batch = batch_for(network)
    targets = batch.targets.repeat(5)
    with Simulation(network, batch.inputs) as simulation:
        logits = torch.cat([simulation.logits(part) for part in parts((1, 1, 1, 1, 1))])
    nn.functional.cross_entropy(logits.flatten(0, 1), targets).backward()
    found = {key: p.grad for key, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    expected = gradients(network, "sltt")
    assert_alive(network, expected)
    assert largest_error(found, expected, learning(network)) <= 1e-13


class Twice(SpikingNetwork):
    """A reversible network whose function calls one layer of neurons twice."""

    def __init__(self) -> None:
        super().__init__()
        self.input_shape, self.timesteps, self.num_classes = CIFAR, 5, 10
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = ReversibleSequence([Coupling(0, (1,), TwiceFunction()), Coupling(1, (0,), TwiceFunction())])
        self.head = nn.Linear(2, 10)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep."""
        streams = self.blocks(*self.stem_once(self.stem, x).chunk(2, dim=2))
        logits: Tensor = self.head(streams[0].mean((-2, -1)))
        return logits


class TwiceFunction(nn.Module):
    """The spikes of the spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = cifar_neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Calls the neurons twice."""
        spikes: Tensor = self.neuron(self.neuron(x))
        return spikes


def test_a_layer_called_twice_cannot_be_recomputed_in_parts() -> None:
    """It is said in the first part; with stored activations each call has a potential of its own."""
    network = Twice()
    x = torch.randn(2, 3, 32, 32)
    with Simulation(network, x) as simulation, pytest.raises(NotImplementedError, match="more than once in a timestep"):
        simulation.logits(range(1))
    assert_nothing_left(network.double())
    network.blocks.activations = "stored"
    x = x.double()
    assert torch.equal(in_parts(network, x, (1, 2, 2)), network(x).detach())


# ------------------------------------------------------------------------------------------ recomputation, once only


def committed(network: SpikingNetwork, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """For every note of a neuron in the first learning part: the layer, and whether the next part will find it."""
    noted: list[tuple[int, bool]] = []
    original = Memory.note

    def note(memory: Memory, tensor: Tensor) -> None:
        before = list(memory._tensors)
        original(memory, tensor)
        noted.append((id(memory), list(map(id, before)) != list(map(id, memory._tensors))))

    monkeypatch.setattr(Memory, "note", note)
    with Simulation(network, batch_for(network).inputs) as simulation:
        simulation.logits(range(1)).sum().backward()
    return noted


@pytest.mark.parametrize("activations", ["recomputed", "stored"])
def test_each_layer_leaves_its_potential_once(activations: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are recomputed are evaluated twice, and commit in the second evaluation alone."""
    network = divided("revsresnet", activations=activations)
    noted = committed(network, monkeypatch)
    commits = [memory for memory, changed in noted if changed]
    recomputed = sum(
        isinstance(part, Neuron)
        for sequence in network.modules()
        if isinstance(sequence, ReversibleSequence) and sequence.activations == "recomputed"
        for part in sequence.modules()
    )
    assert recomputed == (8 if activations == "recomputed" else 0)
    calls = len(firing_rates(network))
    assert len(commits) == calls
    assert len(noted) == calls + recomputed


@pytest.mark.parametrize("rule", ["sltt", "tbptt-2", "ottt_a", "ottt_a_strict"])
def test_state_that_is_committed_in_both_evaluations_is_seen(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An injected fault: recomputation then starts from what the first evaluation left, and gradients are others."""
    timesteps = 4
    network = divided("revsresnet", timesteps)
    stored = divided("revsresnet", timesteps, activations="stored")
    expected = gradients(stored, rule)
    assert_alive(stored, expected)
    assert largest_error(gradients(network, rule), expected, learning(network)) <= 1e-12

    def note(memory: Memory, tensor: Tensor) -> None:
        """Commits at once."""
        memory._tensors[memory._call : memory._call + 1] = [tensor]
        if not memory.evaluated_twice or annotations.current_kind() == "recomputation":
            memory._call += 1

    monkeypatch.setattr(Memory, "note", note)
    assert largest_error(gradients(network, rule), expected, learning(network)) > 0.01


def test_potentials_and_traces_are_of_one_part_alone() -> None:
    """A memory holds the storage of one timestep, however long the part was."""
    network = small_revsresnet(4)
    x = batch_for(network).inputs
    num_calls = len(firing_rates(network))
    with Simulation(network, x) as simulation:
        for part in (range(3), range(3, 4)):
            simulation.logits(part).sum().backward()
            memories = [module.memory for module in network.modules() if isinstance(module, Neuron)]
            held = [tensor for memory in memories if memory is not None for tensor in memory._tensors]
            assert len(held) == num_calls
            assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in held)
            assert not any(tensor.requires_grad for tensor in held)


def test_a_memory_by_itself() -> None:
    """Calls find what the same call left, in order; nothing in the first part."""
    memory = Memory()
    tensors = [torch.tensor(float(number)) for number in range(4)]
    memory.begin_part()
    for tensor in tensors[:2]:
        assert memory.before() is None
        memory.note(tensor)
    memory.begin_part()
    for old, new in zip(tensors[:2], tensors[2:], strict=True):
        assert memory.before() is old
        memory.note(new)
    memory.begin_part()
    assert memory.before() is tensors[2]
    assert memory.was_noted


def test_a_layer_of_the_reference_backend_remembers_too() -> None:
    """Both ways to compute a neuron give the same simulation in parts."""
    network = divided("vggsws")
    x = batch_for(network).inputs
    expected = in_parts(network, x, (2, 3))
    found = gradients(network, "tbptt-5"), gradients(network, "sltt")
    for module in network.modules():
        if isinstance(module, Neuron):
            module.backend = "reference"
    assert any(isinstance(module, LIF) for module in network.modules())
    assert torch.equal(in_parts(network, x, (2, 3)), expected)
    for rule, before in zip(("tbptt-5", "sltt"), found, strict=True):
        assert largest_error(gradients(network, rule), before, learning(network)) <= 1e-12
