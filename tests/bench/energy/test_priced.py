"""The parts of an energy add up to what the models say, under every cost model, and bear their constants' marks."""

import pytest
import torch
from pytest import approx  # noqa: PT013
from tiny_spiking import Tiny
from torch import nn

from revbench.bench.energy.costs import costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.metric import HIERARCHIES, STREAMS, EnergyMetric, FiringMetric
from revbench.bench.energy.model import arithmetic_j, chip_j, dense_twin_j, with_memory_j, with_neurons_j
from revbench.bench.energy.observe import observe_network
from revbench.bench.energy.priced import hierarchies_of, priced

ARITHMETICS = list(costs().arithmetic)


@pytest.fixture(scope="module")
def found() -> Observation:
    """A network with spikes, real inputs, neurons and work element by element, of two images."""
    network = Tiny()
    nn.init.constant_(network.mixer.weight, 10.0)
    return observe_network(network, torch.ones(2, 1, 1, 1), strict=True)


@pytest.fixture(scope="module")
def joules(found: Observation) -> dict[EnergyMetric, float]:
    """All parts."""
    parts = priced(found, costs())
    assert len({part.metric for part in parts}) == len(parts)
    assert all(part.joules > 0 for part in parts)
    return {part.metric: part.joules for part in parts}


@pytest.mark.parametrize("name", ARITHMETICS)
def test_operations_add_up(name: str, found: Observation, joules: dict[EnergyMetric, float]) -> None:
    """Accumulations and multiply-accumulates, and with them neurons and elements."""
    arithmetic = costs().arithmetic[name]
    acs, macs, neurons, elements = (joules[EnergyMetric(part, name)] for part in ("acs", "macs", "neurons", "elements"))
    assert acs + macs == approx(arithmetic_j(found, arithmetic))
    assert acs + macs + neurons + elements == approx(with_neurons_j(found, arithmetic))
    assert joules[EnergyMetric("dense", name)] == approx(dense_twin_j(found, arithmetic))


@pytest.mark.parametrize("name", ARITHMETICS)
def test_streams_add_up(name: str, found: Observation, joules: dict[EnergyMetric, float]) -> None:
    """With the bits that are moved, under each of the three hierarchies of the node."""
    arithmetic, hierarchies = costs().arithmetic[name], hierarchies_of(name, costs())
    assert len(hierarchies) == len(HIERARCHIES) == 3
    for kind, full_name in zip(HIERARCHIES, hierarchies, strict=True):
        assert full_name.startswith(kind)
        streams = sum(joules.get(EnergyMetric(stream, name, kind), 0.0) for stream in STREAMS)
        whole = with_memory_j(found, arithmetic, costs().hierarchy[full_name], costs())
        assert streams + with_neurons_j(found, arithmetic) == approx(whole)
        dense = dense_twin_j(found, arithmetic, costs().hierarchy[full_name], costs())
        assert joules[EnergyMetric("dense", name, kind)] == approx(dense)


def test_chips_price_accumulations(found: Observation, joules: dict[EnergyMetric, float]) -> None:
    """And nothing else."""
    for name, of_chip in chip_j(found, costs()).items():
        assert {metric: value for metric, value in joules.items() if metric.model == name} == {
            EnergyMetric("acs", name): approx(of_chip)
        }


def test_unverified_constants_mark_their_parts(found: Observation) -> None:
    """All of 7 nm and two chips; nothing of 45 nm."""
    unverified = {part.metric.model for part in priced(found, costs()) if not part.is_verified}
    assert unverified == {*(name for name in ARITHMETICS if name.endswith("_7nm")), "truenorth", "spinnaker2"}
    assert not any(part.is_verified for part in priced(found, costs()) if part.metric.model in unverified)


def test_names_of_energies(joules: dict[EnergyMetric, float]) -> None:
    """There and back, all different, and none is taken for a rate."""
    assert [EnergyMetric.parse(metric.name) for metric in joules] == list(joules)
    assert len({metric.name for metric in joules}) == len(joules)
    assert {FiringMetric.parse(metric.name) for metric in joules} == {None}
    assert EnergyMetric("sums", "fp32_45nm", "on_chip").name == "sums_energy_fp32_45nm_on_chip_j"


@pytest.mark.parametrize(
    "name", ["dense_energy_j", "operations_energy_spread_j", "literature_energy_j", "energy_fp32_45nm_j", "acs"]
)
def test_other_names_are_no_parts(name: str) -> None:
    """The columns of the wide row keep their names."""
    assert EnergyMetric.parse(name) is None
