"""The rules as they are used: names, limits, optimizer steps, precision, frozen parameters, phases."""

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from online_networks import (
    BUILDERS,
    Gradients,
    assert_alive,
    batch_for,
    change_dynamics,
    gradients,
    largest_error,
    learning,
    lively,
)
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD

from revbench.models import annotations, registry
from revbench.models.networks.msresnet import msresnet
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.neurons import Neuron
from revbench.models.rules import BPTT, OTTT, SLTT, Rule, TruncatedBPTT, UnknownRuleError, is_rule, make_rule, rules
from revbench.models.rules.losses import LOSSES

EVERY_RULE = ("bptt", "tbptt-2", "sltt", "sltt-2", "ottt_a", "ottt_o", "ottt_a_strict", "ottt_o_strict")
PARTWISE = EVERY_RULE[1:]


def sgd(network: nn.Module, learning_rate: float = 0.0) -> SGD:
    """An optimizer of all that learns."""
    return SGD([p for p in network.parameters() if p.requires_grad], lr=learning_rate)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bptt", BPTT()),
        ("tbptt-4", TruncatedBPTT(length=4)),
        ("sltt", SLTT()),
        ("sltt-12", SLTT(num_learning=12)),
        ("ottt_a", OTTT()),
        ("ottt_o", OTTT(updates="timestep")),
        ("ottt_a_strict", OTTT(strict=True)),
        ("ottt_o_strict", OTTT(strict=True, updates="timestep")),
    ],
)
def test_names(name: str, expected: Rule) -> None:
    """A name makes its rule, with the options of all rules."""
    assert make_rule(name) == expected
    assert is_rule(name)
    options = {"autocast_dtype": torch.bfloat16, "criterion": LOSSES["stepwise"], "checkpointing": True}
    made = make_rule(name, **options)
    assert type(made) is type(expected)
    assert {key: getattr(made, key) for key in options} == options


def test_every_rule_is_described() -> None:
    """In one sentence."""
    assert set(rules()) == {"bptt", "tbptt-K", "sltt", "sltt-K", "ottt_a", "ottt_o", "ottt_a_strict", "ottt_o_strict"}
    assert all(re.fullmatch(r"[A-Z].*\.", rule.summary) for rule in rules().values())


@pytest.mark.parametrize(
    "name", ["", "BPTT", "sltt-0", "sltt-", "sltt-02", "sltt-2x", "tbptt", "tbptt-K", "ottt", "sltt-K"]
)
def test_unknown_names(name: str) -> None:
    """The message has those that there are."""
    assert not is_rule(name)
    with pytest.raises(
        UnknownRuleError, match=rf"no rule '{name}'; valid: bptt, tbptt-K, sltt, .* number from 1 for K"
    ):
        make_rule(name)


# -------------------------------------------------------------------------------------------------------------- limits


def refused(network: SpikingNetwork, rule: Rule) -> str:
    """The message with which the rule refuses the network, in `check` and in `step`, before anything is computed."""
    messages = []
    batch = batch_for(network)
    network.register_forward_pre_hook(lambda *_: pytest.fail("the network was called"))
    for run in (lambda: rule.check(network), lambda: rule.step(network, batch, sgd(network))):
        with pytest.raises(NotImplementedError) as error:
            run()
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    return messages[0]


def test_more_learning_timesteps_than_there_are() -> None:
    message = "5 of T=4 timesteps cannot learn; valid K of SLTT-K: 1 to 4"
    assert refused(lively("vggsws", 4), make_rule("sltt-5")) == message
    assert refused(lively("vggsws", 4), SLTT(num_learning=0)) == message.replace("5 of", "0 of")
    make_rule("sltt-4").check(lively("vggsws", 4))


@pytest.mark.parametrize("length", [4, 5, 7, 12])
def test_parts_that_do_not_divide_the_timesteps(length: int) -> None:
    message = refused(lively("vggsws", 6), make_rule(f"tbptt-{length}"))
    assert message == f"parts of {length} timesteps do not divide T=6; valid lengths: 1, 2, 3, 6"


@pytest.mark.parametrize("rule", PARTWISE)
def test_a_loss_of_all_timesteps_together(rule: str) -> None:
    """It cannot be taken apart; BPTT takes it."""
    network = lively("vggsws", 2)
    assert "needs the logits of all timesteps together" in refused(
        network, make_rule(rule, criterion=LOSSES["mean_logits"])
    )
    make_rule("bptt", criterion=LOSSES["mean_logits"]).step(lively("vggsws", 2), batch_for(network), sgd(network))


@pytest.mark.parametrize("rule", ["tbptt-1", "sltt", "ottt_a"])
@pytest.mark.parametrize("loss", ["stepwise", "stepwise_mse", "stepwise_ones", "tet"])
def test_a_loss_that_is_given_counts(rule: str, loss: str) -> None:
    """Instead of the network's own, for every rule; without a time they agree on it."""
    network = lively("vggsws", 2)
    change_dynamics(network, leak=0.0)
    criterion = LOSSES[loss]
    found, expected = (gradients(network, make_rule(each, criterion=criterion)) for each in (rule, "bptt"))
    assert largest_error(found, expected, learning(network)) <= 1e-13
    if loss != "stepwise_mse":
        assert largest_error(found, gradients(network, rule), learning(network)) > 1e-3


@pytest.mark.parametrize("rule", PARTWISE)
def test_networks_that_cannot_be_divided(rule: str) -> None:
    """T-RevSNN, a network without spikes, and the buffers of the published code; BPTT takes them all."""
    networks = {
        "weights of its own for every timestep": registry.build("trevsnn", timesteps=4, width=8, depth=1),
        "without spiking neurons has no timesteps": registry.build("annresnet", timesteps=4, width=4, depth=1),
        "buffers are those of bptt": msresnet([1, 1, 1, 1], timesteps=4, width=4, published_buffers=True),
    }
    for reason, network in networks.items():
        make_rule("bptt").check(network)
        assert reason in refused(network, make_rule(rule))


@pytest.mark.parametrize("rule", ["ottt_a", "ottt_o_strict"])
def test_networks_with_several_leaks(rule: str) -> None:
    """There is no one trace for all; SLTT needs none."""
    network = lively("vggsws", 2)
    first = next(module for module in network.modules() if isinstance(module, Neuron))
    change_dynamics(first, leak=0.25)
    message = refused(network, make_rule(rule))
    assert "need neurons that all have one leak, and these have [0.25, 0.5]; valid rules: bptt, sltt" in message
    make_rule("sltt").check(network)


# ---------------------------------------------------------------------------------------------------- optimizer steps


@pytest.mark.parametrize(
    ("rule", "num_steps"),
    [("bptt", 1), ("tbptt-2", 1), ("sltt", 1), ("sltt-2", 1), ("ottt_a", 1), ("ottt_o", 4), ("ottt_o_strict", 4)],
)
def test_optimizer_steps(rule: str, num_steps: int) -> None:
    """One a batch, or one a timestep; each sees the gradients of its own, and old ones do not count."""
    network = lively("vggsws", 4)
    seen: list[Tensor] = []
    optimizer = sgd(network)
    optimizer.register_step_pre_hook(lambda *_: seen.append(network.get_parameter("stem.weight").grad))
    expected = gradients(network, rule)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    random.seed(0)
    make_rule(rule).step(network, batch_for(network), optimizer)
    assert len(seen) == num_steps
    assert len({id(grad) for grad in seen}) == num_steps
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert all(torch.equal(grad, expected[name]) for name, grad in found.items())


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_few_steps_lower_the_loss(rule: str) -> None:
    """Each rule learns one fixed batch."""
    network = lively("vggsws", 4).float()
    batch = batch_for(network, batch_size=4)
    optimizer = SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = [float(make_rule(rule).step(network, batch, optimizer)) for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_the_loss_is_detached(rule: str) -> None:
    network = lively("vggsws", 2)
    loss = make_rule(rule).step(network, batch_for(network), sgd(network))
    assert loss.grad_fn is None
    assert not loss.requires_grad
    assert loss.shape == ()
    assert loss.dtype == torch.float64


# ----------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype: torch.dtype, rule: str) -> None:
    """Under autocast gradients are finite, of the parameters' type, and point where those of single precision do."""
    network = lively("vggsws", 2).float()
    expected = gradients(network, rule)
    found = gradients(network, make_rule(rule, autocast_dtype=dtype))
    assert found.keys() == expected.keys()
    assert {grad.dtype for grad in found.values()} == {torch.float32}
    assert all(bool(torch.isfinite(grad).all()) for grad in found.values())
    ours, theirs = (torch.cat([grads[key].flatten() for key in learning(network)]) for grads in (found, expected))
    assert not torch.equal(ours, theirs)
    assert float(torch.cosine_similarity(ours, theirs, dim=0)) > 0.9


@pytest.mark.parametrize("name", BUILDERS)
def test_identities_in_half_precision(name: str) -> None:
    """With one timestep all rules are one, to the bit; what has no trace learns the same under OTTT and SLTT.

    In deep networks with batch norms half precision itself flips so many spikes that gradients cannot be compared with
    those of single precision: weights that differ by 2^-11 are enough.
    """
    expected, *others = (
        gradients(lively(name, 1).float(), make_rule(rule, autocast_dtype=torch.bfloat16))
        for rule in ("bptt", "sltt", "tbptt-1", "ottt_a", "ottt_o_strict")
    )
    for found in others:
        assert found.keys() == expected.keys()
        assert all(torch.equal(grad, expected[key]) for key, grad in found.items())
    network = lively(name, 3, constant_norms=True).float()
    sltt, ottt = (gradients(network, make_rule(rule, autocast_dtype=torch.bfloat16)) for rule in ("sltt", "ottt_a"))
    traced = {key for key, grad in ottt.items() if not torch.equal(grad, sltt[key])}
    assert traced
    assert all(key.endswith(("weight", "gain")) for key in traced)
    assert next(iter(sltt)) not in traced


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_scaler_changes_no_gradient(rule: str) -> None:
    """The optimizer sees what it sees without; a power of two is exact."""
    network = lively("vggsws", 4)
    expected = gradients(network, rule)
    scaler = GradScaler("cpu", init_scale=2.0**10, growth_interval=100)
    seen: list[Gradients] = []
    optimizer = sgd(network)
    optimizer.register_step_pre_hook(
        lambda *_: seen.append({key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None})
    )
    random.seed(0)
    make_rule(rule, scaler=scaler).step(network, batch_for(network), optimizer)
    assert len(seen) == (4 if "_o" in rule else 1)
    assert all(torch.equal(grad, expected[key]) for key, grad in seen[-1].items())
    assert scaler.get_scale() == 2.0**10


class LargeLoss(StepwiseLoss):
    """A loss of which every timestep overflows when it is scaled by 2^127."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return 1e4 * super().__call__(logits, targets)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_an_overflow_skips_the_update(rule: str) -> None:
    """And the scale is halved, in each step of the optimizer; the next step without overflow counts."""
    network = lively("vggsws", 4).float()
    before = copy.deepcopy(network.state_dict())
    scaler = GradScaler("cpu", init_scale=2.0**127, growth_interval=100)
    optimizer = sgd(network, learning_rate=0.1)
    make_rule(rule, scaler=scaler, criterion=LargeLoss()).step(network, batch_for(network), optimizer)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert scaler.get_scale() == 2.0 ** (127 - (4 if "_o" in rule else 1))
    scaler.update(2.0)
    make_rule(rule, scaler=scaler).step(network, batch_for(network), optimizer)
    assert not torch.equal(network.state_dict()["head.weight"], before["head.weight"])


# ------------------------------------------------------------------------------------------------- standardised weights


@pytest.mark.parametrize(("rule", "times"), [("tbptt-2", 1), ("sltt", 1), ("sltt-2", 1), ("ottt_a", 1), ("ottt_o", 4)])
@pytest.mark.parametrize("name", ["vggsws", "nfresnet"])
def test_weights_are_standardised_once_a_step_of_the_optimizer(
    name: str, rule: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the gradients of a network that standardises them in each timestep."""
    network = lively(name, 4)
    found = gradients(network, rule)
    assert_alive(network, found)
    layers = [module for module in network.modules() if isinstance(module, StandardisedConv2d)]
    calls: list[nn.Module] = []
    for kind in {type(layer) for layer in layers}:
        original = kind.standardised_weight

        def counted(layer: Any, original: Callable[[Any], Tensor] = original) -> Tensor:
            calls.append(layer)
            return original(layer)

        monkeypatch.setattr(kind, "standardised_weight", counted)
    gradients(network, rule)
    assert len(calls) == times * len(layers)
    calls.clear()
    monkeypatch.setattr(
        "revbench.models.rules.partwise.standardised_once", lambda _network: annotations.kind("recomputation")
    )
    expected = gradients(network, rule)
    assert len(calls) == 4 * len(layers) if "tbptt" not in rule else 2 * len(layers)
    assert largest_error(found, expected, learning(network)) <= 1e-13


# ------------------------------------------------------------------------------------------- frozen parameters, hooks

FROZEN: dict[str, Callable[[str], bool]] = {
    "stem": lambda name: name.startswith(("stem", "tokenizer.stages.stem")),
    "biases": lambda name: name.endswith("bias"),
    "gains": lambda name: name.endswith("gain"),
    "all but the read-out": lambda name: not name.startswith("head"),
    "read-out": lambda name: name.startswith("head"),
    "the lower half": lambda name: name.startswith(("stem", "layers.1.", "layers.4.", "blocks.0", "stages.0")),
}


@pytest.mark.parametrize("rule", ["bptt", "tbptt-2", "sltt", "ottt_a", "ottt_o_strict"])
@pytest.mark.parametrize("what", FROZEN)
@pytest.mark.parametrize("name", ["vggsws", "preactresnet", "revsresnet"])
def test_frozen_parameters(name: str, what: str, rule: str) -> None:
    """They get no gradient, and the others the one that they get without; checkpointed as well."""
    network = lively(name, 2)
    expected = gradients(network, rule)
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(not FROZEN[what](key))
    for checkpointing in (False, True):
        found = gradients(network, make_rule(rule, checkpointing=checkpointing))
        assert list(found) == [key for key in expected if not FROZEN[what](key)]
        assert largest_error(found, expected, [key for key in learning(network) if key in found]) <= 1e-13


@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("name", ["vggsws", "revsresnet"])
def test_hooks_of_gradients(name: str, rule: str) -> None:
    """They see gradients that add up to the whole, and what they return counts."""
    network = lively(name, 2)
    expected = gradients(network, rule)
    key = "head.weight"
    seen: list[Tensor] = []

    def tripled(grad: Tensor) -> Tensor:
        seen.append(grad.clone())
        return 3 * grad

    for parameter_name in (key, learning(network)[-3]):
        network.get_parameter(parameter_name).register_hook(tripled)
    optimizer = sgd(network)
    random.seed(0)
    make_rule(rule).step(network, batch_for(network), optimizer)
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert len(seen) >= 2
    for parameter_name, grad in found.items():
        factor = 3 if parameter_name in (key, learning(network)[-3]) else 1
        torch.testing.assert_close(grad, factor * expected[parameter_name], rtol=1e-12, atol=1e-12)


# -------------------------------------------------------------------------------------------------------------- phases


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("bptt", "forward backward optimizer"),
        ("tbptt-2", "forward backward forward backward optimizer"),
        ("sltt", "forward backward " * 4 + "optimizer"),
        ("ottt_a", "forward backward " * 4 + "optimizer"),
        ("ottt_o", "forward backward optimizer " * 4),
    ],
)
def test_phases(rule: str, expected: str) -> None:
    """Announced in order, none inside another; a timestep that does not learn has a forward pass only."""
    heard: list[tuple[str, bool]] = []
    network = lively("preactresnet", 4)
    with annotations.listening(lambda name, begins: heard.append((name, begins))):
        make_rule(rule).step(network, batch_for(network), sgd(network))
    begun = [name for name, begins in heard if begins]
    assert heard == [(name, begins) for name in begun for begins in (True, False)]
    # The first forward phase of rules in parts standardises weights, if there are any; here is one without.
    if rule in ("tbptt-2", "sltt", "ottt_a"):
        assert (begun.pop(0), begun.pop(-2)) == ("forward", "backward")
    assert begun == expected.split()


def test_phases_of_timesteps_that_do_not_learn() -> None:
    """SLTT-K has T forward phases and K backward phases."""
    heard: list[str] = []
    network = lively("preactresnet", 5)
    with annotations.listening(lambda name, begins: heard.append(name) if begins else None):
        make_rule("sltt-2").step(network, batch_for(network), sgd(network))
    assert heard.count("forward") == 5 + 1
    assert heard.count("backward") == 2 + 1
    assert heard.count("optimizer") == 1


def test_all_families_are_known_to_the_rules() -> None:
    """The networks of these tests are of all families that can be divided."""
    for name in BUILDERS:
        for rule in EVERY_RULE:
            make_rule(rule).check(lively(name, 4))
