"""The learning pass: networks learn, a recipe is a schedule, and what diverges says where."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.errors import DivergedError
from revbench.bench.learning.digits import digits_for
from revbench.bench.learning.measure import (
    NUM_STATISTICS_DIGITS,
    Recipe,
    accuracy,
    learning_pass,
    take_statistics,
    train,
)
from revbench.bench.training import prepare
from revbench.bench.worker import describe_failure
from revbench.models.networks.spiking import CIFAR, SpikingNetwork

SMALL: dict[str, Any] = {"model": "vggsws", "depth": 1, "width": 8, "timesteps": 2, "batch_size": 32}
SHORT = Recipe(num_epochs=2)


@pytest.mark.parametrize("rule", ["bptt", "sltt", "ottt_o"])
def test_a_network_learns(rule: str) -> None:
    """Two epochs bring a small network far beyond the tenth that guessing reaches."""
    found = {m.metric: m.value for m in learning_pass(Case(rule=rule, optimizer="adamw", **SMALL), SHORT)}
    accuracies = [found["test_accuracy_epoch_1"], found["test_accuracy_epoch_2"]]
    assert found["num_epochs"] == 2
    assert found["test_accuracy"] == accuracies[-1] > 0.5
    assert found["train_loss_epoch_2"] < found["train_loss_epoch_1"] < 2.5
    assert found["train_s"] > 0


def test_training_is_repeatable() -> None:
    """The same seed gives the same losses, another seed others."""
    case = Case(optimizer="adamw", **SMALL)
    recipe = Recipe(num_epochs=1)
    first, again, other = (next(train(prepare(each), recipe)) for each in (case, case, Case(seed=1, **SMALL)))
    assert first.losses == again.losses
    assert first.losses != other.losses


def test_the_learning_rate_rises_and_falls() -> None:
    """A tenth of the steps up to 1, then a cosine down to nearly 0."""
    factors = [Recipe().factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors == sorted(factors[:11]) + sorted(factors[11:], reverse=True)
    assert 0 < factors[-1] < 0.001


def test_a_loss_that_is_not_finite_names_its_step() -> None:
    """The case ends with the status `error` and one sentence."""
    training = prepare(Case(optimizer="sgd", **SMALL))
    steps = iter([torch.tensor(2.0), torch.tensor(2.0), torch.tensor(math.nan)])

    class Diverging:
        def step(self, *_: object) -> Tensor:
            return next(steps)

    object.__setattr__(training, "rule", Diverging())
    with pytest.raises(DivergedError, match="the loss is nan at training step 3") as raised:
        next(train(training, SHORT))
    assert describe_failure(raised.value) == ("error", "the loss is nan at training step 3")


class Oracle(SpikingNetwork):
    """Answers from the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def logits(self, x: Tensor) -> Tensor:
        """Not called."""
        raise AssertionError

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[2, B, 10]`, whose sum over time tells the pixel."""
        told = torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 10).float()
        return torch.stack([2 * told, told.roll(1, 1)])


def stem_statistics(network: Any, digits: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance of what the stem's batch norm reads of the digits that statistics are taken from."""
    convolution = network.stem[0]
    with torch.no_grad():
        frames = convolution(digits.train_inputs[:NUM_STATISTICS_DIGITS])
    return frames.mean((0, 2, 3)), frames.var((0, 2, 3))


def test_statistics_are_those_of_the_digits_and_training_does_not_see_them() -> None:
    """The mean over batches of mean and variance, whatever was there before; momenta stay, nothing learnt moves."""
    network: Any = prepare(Case(model="revsresnet", depth=1, width=8, timesteps=2)).model
    norm, digits = network.stem[1], digits_for(CIFAR, timesteps=2)
    norm.running_mean.fill_(7)
    before = [parameter.clone() for parameter in network.parameters()]
    take_statistics(network, digits, 32)
    mean, variance = stem_statistics(network, digits)
    assert mean.abs().max() > 0.01
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variance, rtol=0.02, atol=0)
    assert norm.momentum == 0.1
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(("rule", "taken_anew"), [("bptt", False), ("sltt", True), ("tbptt-1", True)])
def test_rules_that_simulate_in_parts_are_tested_with_statistics_taken_anew(rule: str, taken_anew: bool) -> None:
    """Those of whole simulations; BPTT, which sees these, keeps its running averages."""
    case = Case(model="revsresnet", rule=rule, depth=1, width=4, timesteps=2, batch_size=256)
    training, digits = prepare(case), digits_for(CIFAR, timesteps=2)
    next(train(training, Recipe(num_epochs=1)))
    network: Any = training.model
    mean, _ = stem_statistics(network, digits)
    assert torch.allclose(network.stem[1].running_mean, mean, rtol=1e-4, atol=1e-5) is taken_anew


def test_accuracy_counts() -> None:
    """All right, and with a fifth of the digits told wrongly, a fifth fewer; in evaluation mode, by the batch."""
    digits = digits_for(CIFAR, timesteps=2)
    told = digits.test_inputs.clone()
    told[:, 0, 0, 0] = digits.test_targets.float()
    network = Oracle()
    assert accuracy(network, replace(digits, test_inputs=told), 7) == 1
    assert not network.training
    told[::5, 0, 0, 0] = (digits.test_targets[::5].float() + 1) % 10
    assert accuracy(network, replace(digits, test_inputs=told), 7) == 0.8
