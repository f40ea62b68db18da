"""The similarity pass: what remains of the gradient where only some neurons pass gradients on through time.

The motivating experiment of T-RevSNN (ICML 2024, figures 1 and 2). The network is trained by its rule as in the
learning pass; before that and at the end of each epoch, four gradients of the same weights are taken on the same
digits: full (BPTT), with temporal gradients in the neurons at the stage ends alone (T-RevSNN's choice), everywhere but
there, and nowhere (SLTT). What is found is the cosine of each to the full gradient.

Neurons are the paths through time that are cut. A batch norm with one mean and variance for all timesteps is another,
and stays: with those, `nowhere` is not quite the gradient of SLTT.
"""

import math
from collections.abc import Iterator

import torch

from revbench.bench.cases import Case
from revbench.bench.learning.digits import digits_for
from revbench.bench.learning.measure import Recipe, train
from revbench.bench.records import Measurement
from revbench.bench.similarity.gradients import Gradient
from revbench.bench.similarity.metric import KEPT, SimilarityMetric
from revbench.bench.similarity.temporal import cut_neurons, without_temporal_gradients
from revbench.bench.training import Training, prepare
from revbench.models.data import Batch

NUM_IMAGES = 128
"""On which gradients are taken: the first of the training digits, about as many of each class."""


def similarity_pass(case: Case, recipe: Recipe | None = None) -> list[Measurement]:
    """What the pass finds about a case: metrics as `SimilarityMetric` names them, and the accuracy after training.

    Raises:
        NotImplementedError: the network has no stages that end in neurons.
        DivergedError: the loss is not finite; the message names the step.
    """
    training = prepare(case)
    model = training.model
    digits = digits_for(model.input_shape, model.timesteps)
    batch = digits.train_batch(torch.arange(NUM_IMAGES), like=training.batch.inputs)
    found = [*similarities(training, batch, epoch=0)]
    accuracies = []
    for number, epoch in enumerate(train(training, recipe or Recipe()), start=1):
        found += similarities(training, batch, epoch=number)
        accuracies.append(epoch.test_accuracy)
    return [*found, Measurement(metric="test_accuracy", value=accuracies[-1], unit="1")]


def similarities(training: Training, batch: Batch, *, epoch: int) -> Iterator[Measurement]:
    """The cosines of the three gradients to the full one, of all parameters and of each layer."""
    model = training.model
    model.train()
    full = Gradient.of(model, training.rule, batch)
    for kept in KEPT:
        with without_temporal_gradients(cut_neurons(model, kept)):
            gradient = Gradient.of(model, training.rule, batch)
        whole, layers = gradient.cosines(full)
        yield _measurement(SimilarityMetric(kept, epoch), whole)
        for layer, value in enumerate(layers, start=1):
            yield _measurement(SimilarityMetric(kept, epoch, layer), value)


def _measurement(metric: SimilarityMetric, value: float) -> Measurement:
    if math.isfinite(value):
        return Measurement(metric=metric.name, value=value, unit="1")
    return Measurement(metric=metric.name, value=None, unit="1", detail="a gradient is zero or not finite")
