"""The similarity pass: what it records, when, and that looking changes nothing."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from revbench.bench.cases import Case
from revbench.bench.learning import measure as learning
from revbench.bench.learning.digits import Digits, digits_for
from revbench.bench.learning.measure import Epoch, Recipe, train
from revbench.bench.records import Measurement
from revbench.bench.similarity import measure
from revbench.bench.similarity.gradients import Gradient
from revbench.bench.similarity.measure import similarities, similarity_pass
from revbench.bench.similarity.metric import KEPT, SimilarityMetric
from revbench.bench.training import Training, prepare
from revbench.models.networks.spiking import InputShape

CASE = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=8)
NUM_LAYERS = 13
NUM_IMAGES = 6


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains on 32 digits, tests on 8 and takes gradients on 6."""

    def few(shape: InputShape, timesteps: int) -> Digits:
        digits = digits_for(shape, timesteps)
        return Digits(
            digits.train_inputs[:32], digits.train_targets[:32], digits.test_inputs[:8], digits.test_targets[:8]
        )

    for module in (measure, learning):
        monkeypatch.setattr(module, "digits_for", few)
    monkeypatch.setattr(measure, "NUM_IMAGES", NUM_IMAGES)


def found(case: Case = CASE, num_epochs: int = 2) -> dict[SimilarityMetric, Measurement]:
    """What the pass finds, without the accuracy."""
    parsed = {SimilarityMetric.parse(m.metric): m for m in similarity_pass(case, Recipe(num_epochs=num_epochs))}
    return {metric: m for metric, m in parsed.items() if metric is not None}


def test_cosines_before_training_and_after_each_epoch() -> None:
    """Of all parameters and of each layer, each once, and the accuracy; they change as the network learns."""
    measurements = similarity_pass(CASE, Recipe(num_epochs=2))
    names = {
        SimilarityMetric(kept, epoch, layer).name
        for kept in KEPT
        for epoch in range(3)
        for layer in (None, *range(1, NUM_LAYERS + 1))
    }
    assert sorted(m.metric for m in measurements) == sorted([*names, "test_accuracy"])
    values = {m.metric: m.value for m in measurements}
    for kept in KEPT:
        over_epochs = {values[SimilarityMetric(kept, epoch).name] for epoch in range(3)}
        assert len(over_epochs) == 3
        assert all(value is not None and 0 < value < 1 for value in over_epochs)


def test_with_one_timestep_there_is_nothing_to_cut() -> None:
    """All cosines are 1, at all times and in all layers."""
    values = [m.value for m in found(Case(model="msresnet", depth=1, width=8, timesteps=1, batch_size=8)).values()]
    assert values == pytest.approx([1.0] * len(values))


def test_the_read_out_learns_from_all_timesteps_whatever_is_cut() -> None:
    """No neuron is between it and the loss, so its cosine is 1, the last layer's and no other's at the stem."""
    cosines = found(num_epochs=1)
    for kept in KEPT:
        assert cosines[SimilarityMetric(kept, 1, NUM_LAYERS)].value == pytest.approx(1)
        stem = cosines[SimilarityMetric(kept, 1, 1)].value
        assert stem is not None
        assert stem < 0.999


def test_gradients_are_those_of_the_weights_at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 0 is before the first step and the last after the last, on the first digits in their order."""
    trained: list[Training] = []

    def watched(training: Training, recipe: Recipe) -> Iterator[Epoch]:
        trained.append(training)
        assert all(parameter.grad is None for parameter in training.model.parameters())
        yield from train(training, recipe)

    monkeypatch.setattr(measure, "train", watched)
    cosines = found(num_epochs=1)
    digits = digits_for(trained[0].model.input_shape, 2)
    batch = digits.train_batch(torch.arange(NUM_IMAGES), like=digits.train_inputs)
    for epoch, training in ((0, prepare(CASE)), (1, trained[0])):
        for expected in similarities(training, batch, epoch=epoch):
            metric = SimilarityMetric.parse(expected.metric)
            assert metric is not None
            assert cosines[metric].value == pytest.approx(expected.value, abs=1e-6)


def test_gradients_are_those_of_training_mode() -> None:
    """Also right after an evaluation, when batch norms stand ready to use what they have seen."""
    training = prepare(CASE)
    expected = [m.value for m in similarities(training, training.batch, epoch=0)]
    training.model.eval()
    assert [m.value for m in similarities(training, training.batch, epoch=0)] == expected
    torch.nn.init.constant_(training.model.get_buffer("stem.1.running_mean"), 9.0)
    assert [m.value for m in similarities(training, training.batch, epoch=0)] == expected


def test_looking_does_not_change_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of each step are those of the training alone."""
    seen: list[Epoch] = []

    def watched(training: Training, recipe: Recipe) -> Iterator[Epoch]:
        for epoch in train(training, recipe):
            seen.append(epoch)
            yield epoch

    monkeypatch.setattr(measure, "train", watched)
    found()
    alone = [epoch.losses for epoch in train(prepare(CASE), Recipe(num_epochs=2))]
    assert [epoch.losses for epoch in seen] == alone
    assert len(alone[0]) == 4
    assert len(set(alone[0])) == 4


def test_gradients_of_zero_have_no_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without a number that says why, for that layer alone."""
    of = Gradient.of

    def without_first(*args: Any) -> Gradient:
        gradient = of(*args)
        return Gradient(gradient.whole, (0 * gradient.layers[0], *gradient.layers[1:]))

    monkeypatch.setattr(Gradient, "of", without_first)
    for metric, measurement in found(num_epochs=1).items():
        if metric.layer == 1:
            assert measurement.value is None
            assert measurement.detail == "a gradient is zero or not finite"
        else:
            assert measurement.value is not None
            assert math.isfinite(measurement.value)


def test_a_network_without_stage_ends_is_unsupported() -> None:
    """Before anything is trained."""
    with pytest.raises(NotImplementedError, match="RevSResNet has no stage ends"):
        found(Case(model="revsresnet", depth=1, width=8, timesteps=2))
