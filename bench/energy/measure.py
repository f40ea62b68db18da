"""The energy pass: a model is trained on digits, then its inference on other digits is counted and priced.

Rates of an untrained network mean little; so the pass trains as the learning pass does, and counts `NUM_IMAGES` of the
test digits, in float32. All counts and energies are of one image; one fused multiply-add is one operation. Beside
them stand the dense operations of one training step, also for one image.

With a checkpoint nothing is trained: the weights are those of the file (`checkpoint`), and the inputs are digits still.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.energy.checkpoint import load_checkpoint
from revbench.bench.energy.choices import Choices
from revbench.bench.energy.costs import Costs, costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.metric import NAMES_APART, UNCOUNTED, UNVERIFIED, FiringMetric
from revbench.bench.energy.model import (
    arithmetic_j,
    band,
    dense_twin_j,
    literature_j,
    operations_spread_j,
    with_neurons_j,
)
from revbench.bench.energy.observe import UncountedError, observe_network
from revbench.bench.energy.priced import priced
from revbench.bench.energy.quantised import quantised
from revbench.bench.energy.training import TrainingWork, training_work
from revbench.bench.learning.digits import Digits, digits_for, samples
from revbench.bench.learning.measure import Recipe, accuracy, train
from revbench.bench.records import Measurement
from revbench.bench.training import Training, prepare
from revbench.models.networks.spiking import SpikingNetwork

NUM_IMAGES = 16
ARITHMETIC = "fp32_45nm"
SILENT_RATE, SATURATED_RATE = 0.0, 0.9


def energy_pass(case: Case, recipe: Recipe | None = None, choices: Choices | None = None) -> list[Measurement]:
    """What the pass finds about a case.

    Args:
        case: trained on its device; a case on fake tensors has no values to count.
        recipe: how it is trained; by default as in the learning pass.
        choices: where the weights of a case with a checkpoint are, and whether all operators must be counted.

    Raises:
        NotImplementedError: the case is on fake tensors.
        DivergedError: the loss is not finite; the message names the step.
        CheckpointError: the weights cannot be loaded.
        UncountedError: some operators are not counted, where all must be.
    """
    choices = choices or Choices()
    if case.device == "fake":
        raise NotImplementedError("fake tensors hold no values to count; use the device cpu or cuda")
    training = prepare(case)
    digits = digits_for(training.model.input_shape, training.model.timesteps)
    if case.checkpoint is None:
        learnt = _trained(training, recipe or Recipe())
    else:
        load_checkpoint(training.model, choices.checkpoint, case.checkpoint)
        learnt = [_accuracy_of_checkpoint(training, digits)]
    inputs = samples(digits.test_inputs, torch.arange(NUM_IMAGES)).to(next(training.model.parameters()))
    return [
        *learnt,
        *inference_measurements(training.model, inputs, strict=choices.strict),
        *training_measurements(training_work(case), case.batch_size),
    ]


def inference_measurements(model: SpikingNetwork, inputs: Tensor, *, strict: bool = False) -> list[Measurement]:
    """Counts and energies of a model on a batch of inputs, as they are: the model should be trained.

    Raises:
        UncountedError: in strict mode, some operators are not counted.
    """
    found = observe_network(model, inputs)
    if strict and found.is_lower_bound:
        raise UncountedError(
            f"no rule counts {', '.join(found.unknown)}; without --strict all counts are a lower bound"
        )
    return [*_counted(found), *_priced(found, costs()), *_parts(found, costs()), *_flagged(found), *_rates(found)]


def _trained(training: Training, recipe: Recipe) -> list[Measurement]:
    """Trains, and tells how long and with what success."""
    epochs = list(train(training, recipe))
    return [
        Measurement(
            metric="test_accuracy",
            value=epochs[-1].test_accuracy if epochs else None,
            unit="1",
            detail="" if epochs else "not trained",
        ),
        Measurement(metric="num_epochs", value=len(epochs), unit="1"),
    ]


def _accuracy_of_checkpoint(training: Training, digits: Digits) -> Measurement:
    num_classes = len(digits.test_targets.unique())
    if training.model.num_classes != num_classes:
        reason = f"the network tells {training.model.num_classes} classes apart, digits have {num_classes}"
        return Measurement(metric="test_accuracy", value=None, unit="1", detail=reason)
    found = accuracy(training.model, digits, training.case.batch_size)
    return Measurement(metric="test_accuracy", value=found, unit="1")


def training_measurements(work: TrainingWork, batch_size: int) -> list[Measurement]:
    """Dense operations of a training step, for one image; the recomputed ones are the price of reversibility."""
    macs = {
        "training_macs": work.macs,
        "forward_macs": work.forward_macs,
        "recomputed_macs": work.recomputed_macs,
        "input_gradient_macs": work.input_gradient_macs,
        "weight_gradient_macs": work.weight_gradient_macs,
        "surrogate_updates": work.surrogate_updates,
        "trace_updates": work.trace_updates,
    }
    return [Measurement(metric=name, value=number / batch_size, unit="1") for name, number in macs.items()]


def _counted(found: Observation) -> list[Measurement]:
    incomplete = f"a lower bound: {', '.join(found.unknown)} not counted" if found.is_lower_bound else ""
    neurons = found.neuron_work
    numbers = {
        "dense_macs": found.dense_macs,
        "sops": found.sops,
        "acs": found.acs,
        "macs": found.macs,
        "neuron_additions": neurons.additions,
        "neuron_multiplications": neurons.multiplications,
    }
    counts = [
        Measurement(metric=name, value=number / found.batch_size, unit="1", detail=incomplete)
        for name, number in numbers.items()
    ]
    return [*counts, Measurement(metric="firing_rate", value=found.firing_rate, unit="1")]


def _priced(found: Observation, constants: Costs) -> list[Measurement]:
    arithmetic = constants.arithmetic[ARITHMETIC]
    limits = band(found, constants, ARITHMETIC)
    network = quantised(found, constants, "45nm")
    spread_j = operations_spread_j(found, arithmetic)
    joules = {
        "literature_energy_j": (literature_j(found, arithmetic), "the papers' formula, for comparison only"),
        "operations_energy_j": (arithmetic_j(found, arithmetic), ""),
        "operations_energy_spread_j": (spread_j, "over images" if spread_j is not None else "of one image"),
        "with_neurons_energy_j": (with_neurons_j(found, arithmetic), ""),
        "lowest_energy_j": (limits.low_j, limits.low),
        "highest_energy_j": (limits.high_j, limits.high),
        "dense_energy_j": (dense_twin_j(found, arithmetic), "the same layers once, without time"),
        "quantised_energy_j": (network.network_j, f"{network.bits} bits"),
        "quantised_spiking_energy_j": (network.spiking_j, "beside the quantised network, in integers"),
    }
    priced = [
        Measurement(metric=name, value=value, unit="J", detail=detail) for name, (value, detail) in joules.items()
    ]
    rates = {
        "input_rate": network.rate,
        "break_even_rate": network.break_even_rate,
        "operations_break_even_rate": network.operations_break_even_rate,
        **{f"{name}_break_even_rate": rate for name, rate in network.memory_break_even_rates.items()},
    }
    return priced + [
        Measurement(metric=name, value=None, unit="1", detail="no layer reads spikes")
        if math.isnan(rate)
        else Measurement(metric=name, value=rate, unit="1")
        for name, rate in rates.items()
    ]


def _parts(found: Observation, constants: Costs) -> list[Measurement]:
    return [
        Measurement(metric=part.metric.name, value=part.joules, unit="J", detail="" if part.is_verified else UNVERIFIED)
        for part in priced(found, constants)
    ]


def _flagged(found: Observation) -> list[Measurement]:
    silent, saturated = found.layers_firing(SILENT_RATE, SATURATED_RATE)
    flags: dict[str, Sequence[str]] = {
        "num_silent_layers": silent,
        "num_saturated_layers": saturated,
        "num_layers_not_spike_driven": found.not_spike_driven,
        UNCOUNTED: list(found.unknown),
    }
    return [
        Measurement(metric=name, value=len(named), unit="1", detail=NAMES_APART.join(named))
        for name, named in flags.items()
    ]


def _rates(found: Observation) -> list[Measurement]:
    numbers = {layer: number for number, layer in enumerate(dict.fromkeys(row.layer for row in found.firing), start=1)}
    return [
        Measurement(
            metric=FiringMetric(numbers[row.layer], None if row.timestep is None else row.timestep + 1).name,
            value=row.rate,
            unit="1",
            detail=row.layer,
        )
        for row in found.firing
    ]
