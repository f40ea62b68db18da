"""Activation checkpointing: the same step with less memory, for every rule and family."""

import copy
import random
from functools import partial
from typing import Any

import pytest
import torch
from online_networks import BUILDERS, assert_alive, batch_for, gradients, learning, lively
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD

from revbench.bench.cases import Case
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import activation_peak_bytes, peak, phase_end_splits
from revbench.bench.training import Training
from revbench.models import annotations
from revbench.models.networks.preact_resnet import preact_resnet
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.spiking_vgg import vgg_sws
from revbench.models.neurons import Neuron
from revbench.models.rules import make_rule
from revbench.models.rules.checkpointing import checkpointed, checkpointed_groups

RULES = ("bptt", "tbptt-2", "sltt", "sltt-2", "ottt_a", "ottt_o_strict")


def storing(name: str, timesteps: int = 4, **options: Any) -> SpikingNetwork:
    """The network of that name, whose activations are stored."""
    own = {"activations": "stored"} if name.startswith("rev") else {}
    return lively(name, timesteps, **own, **options)


def step(network: SpikingNetwork, rule: str, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one step, and the network's state after it with the gradients."""
    torch.manual_seed(2)
    random.seed(0)
    loss = make_rule(rule, **options).step(network, batch_for(network), SGD(network.parameters(), lr=0.1, momentum=0.9))
    found = {f"{name}.grad": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return loss, found | dict(network.state_dict())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_step_is_the_same(name: str, rule: str) -> None:
    """Loss, gradients, weights and running statistics, to the bit; the blocks are evaluated twice."""
    network = storing(name)
    if rule == "bptt":
        assert_alive(network, gradients(network, rule))
    twin, evaluations = copy.deepcopy(network), {"first": 0, "second": 0}

    def note(*_: Any) -> None:
        evaluations["second" if annotations.current_kind() == "recomputation" else "first"] += 1

    (loss, state), (expected_loss, expected) = step(network, rule, checkpointing=True), step(twin, rule)
    assert torch.equal(loss, expected_loss)
    assert state.keys() == expected.keys()
    for key, tensor in state.items():
        assert torch.equal(tensor, expected[key]), key
    for group in checkpointed_groups(network):
        next(part for module in group for part in module.modules() if isinstance(part, Neuron)).register_forward_hook(
            note
        )
    step(network, rule, checkpointing=True)
    parts = {"bptt": 1, "tbptt-2": 2}.get(rule, 4)
    learning_parts = 2 if rule == "sltt-2" else parts
    in_groups = evaluations["first"] // parts
    assert in_groups >= 1
    assert evaluations == {"first": parts * in_groups, "second": learning_parts * in_groups}


@pytest.mark.parametrize("rule", ["bptt", "sltt", "ottt_a"])
@pytest.mark.parametrize("name", ["vggbn", "preactresnet", "revsresnet", "sdt"])
def test_running_statistics_move_once(name: str, rule: str) -> None:
    """Not again in the second evaluation, whose norms keep their momentum and their count for the next step."""
    network = storing(name)
    norms = {key: module for key, module in network.named_modules() if isinstance(module, _BatchNorm)}
    initial = {key: (norm.momentum, norm.num_batches_tracked, norm.running_mean.clone()) for key, norm in norms.items()}
    twin = copy.deepcopy(network)
    step(network, rule, checkpointing=True)
    step(twin, rule)
    counted = {int(norm.num_batches_tracked) for norm in norms.values()}
    one_call = 1 if rule == "bptt" else 4
    assert counted == ({4} if name in ("vggbn", "preactresnet") else {one_call})
    for key, norm in norms.items():
        momentum, count, mean = initial[key]
        assert norm.momentum == momentum == 0.1
        assert norm.num_batches_tracked is count
        assert not torch.equal(norm.running_mean, mean)
        assert torch.equal(norm.running_mean, twin.get_submodule(key).running_mean)
        assert torch.equal(norm.running_var, twin.get_submodule(key).running_var)


def test_the_network_is_itself_afterwards() -> None:
    """Inside the block its methods are others, and after it there is no trace of them."""
    network = storing("vggsws")
    groups = checkpointed_groups(network)
    members = [module for group in groups for module in group]
    assert len(groups) == 5
    assert members == [*network.get_submodule("layers")]
    with checkpointed(network):
        assert all("_call_impl" in vars(module) for module in members)
    assert not any("_call_impl" in vars(module) for module in network.modules())


@pytest.mark.parametrize("name", ["revsresnet", "revsformer"])
def test_what_a_reversible_sequence_recomputes_is_left_alone(name: str) -> None:
    """It is not recomputed twice."""
    assert checkpointed_groups(lively(name, 2)) == []
    assert len(checkpointed_groups(storing(name))) == {"revsresnet": 4, "revsformer": 2}[name]


# ----------------------------------------------------------------------------------------------------- random numbers


def with_dropout(network: SpikingNetwork) -> SpikingNetwork:
    """The network, all of whose neurons drop a quarter of their spikes."""
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _module, _inputs, spikes: nn.functional.dropout(spikes, 0.25))
    return network


@pytest.mark.parametrize("rule", ["bptt", "sltt", "ottt_a"])
@pytest.mark.parametrize("name", ["vggsws", "preactresnet", "revsresnet"])
def test_random_numbers_are_replayed(name: str, rule: str) -> None:
    """The second evaluation drops the same spikes, and what is drawn after the step is the same."""
    found = []
    for checkpointing in (True, False):
        network = with_dropout(storing(name))
        _, state = step(network, rule, checkpointing=checkpointing)
        found.append(state | {"next": torch.rand(3)})
    for key, tensor in found[0].items():
        assert torch.equal(tensor, found[1][key]), key
    plain = step(storing(name), rule)[1]
    names = [f"{key}.grad" for key in learning(storing(name))]
    assert any(not torch.equal(plain[key], found[0][key]) for key in names)


# ------------------------------------------------------------------------------------------------------------- memory


def timeline(network: SpikingNetwork, rule: str, *, checkpointing: bool) -> Any:
    """The live bytes of the second step."""
    rule_made = make_rule(rule, checkpointing=checkpointing)
    optimizer = SGD(network.parameters(), lr=0.01, momentum=0.9)
    training = Training(Case(model="any"), network, rule_made, batch_for(network, batch_size=8), optimizer)
    training.warm_up(1)
    return trace(training)


DEEP = {
    "preactresnet": partial(preact_resnet, [6, 1, 1, 1], width=4, timesteps=3),
    "vggsws": partial(vgg_sws, [6, 6, 1, 1, 1], width=4, timesteps=3, image_size=16),
}


@pytest.mark.parametrize(
    ("name", "rule", "share"),
    [
        ("vggsws", "bptt", 0.8),
        ("preactresnet", "bptt", 0.5),
        ("preactresnet", "tbptt-3", 0.5),
        ("preactresnet", "sltt", 0.8),
        ("preactresnet", "ottt_a", 1.0),
    ],
)
def test_a_deep_network_takes_less_memory(name: str, rule: str, share: float) -> None:
    """At the end of the forward pass and at the peak; what is recomputed is told as such.

    Rules of single timesteps gain less: potentials (and traces) have to stay, and in a network without norms they and
    the spikes between the groups are all that there is.
    """
    stored, recomputed = (timeline(DEEP[name](), rule, checkpointing=on) for on in (False, True))
    assert activation_peak_bytes(recomputed) < share * activation_peak_bytes(stored)
    saved, saved_less = (phase_end_splits(each)["forward"]["saved"] for each in (stored, recomputed))
    assert saved_less < share * saved
    assert int(recomputed.live_bytes(("recomputation",)).max()) > 0
    assert int(stored.live_bytes(("recomputation",)).max()) == 0
    assert peak(recomputed).total_bytes < peak(stored).total_bytes


def test_hooks_see_what_they_see_without() -> None:
    """Each module of a group gives its own output to its hooks, in both evaluations."""
    network = storing("vggsws")
    seen: list[list[tuple[str, Tensor]]] = []
    for checkpointing in (False, True):
        calls: list[tuple[str, Tensor]] = []
        handles = [
            module.register_forward_hook(lambda _m, _i, y, name=name, calls=calls: calls.append((name, y.detach())))
            for name, module in network.get_submodule("layers").named_children()
        ]
        step(copy.deepcopy(network), "bptt", checkpointing=checkpointing)
        seen.append(calls)
        for handle in handles:
            handle.remove()
    plain, twice = seen
    assert len(plain) == len(network.get_submodule("layers"))
    assert len(twice) == 2 * len(plain)
    expected = dict(plain)
    assert [name for name, _ in twice[: len(plain)]] == [name for name, _ in plain]
    assert all(torch.equal(y, expected[name]) for name, y in twice)


@pytest.mark.parametrize("rule", ["sltt", "ottt_a"])
def test_gradients_under_autocast_are_the_same(rule: str) -> None:
    """The second evaluation runs in the precision of the first, to the bit."""
    found = []
    for checkpointing in (True, False):
        network = storing("preactresnet").float()
        found.append(step(network, rule, checkpointing=checkpointing, autocast_dtype=torch.bfloat16)[1])
    for key, tensor in found[0].items():
        assert torch.equal(tensor, found[1][key]), key
