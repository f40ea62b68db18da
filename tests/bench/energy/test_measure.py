"""The pass from end to end on small networks, and what its records become."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from little_spiking import Little
from tiny_spiking import Tiny

from revbench.bench.analysis.case_row import ENERGY_METRICS
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.energy import measure
from revbench.bench.energy.checkpoint import digest_of
from revbench.bench.energy.choices import Choices
from revbench.bench.energy.costs import costs
from revbench.bench.energy.measure import NUM_IMAGES, energy_pass, inference_measurements
from revbench.bench.energy.metric import FiringMetric
from revbench.bench.energy.model import arithmetic_j
from revbench.bench.energy.observe import UncountedError, observe_network
from revbench.bench.learning.digits import digits_for
from revbench.bench.learning.measure import Recipe, accuracy
from revbench.bench.records import Measurement, Record
from revbench.bench.training import Training, prepare
from revbench.models import registry


def case(**fields: Any) -> Case:
    return Case(**{"model": "vggbn", "depth": 1, "width": 4, "timesteps": 2, "batch_size": 128, **fields})


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    assert len({each.metric for each in found}) == len(found)
    return {each.metric: each for each in found}


def row_of(of: Case, found: list[Measurement]) -> Any:
    records = [
        Record(
            case=of, pass_name="energy", metric=each.metric, value=each.value, unit=each.unit, counter=each.counter,
            status="ok", detail=each.detail, at="",
        )
        for each in found
    ]  # fmt: skip
    (row,) = case_rows(records)
    return row


def test_the_pass_trains_counts_and_prices() -> None:
    """A trained network that fires; every field of the wide row is there, and they fit together."""
    of = case()
    row = row_of(of, energy_pass(of, Recipe(num_epochs=1)))
    assert all(getattr(row, name) is not None for name in ENERGY_METRICS)
    assert 0.02 < row.firing_rate < 0.9
    assert row.acs >= row.sops > 0
    assert row.dense_macs > row.sops + row.macs
    assert row.operations_energy_j == pytest.approx((row.acs * 0.9 + row.macs * 4.6) * 1e-12)
    assert row.lowest_energy_j == row.operations_energy_j < row.with_neurons_energy_j < row.highest_energy_j
    assert 0.5 < row.literature_energy_j / row.operations_energy_j < 2
    assert row.training_macs < 3 * row.dense_macs
    assert row.recomputed_macs == 0
    assert {rate.layer for rate in row.energy.rates} == set(range(1, 6))
    assert len(row.energy.rates) == 5 * of.timesteps


def test_reversible_networks_pay_in_operations() -> None:
    """What their memory is paid with stands in the row."""
    of = case(model="revsresnet", timesteps=2)
    row = row_of(of, energy_pass(of, Recipe(num_epochs=0)))
    assert 0 < row.recomputed_macs < row.dense_macs


def test_a_trained_network_can_be_given() -> None:
    """The counts of a model and an input, by themselves."""
    found = by_name(inference_measurements(Tiny(), torch.ones(2, 1, 1, 1)))
    counted = observe_network(Tiny(), torch.ones(2, 1, 1, 1))
    assert found["acs"].value == counted.acs / 2
    assert found["macs"].value == 2
    assert found["operations_energy_j"].value == arithmetic_j(counted, costs().arithmetic["fp32_45nm"])
    assert "comparison only" in found["literature_energy_j"].detail


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of the network of `case()`, not trained."""
    torch.manual_seed(5)
    path = tmp_path / "weights.pt"
    torch.save(registry.build("vggbn", timesteps=2, depth=1, width=4).state_dict(), path)
    return path


def test_weights_of_a_file_are_counted(weights: Path) -> None:
    """What is found is what the network with these weights does on the digits; nothing is trained."""
    of = case(checkpoint=digest_of(weights), seed=1)
    found = by_name(energy_pass(of, choices=Choices(checkpoint=weights)))
    network = registry.build("vggbn", timesteps=2, depth=1, width=4)
    network.load_state_dict(torch.load(weights, weights_only=True))
    digits = digits_for(network.input_shape, 2)
    itself = by_name(inference_measurements(network, digits.test_inputs[:NUM_IMAGES]))
    assert itself["acs"].value
    assert {name: found[name] for name in itself} == itself
    assert "num_epochs" not in found
    assert found["test_accuracy"].value == accuracy(network, digits, 64)


def test_other_classes_have_no_accuracy(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was trained on something else is counted, and its accuracy on digits is none."""

    def prepare_for_seven(of: Case) -> Training:
        training = prepare(of)
        training.model.num_classes = 7
        return training

    monkeypatch.setattr(measure, "prepare", prepare_for_seven)
    found = by_name(energy_pass(case(checkpoint=digest_of(weights)), choices=Choices(checkpoint=weights)))
    assert found["test_accuracy"].value is None
    assert found["test_accuracy"].detail == "the network tells 7 classes apart, digits have 10"
    assert found["acs"].value


@pytest.mark.parametrize("strict", [False, True])
def test_unknown_operators_in_strict_mode(strict: bool) -> None:
    """They are named: in an error, or in the records of a lower bound."""
    network, x = Little(timesteps=2, is_unknown=True), torch.rand(1, 1, 8, 8)
    if strict:
        with pytest.raises(
            UncountedError, match=r"no rule counts aten\.cumsum; without --strict all counts are a lower"
        ):
            inference_measurements(network, x, strict=True)
        inference_measurements(Little(timesteps=2), x, strict=True)
        return
    found = by_name(inference_measurements(network, x))
    assert (found["num_uncounted_operators"].value, found["num_uncounted_operators"].detail) == (1, "aten.cumsum")
    assert found["dense_macs"].detail == "a lower bound: aten.cumsum not counted"


def test_silence_is_flagged_and_no_number_stands_for_nothing() -> None:
    """Layers that never fire are named; a network without spikes has no rate to break even."""
    silent = by_name(inference_measurements(Tiny(), -torch.ones(1, 1, 1, 1)))
    assert silent["num_silent_layers"].value == 2
    assert silent["num_silent_layers"].detail == "neuron, last_neuron"
    network = registry.build("annresnet", timesteps=1, depth=1, width=4)
    dense = by_name(inference_measurements(network, torch.rand(1, 3, 32, 32)))
    assert (dense["break_even_rate"].value, dense["acs"].value) == (None, 0)
    assert dense["break_even_rate"].detail
    assert not any(isinstance(each.value, float) and math.isnan(each.value) for each in dense.values())


def test_fake_tensors_are_unsupported() -> None:
    """There is nothing to count."""
    with pytest.raises(NotImplementedError, match="no values to count"):
        energy_pass(case(device="fake"))


@pytest.mark.parametrize("metric", [FiringMetric(3), FiringMetric(12, 1), FiringMetric(1, 10)])
def test_names_of_rates(metric: FiringMetric) -> None:
    """There and back; other names are none."""
    assert FiringMetric.parse(metric.name) == metric
    assert FiringMetric.parse(metric.name + "_of") is FiringMetric.parse("firing_rate") is None
