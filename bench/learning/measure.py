"""The learning pass: a model is trained on digits by its rule, and its accuracy on other digits is taken.

The recipe is one for all: `Recipe`. What is asked is whether a network learns under a rule, not how well it can.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import update_bn

from revbench.bench.cases import Case
from revbench.bench.errors import DivergedError
from revbench.bench.learning.digits import Digits, digits_for, samples
from revbench.bench.records import Measurement
from revbench.bench.training import Training, prepare
from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules.partwise import PartwiseRule

NUM_STATISTICS_DIGITS = 512
"""Training digits from which the statistics of batch norms are taken anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How every model is trained.

    Attributes:
        num_epochs: passes over the training digits.
        warm_up_share: of all steps, in which the learning rate rises linearly; then it falls as a cosine, to 0.
        sgd_learning_rate: largest, with momentum 0.9.
        adamw_learning_rate: largest.
        weight_decay: of AdamW.
    """

    num_epochs: int = 8
    warm_up_share: float = 0.1
    sgd_learning_rate: float = 0.05
    adamw_learning_rate: float = 5e-3
    weight_decay: float = 0.01

    def optimizer(self, training: Training) -> Optimizer:
        """The case's optimizer with the recipe's learning rate."""
        parameters = training.model.parameters()
        if training.case.optimizer == "sgd":
            return SGD(parameters, lr=self.sgd_learning_rate, momentum=0.9)
        return AdamW(parameters, lr=self.adamw_learning_rate, weight_decay=self.weight_decay)

    def factor(self, step: int, num_steps: int) -> float:
        """The learning rate in a step, as a share of the largest."""
        num_warm = math.ceil(self.warm_up_share * num_steps)
        if step < num_warm:
            return (step + 1) / num_warm
        return 0.5 * (1 + math.cos(math.pi * (step - num_warm) / max(1, num_steps - num_warm)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch came to: the loss of each step, accuracy on the test digits, seconds of training."""

    losses: tuple[float, ...]
    test_accuracy: float
    train_s: float

    @property
    def loss(self) -> float:
        """Mean training loss."""
        return sum(self.losses) / len(self.losses)


def learning_pass(case: Case, recipe: Recipe | None = None) -> list[Measurement]:
    """What the pass finds about a case.

    Raises:
        DivergedError: the loss is not finite; the message names the step.
    """
    epochs = list(train(prepare(case), recipe or Recipe()))
    found = [
        Measurement(metric="test_accuracy", value=epochs[-1].test_accuracy, unit="1"),
        Measurement(metric="train_s", value=sum(epoch.train_s for epoch in epochs), unit="s"),
        Measurement(metric="num_epochs", value=len(epochs), unit="1"),
    ]
    for number, epoch in enumerate(epochs, start=1):
        found.append(Measurement(metric=f"train_loss_epoch_{number}", value=epoch.loss, unit="1"))
        found.append(Measurement(metric=f"test_accuracy_epoch_{number}", value=epoch.test_accuracy, unit="1"))
    return found


def train(training: Training, recipe: Recipe) -> Iterator[Epoch]:
    """Trains on the digits, and yields each epoch as it ends."""
    model, batch_size = training.model, training.case.batch_size
    digits = digits_for(model.input_shape, model.timesteps)
    optimizer = recipe.optimizer(training)
    num_batches = len(digits.train_targets) // batch_size
    num_steps = recipe.num_epochs * num_batches
    schedule = LambdaLR(optimizer, lambda step: recipe.factor(step, num_steps))
    generator = torch.Generator().manual_seed(training.case.seed)
    for epoch in range(recipe.num_epochs):
        begin = time.perf_counter()
        model.train()
        losses = []
        for number, batch in enumerate(_batches(digits, batch_size, generator, like=training.batch.inputs)):
            losses.append(float(training.rule.step(model, batch, optimizer)))
            if not math.isfinite(losses[-1]):
                raise DivergedError(losses[-1], epoch * num_batches + number + 1)
            schedule.step()
        train_s = time.perf_counter() - begin
        if isinstance(training.rule, PartwiseRule):
            take_statistics(model, digits, batch_size)
        yield Epoch(losses=tuple(losses), test_accuracy=accuracy(model, digits, batch_size), train_s=train_s)


def _batches(digits: Digits, batch_size: int, generator: torch.Generator, *, like: Tensor) -> Iterator[Batch]:
    """Whole batches in a new order; what is left of the last is left out."""
    order = torch.randperm(len(digits.train_targets), generator=generator)
    for chosen in order.split(batch_size):
        if len(chosen) == batch_size:
            yield digits.train_batch(chosen, like=like)


@torch.no_grad()
def take_statistics(model: SpikingNetwork, digits: Digits, batch_size: int) -> None:
    """Takes the running statistics of batch norms anew over some training digits, whole simulations at a time.

    A rule that simulates in parts normalises each part by itself; the running averages of that are not the statistics
    of the activations that inference sees, whose batch norms are the same at every timestep. A small RevSResNet under
    OTTT told 87.5 % of the digits apart with the averages, and 99.2 % with the statistics. Training is not changed.
    """
    like = next(model.parameters())
    chosen = torch.arange(NUM_STATISTICS_DIGITS).split(4 * batch_size)
    update_bn((samples(digits.train_inputs, each).to(like) for each in chosen), model)


@torch.no_grad()
def accuracy(model: SpikingNetwork, digits: Digits, batch_size: int) -> float:
    """The share of test digits whose class has the largest score."""
    model.eval()
    like = next(model.parameters())
    correct = 0
    for chosen in torch.arange(len(digits.test_targets)).split(4 * batch_size):
        logits = model(samples(digits.test_inputs, chosen).to(like))
        correct += int((model.scores(logits).argmax(-1).cpu() == digits.test_targets[chosen]).sum())
    return correct / len(digits.test_targets)
