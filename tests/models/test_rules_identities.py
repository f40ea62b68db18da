"""The rules against each other: the identities I1 to I13 of the specification (section 1.8), in float64.

Networks whose batch norms look at all timesteps together take part with constant norms; what is compared is alive.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest
import torch
from online_networks import (
    BUILDERS,
    STEPWISE,
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
from torch.optim import SGD

from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.stepwise_norm import StepwiseBatchNorm
from revbench.models.reversible import ReversibleSequence
from revbench.models.rules import BPTT, make_rule
from revbench.models.rules.partwise import PartwiseRule

ROUNDING = 1e-13
ONLINE = ("sltt", "ottt_a", "ottt_o", "ottt_a_strict", "ottt_o_strict", "tbptt-1")


def divided(name: str, timesteps: int) -> SpikingNetwork:
    """A network each timestep of which is by itself but for the neurons' potential."""
    return lively(name, timesteps, constant_norms=name not in STEPWISE)


def stepwise_bptt(network: SpikingNetwork) -> BPTT:
    """BPTT with the loss that the rules which go from part to part take."""
    return BPTT(criterion=network.criterion or StepwiseLoss())


def assert_equal(found: Gradients, expected: Gradients) -> None:
    """All gradients are there in both, and the same numbers."""
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        assert torch.equal(grad, expected[name]), name


def assert_added_up(network: SpikingNetwork, parts: list[Gradients], whole: Gradients) -> None:
    """The parts' sum is the whole.

    To the bit, but for standardised weights, whose sums are taken in another order, and for reversible networks, where
    timesteps that learn go on from potentials of restored streams.
    """
    total = {name: torch.stack([part[name] for part in parts]).sum(0) for name in whole}
    assert largest_error(total, whole, learning(network)) <= ROUNDING
    if not any(isinstance(module, (StandardisedConv2d, ReversibleSequence)) for module in network.modules()):
        in_order = {name: sum((part[name] for part in parts[1:]), parts[0][name]) for name in whole}
        assert_equal(in_order, whole)


@dataclass(frozen=True, kw_only=True)
class Chosen(PartwiseRule):
    """SLTT in which these timesteps learn."""

    learning: frozenset[int]

    def parts(self, timesteps: int) -> Iterator[tuple[range, bool]]:
        """See `PartwiseRule.parts`."""
        return ((range(t, t + 1), t in self.learning) for t in range(timesteps))


# --------------------------------------------------------------------------------------------- the same for all rules


@pytest.mark.parametrize("name", BUILDERS)
def test_with_one_timestep_all_rules_are_one(name: str) -> None:
    """I1: to the bit, in every parameter, with batch statistics."""
    network = lively(name, 1)
    expected = gradients(network, "bptt")
    assert_alive(network, expected)
    for rule in (*ONLINE, "sltt-1"):
        assert_equal(gradients(network, rule), expected)


@pytest.mark.parametrize("name", BUILDERS)
def test_all_rules_see_the_same_logits(name: str) -> None:
    """I2: to the bit, in every timestep, and so the same loss."""
    network = divided(name, 4)
    batch = batch_for(network)
    logits: dict[str, Tensor] = {}
    losses: dict[str, Tensor] = {}
    for rule in ("bptt", "tbptt-2", "sltt", "sltt-2", "ottt_a", "ottt_a_strict"):
        seen: list[Tensor] = []
        handle = network.register_forward_hook(lambda _module, _inputs, y, seen=seen: seen.append(y.detach()))
        made = stepwise_bptt(network) if rule == "bptt" else make_rule(rule)
        losses[rule] = made.step(network, batch, SGD(network.parameters(), lr=0.0))
        logits[rule] = torch.cat(seen)
        handle.remove()
    assert logits["bptt"].shape == (4, 2, 10)
    assert float((logits["bptt"][3] - logits["bptt"][0]).abs().max()) > 1e-3
    for rule, found in logits.items():
        assert torch.equal(found, logits["bptt"]), rule
        torch.testing.assert_close(losses[rule], losses["bptt"], rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", BUILDERS)
def test_without_a_leak_all_rules_are_one(name: str) -> None:
    """I8: the differences vanish with the leak."""
    network = divided(name, 4)
    for leak, tolerance in ((1e-9, 1e-7), (0.0, ROUNDING)):
        change_dynamics(network, leak=leak)
        expected = gradients(network, stepwise_bptt(network))
        assert_alive(network, expected)
        for rule in ("sltt", "ottt_a", "ottt_a_strict"):
            assert largest_error(gradients(network, rule), expected, learning(network)) <= tolerance


@pytest.mark.parametrize("name", BUILDERS)
def test_with_a_leak_they_differ(name: str) -> None:
    """What the other identities compare is not one thing anyway."""
    network = divided(name, 3)
    found = [gradients(network, rule) for rule in (stepwise_bptt(network), "tbptt-1", "ottt_a", "ottt_a_strict")]
    for a, b in combinations(found, 2):
        assert largest_error(a, b, learning(network)) > 0.05


# ------------------------------------------------------------------------------------------------------- SLTT, SLTT-K


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("name", BUILDERS)
def test_sltt_is_bptt_without_the_paths_through_time(name: str, timesteps: int) -> None:
    """I3: one backward pass over all timesteps, with the potential of the one before as a constant."""
    network = divided(name, timesteps)
    found = gradients(network, "sltt")
    assert_alive(network, found)
    change_dynamics(network, temporal_gradient=False)
    expected = gradients(network, stepwise_bptt(network))
    assert largest_error(found, expected, learning(network)) <= ROUNDING


@pytest.mark.parametrize("name", BUILDERS)
def test_sltt_does_not_depend_on_the_derivative_of_the_reset(name: str) -> None:
    """I3: nor does OTTT, whose potential is a constant as well."""
    network = divided(name, 3)
    for rule in ("sltt", "ottt_a"):
        found = []
        for detach_reset in (True, False):
            change_dynamics(network, detach_reset=detach_reset)
            found.append(gradients(network, rule))
        assert_equal(*found)
        assert_alive(network, found[0])


@pytest.mark.parametrize("name", BUILDERS)
def test_the_timesteps_of_sltt_add_up(name: str) -> None:
    """I4: the gradient is the sum of those of each timestep alone."""
    network = divided(name, 5)
    alone = [gradients(network, Chosen(learning=frozenset({t}))) for t in range(5)]
    assert all(float(each["head.weight"].abs().max()) > 0 for each in alone)
    assert_added_up(network, alone, gradients(network, "sltt"))


@pytest.mark.parametrize("num_learning", [1, 2])
@pytest.mark.parametrize("name", ["vggsws", "preactresnet", "revsresnet"])
def test_sltt_k_is_a_sum_over_k_timesteps(name: str, num_learning: int) -> None:
    """I5 and I6: of each draw, and all draws are made; their mean is K/T of SLTT, for the loss is not rescaled."""
    network, T = divided(name, 3), 3
    sets = [frozenset(each) for each in combinations(range(T), num_learning)]
    expected = {each: gradients(network, Chosen(learning=each)) for each in sets}
    drawn: set[frozenset[int]] = set()
    for seed in range(40):
        found = gradients(network, f"sltt-{num_learning}", seed=seed)
        (which,) = [each for each in sets if torch.equal(found["head.weight"], expected[each]["head.weight"])]
        assert_equal(found, expected[which])
        drawn.add(which)
        if len(drawn) == len(sets):
            break
    assert drawn == set(sets)
    whole = gradients(network, "sltt")
    mean = {name: torch.stack([each[name] for each in expected.values()]).mean(0) for name in whole}
    share = {name: grad * num_learning / T for name, grad in whole.items()}
    assert largest_error(mean, share, learning(network)) <= ROUNDING
    alone = [gradients(network, Chosen(learning=frozenset({t}))) for t in sorted(which)]
    assert_added_up(network, alone, expected[which])


def test_a_batch_has_one_draw() -> None:
    """SLTT-K draws from Python's generator, and anew in the next step."""
    network = divided("vggsws", 4)
    random.seed(3)
    before = random.getstate()
    make_rule("sltt-2").step(network, batch_for(network), SGD(network.parameters(), lr=0.0))
    assert random.getstate() != before
    found = [gradients(network, "sltt-2", seed=seed) for seed in (3, 3, *range(10))]
    assert_equal(found[0], found[1])
    assert any(not torch.equal(found[0]["head.weight"], each["head.weight"]) for each in found)


@pytest.mark.parametrize("timesteps", [1, 2, 5])
@pytest.mark.parametrize("name", BUILDERS)
def test_sltt_k_with_all_timesteps_is_sltt(name: str, timesteps: int) -> None:
    """I7: to the bit; truncated BPTT of one timestep as well, and of all timesteps it is BPTT."""
    network = divided(name, timesteps)
    expected = gradients(network, "sltt")
    assert_alive(network, expected)
    assert_equal(gradients(network, f"sltt-{timesteps}"), expected)
    assert_equal(gradients(network, "tbptt-1"), expected)
    whole = gradients(network, stepwise_bptt(network))
    assert largest_error(gradients(network, f"tbptt-{timesteps}"), whole, learning(network)) <= ROUNDING


@pytest.mark.parametrize("name", ["vggbn", "preactresnet"])
def test_running_statistics_do_not_depend_on_the_rule(name: str) -> None:
    """I12: they move in all T timesteps, learning or not, to the bit as with BPTT."""
    found: dict[str, dict[str, Tensor]] = {}
    for rule in ("bptt", "tbptt-2", "sltt", "sltt-1", "sltt-2", "sltt-4", "ottt_a", "ottt_o"):
        network = lively(name, 4)
        initial = {key: buffer.clone() for key, buffer in network.named_buffers()}
        make_rule(rule).step(network, batch_for(network), SGD(network.parameters(), lr=0.0))
        found[rule] = dict(network.named_buffers())
        norms = [module for module in network.modules() if isinstance(module, StepwiseBatchNorm)]
        assert len(initial) == 3 * len(norms) > 0
        assert all(int(norm.num_batches_tracked or 0) == 4 for norm in norms)
        for key, buffer in found[rule].items():
            assert not torch.equal(buffer, initial[key]), (rule, key)
            assert torch.equal(buffer, found["bptt"][key]), (rule, key)


# ------------------------------------------------------------------------------------------------------------ and OTTT


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("name", BUILDERS)
def test_ottt_and_sltt_share_the_error(name: str, timesteps: int) -> None:
    """I9: so all that has no trace learns the same: biases, norms, gains of residuals, the first layer."""
    network = divided(name, timesteps)
    found, expected = gradients(network, "ottt_a"), gradients(network, "sltt")
    assert_alive(network, expected)
    layers = {key: m for key, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    first = next(iter(layers))
    traced = {f"{layer}.{part}" for layer in layers if layer != first for part in ("weight", "gain")}
    if not network.head_reads_spikes:
        traced.discard("head.weight")
    alike = {key for key, grad in found.items() if torch.equal(grad, expected[key])}
    assert alike == found.keys() - traced
    assert {f"{first}.weight", "head.bias"} <= alike


LAST_HIDDEN = {
    "vggsws": ["layers.10.0.weight", "layers.10.0.gain"],
    "vggbn": ["layers.15.0.weight"],
    "preactresnet": ["blocks.3.second_convolution.0.weight", "blocks.3.shortcut.0.weight"],
    "nfresnet": ["blocks.3.first_convolution.0.weight", "blocks.3.first_convolution.0.gain"],
}
"""The weights behind which there is one layer of neurons."""


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("name", LAST_HIDDEN)
def test_the_last_hidden_layer_of_ottt_learns_as_in_bptt(name: str, timesteps: int) -> None:
    """I10: if the reset is detached, and norms are constants; nothing else does, and not if it is attached.

    By the formula of the paper its bias does as well, and the read-out.
    """
    network = lively(name, timesteps, constant_norms=True)
    last = LAST_HIDDEN[name]
    change_dynamics(network, detach_reset=True, leak=0.5)
    expected = gradients(network, stepwise_bptt(network))
    assert_alive(network, expected)
    found = gradients(network, "ottt_a")
    assert largest_error(found, expected, last) <= ROUNDING
    strict = gradients(network, "ottt_a_strict")
    biases = [key.replace(".weight", ".bias") for key in last if key.endswith(".weight")]
    assert largest_error(strict, expected, [*last, *biases, "head.weight", "head.bias"]) <= ROUNDING
    assert largest_error(found, expected, biases) > 0.05
    kernels = [key for key, grad in expected.items() if grad.ndim == 4 and grad[0].numel() > 1]
    assert [key for key in kernels if largest_error(found, expected, [key]) <= 1e-3] == [
        key for key in last if key in kernels
    ]
    change_dynamics(network, detach_reset=False)
    attached = gradients(network, stepwise_bptt(network))
    assert all(largest_error(found, attached, [key]) > 0.01 for key in last)


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize("name", BUILDERS)
def test_the_read_out_of_sltt_learns_as_in_bptt(name: str, timesteps: int) -> None:
    """I11: there is no membrane behind it. OTTT's code gives it a trace all the same, its formula does not."""
    network = divided(name, timesteps)
    expected = gradients(network, stepwise_bptt(network))
    read_out = ["head.weight", "head.bias"]
    for rule in ("sltt", "ottt_a_strict"):
        assert largest_error(gradients(network, rule), expected, read_out) <= ROUNDING
    error = largest_error(gradients(network, "ottt_a"), expected, ["head.weight"])
    assert error > 0.05 if network.head_reads_spikes else error <= ROUNDING


@pytest.mark.parametrize("rule", ["ottt_{}", "ottt_{}_strict"])
@pytest.mark.parametrize("name", BUILDERS)
def test_the_updates_of_ottt_o_add_up_to_ottt_a(name: str, rule: str) -> None:
    """I13: at a learning rate of 0, where the weights stay, one gradient in each of T steps."""
    network = divided(name, 5)
    expected = gradients(network, rule.format("a"))
    parts: list[Gradients] = []
    optimizer = SGD(network.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(
        lambda *_: parts.append({key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None})
    )
    make_rule(rule.format("o")).step(network, batch_for(network), optimizer)
    assert len(parts) == 5
    assert_added_up(network, parts, expected)
