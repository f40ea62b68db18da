"""The energy pass: a model is trained on digits, then its inference on other digits is counted and priced.

Rates of an untrained network mean little; so the pass trains as the learning pass does, and counts `NUM_IMAGES` of the
test digits, in float32. All counts and energies are of one image; one fused multiply-add is one operation. Beside
them stand the dense operations of one training step, also for one image.
"""

import math

from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.energy.costs import Costs, costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.metric import FiringMetric
from revbench.bench.energy.model import (
    arithmetic_j,
    band,
    dense_twin_j,
    literature_j,
    operations_spread_j,
    quantised,
    with_neurons_j,
)
from revbench.bench.energy.observe import observe_network
from revbench.bench.energy.training import TrainingWork, training_work
from revbench.bench.learning.digits import digits_for
from revbench.bench.learning.measure import Recipe, train
from revbench.bench.records import Measurement
from revbench.bench.training import prepare
from revbench.models.networks.spiking import SpikingNetwork

NUM_IMAGES = 16
ARITHMETIC = "fp32_45nm"
SILENT_RATE, SATURATED_RATE = 0.0, 0.9


def energy_pass(case: Case, recipe: Recipe | None = None) -> list[Measurement]:
    """What the pass finds about a case.

    Args:
        case: trained on its device; a case on fake tensors has no values to count.
        recipe: how it is trained; by default as in the learning pass.

    Raises:
        NotImplementedError: the case is on fake tensors.
        DivergedError: the loss is not finite; the message names the step.
    """
    if case.device == "fake":
        raise NotImplementedError("fake tensors hold no values to count; use the device cpu or cuda")
    training = prepare(case)
    epochs = list(train(training, recipe or Recipe()))
    digits = digits_for(training.model.input_shape, training.model.timesteps)
    images = training.model.input_shape.kind == "images"
    inputs = digits.test_inputs[:NUM_IMAGES] if images else digits.test_inputs[:, :NUM_IMAGES]
    return [
        Measurement(metric="test_accuracy", value=epochs[-1].test_accuracy if epochs else None, unit="1"),
        Measurement(metric="num_epochs", value=len(epochs), unit="1"),
        *inference_measurements(training.model, inputs.to(next(training.model.parameters()))),
        *training_measurements(training_work(case), case.batch_size),
    ]


def inference_measurements(model: SpikingNetwork, inputs: Tensor) -> list[Measurement]:
    """Counts and energies of a model on a batch of inputs, as they are: the model should be trained."""
    found = observe_network(model, inputs)
    return [*_counted(found), *_priced(found, costs()), *_flagged(found), *_rates(found)]


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
        "neurons_energy_j": (with_neurons_j(found, arithmetic), ""),
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
    }
    return priced + [
        Measurement(metric=name, value=None, unit="1", detail="no layer reads spikes")
        if math.isnan(rate)
        else Measurement(metric=name, value=rate, unit="1")
        for name, rate in rates.items()
    ]


def _flagged(found: Observation) -> list[Measurement]:
    silent, saturated = found.layers_firing(SILENT_RATE, SATURATED_RATE)
    flags = {
        "num_silent_layers": silent,
        "num_saturated_layers": saturated,
        "num_layers_not_spike_driven": found.not_spike_driven,
    }
    return [
        Measurement(metric=name, value=len(layers), unit="1", detail=", ".join(layers))
        for name, layers in flags.items()
    ]


def _rates(found: Observation) -> list[Measurement]:
    numbers = {layer: number for number, layer in enumerate(dict.fromkeys(row.layer for row in found.firing), start=1)}
    return [
        Measurement(
            metric=FiringMetric(numbers[row.layer], row.timestep).name, value=row.rate, unit="1", detail=row.layer
        )
        for row in found.firing
    ]
