"""Joules by hand from a network counted by hand, identities between the models, and the constants' file."""

import math
import tomllib
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pytest import approx  # noqa: PT013
from tiny_spiking import Tiny
from torch import nn

from revbench.bench.energy.content import SPIKES
from revbench.bench.energy.costs import SOURCE, Costs, costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.model import (
    arithmetic_j,
    band,
    chip_j,
    dense_twin_j,
    literature_j,
    with_memory_j,
    with_neurons_j,
)
from revbench.bench.energy.observe import observe, observe_network
from revbench.bench.energy.quantised import quantised
from revbench.bench.energy.traffic import Traffic, dense_traffic, traffic

PJ = 1e-12
FP32 = costs().arithmetic["fp32_45nm"]


@pytest.fixture
def tiny() -> Observation:
    """See `test_observe`: 42 accumulations, 2 multiply-accumulates, 20 neuron updates, 18 spikes."""
    network = Tiny()
    nn.init.constant_(network.mixer.weight, 10.0)
    return observe_network(network, torch.ones(1, 1, 1, 1), strict=True)


def test_operations_by_hand(tiny: Observation) -> None:
    """0.9 pJ for an accumulation, 4.6 pJ for a multiply-accumulate, at 45 nm in 32 bits."""
    assert (FP32.add, FP32.multiply) == (0.9, 3.7)
    assert arithmetic_j(tiny, FP32) == approx((42 * 0.9 + 2 * 4.6) * PJ)
    # Neurons: 14 + 12 additions, 24 multiplications, 8 + 24 comparisons. The rest: the norm's shift 12, the read-out's
    # bias 8, pooling 18, and the addition of the spikes' sum, times 0: 0 of 12 places hold two numbers.
    neurons = (26 + 32) * 0.9 + 24 * 3.7
    rest = (12 + 8 + 18) * 0.9
    assert with_neurons_j(tiny, FP32) == approx((42 * 0.9 + 2 * 4.6 + neurons + rest) * PJ)


def test_the_literature_formula_by_hand(tiny: Observation) -> None:
    """First layer 2 of 4.6 pJ; rates 6/8 and 1 times dense 24 and 24 of 0.9 pJ."""
    assert literature_j(tiny, FP32) == approx((2 * 4.6 + (6 / 8 * 24 + 24) * 0.9) * PJ)


def test_the_dense_twin_runs_once(tiny: Observation) -> None:
    """2 + 6 + 6 multiply-accumulates: the stem, and a fourth of what both other layers do in four timesteps."""
    assert dense_twin_j(tiny, FP32) == approx(14 * 4.6 * PJ)


def test_batches_and_images_cost_alike() -> None:
    """Energies are those of one image."""
    network = Tiny()
    one, three = (observe_network(network, torch.ones(n, 1, 1, 1)) for n in (1, 3))
    for energy in (literature_j, arithmetic_j, with_neurons_j, dense_twin_j):
        assert energy(three, FP32) == approx(energy(one, FP32))
    for name, hierarchy in costs().hierarchy.items():
        both = [with_memory_j(found, FP32, hierarchy, costs()) for found in (one, three)]
        assert both[0] == approx(both[1]), name


def test_weights_move_as_often_as_they_are_used() -> None:
    """9,216 bytes of weights once, and one weight and two sums for each accumulation, by hand."""
    layer = nn.Conv2d(16, 16, 3, bias=False)
    x = torch.zeros(1, 16, 8, 8)
    x[0, 0, 3, 3] = 1
    moved = traffic(observe(layer, x, content=SPIKES), 32)
    assert moved == Traffic(
        weights_once=9216 * 8, weights_of_operations=16 * 9 * 32, sums=2 * 16 * 9 * 32, signals=16 * 64
    )
    dense = dense_traffic(observe(layer, x, content=SPIKES), 32, 3)
    assert (dense.weights_once, dense.signals) == (9216 * 8, (16 * 64 + 16 * 36) * 3)


def test_traffic_does_not_grow_with_what_it_should_not() -> None:
    """More spikes move more weights for operations, and neither weights once nor potentials."""
    network = Tiny()
    few, many = (observe_network(network, torch.full((1, 1, 1, 1), value)) for value in (0.3, 1.0))
    before, after = traffic(few, 32), traffic(many, 32)
    assert before.weights_of_operations < after.weights_of_operations
    assert (before.weights_once, before.potentials) == (after.weights_once, after.potentials)


def test_memory_costs_more_the_farther_it_is(tiny: Observation) -> None:
    """No reuse is an upper bound, and the band spans from operations alone to it."""
    names = ("on_chip_45nm", "sram_dram_45nm", "no_reuse_45nm")
    energies = [with_memory_j(tiny, FP32, costs().hierarchy[name], costs()) for name in names]
    assert max(energies) == energies[2]
    assert min(energies) > with_neurons_j(tiny, FP32) > arithmetic_j(tiny, FP32)
    found = band(tiny, costs())
    assert (found.low, found.high) == ("arithmetic", "with memory, no_reuse_45nm")
    assert (found.low_j, found.high_j) == (arithmetic_j(tiny, FP32), energies[2])


def test_unverified_constants_are_kept_out_of_the_band(tiny: Observation) -> None:
    """The 7 nm hierarchies are from memory: only who asks for them gets them."""
    assert not costs().arithmetic["fp32_7nm"].verified
    assert band(tiny, costs(), "fp32_7nm").high == "with neurons"
    assert band(tiny, costs(), "fp32_7nm", verified_only=False).high == "with memory, no_reuse_7nm"


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_bits_of_the_quantised_network(timesteps: int, bits: int, tiny: Observation) -> None:
    """As many values as there are counts of spikes, 0 to T."""
    assert quantised(replace(tiny, timesteps=timesteps), costs(), "45nm").bits == bits


@given(st.floats(0.0, 2.0))
def test_at_the_break_even_rate_both_take_the_same(factor: float) -> None:
    """Energies scale with the rate, and cross where the comparison says."""
    layer = nn.Conv2d(8, 16, 3, bias=False)
    found = observe(layer, torch.ones(4, 8, 16, 16), timesteps=4, batch_size=1, content=SPIKES)
    of_all = quantised(found, costs(), "45nm")
    acs = round(of_all.break_even_rate * factor * found.dense_macs)
    share = acs / found.acs
    scaled = replace(
        found,
        synaptic=tuple(
            replace(row, acs=round(row.acs * share), sops=round(row.sops * share)) for row in found.synaptic
        ),
    )
    assert found.acs > 0
    other = quantised(scaled, costs(), "45nm")
    assert other.break_even_rate == of_all.break_even_rate
    assert (other.spiking_j < other.network_j) == (other.rate < other.break_even_rate) or factor == approx(1)


def test_break_even_by_hand() -> None:
    """No neurons, T = 4: 3 bits, so 3/8 of 0.2 and 0.1 pJ against 0.1 pJ for the rate in four timesteps: 0.4375."""
    layer = nn.Conv2d(8, 16, 3, bias=False)
    found = observe(layer, torch.ones(4, 8, 16, 16), timesteps=4, batch_size=1, content=SPIKES)
    compared = quantised(found, costs(), "45nm")
    assert compared.break_even_rate == approx((3 / 8 * 0.2 + 0.1) / (4 * 0.1))
    assert not math.isnan(compared.rate)
    assert compared.operations_break_even_rate == compared.break_even_rate


def test_neurons_lower_the_rate_at_which_both_are_even(tiny: Observation) -> None:
    """Their updates are paid for whether anything spikes or not."""
    compared = quantised(tiny, costs(), "45nm")
    assert compared.break_even_rate < compared.operations_break_even_rate


def test_chips_pay_for_synaptic_operations(tiny: Observation) -> None:
    """42 of 23.6 pJ."""
    assert chip_j(tiny, costs())["loihi"] == approx(42 * 23.6 * PJ)


def test_the_constants_are_those_of_their_sources() -> None:
    """What papers use, and the marks of what nobody has compared."""
    found = costs()
    assert found.arithmetic["fp32_45nm"].mac_j == approx(4.6 * PJ)
    assert found.memory["sram_8kb_45nm"].bit_j == approx(10 / 64 * PJ)
    unverified = {name for name, constant in found.constants().items() if not constant.verified}
    assert {name for name in found.constants() if name.endswith("_7nm")} <= unverified
    assert {"truenorth", "spinnaker2"} <= unverified
    assert all(constant.page and constant.source in found.sources for constant in found.constants().values())


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("arithmetic", "fp32_45nm", "unit"), "nJ", "unit"),
        (("arithmetic", "fp32_45nm", "add"), 0.0, "greater than 0"),
        (("memory", "sram_8kb_45nm", "source"), "hearsay", "no such source: hearsay"),
        (("hierarchy", "on_chip_45nm", "sums"), "tape", "no such memory: tape"),
        (("chip", "loihi", "joules"), 1.0, "extra"),
    ],
)
def test_faulty_constants_are_refused(place: tuple[str, str, str], value: Any, message: str) -> None:
    """Another unit, no energy, no source, an unknown memory, an unknown word."""
    raw = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    table, name, key = place
    raw[table][name][key] = value
    with pytest.raises(ValidationError, match=message):
        Costs.model_validate(raw)
