"""The rate at which a quantised network takes as much, with the bits that both move."""

import math
from dataclasses import replace

import pytest
import torch
from pytest import approx  # noqa: PT013
from torch import nn

from revbench.bench.energy.content import IMAGES, SPIKES
from revbench.bench.energy.costs import costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.model import traffic_j
from revbench.bench.energy.observe import observe
from revbench.bench.energy.quantised import SUM_BITS, WEIGHT_BITS, quantised
from revbench.bench.energy.traffic import dense_traffic, traffic

HIERARCHIES = ("on_chip", "sram_dram", "no_reuse")


def spiking(rate_of_ones: float) -> Observation:
    """A convolution over spikes in four timesteps of one image."""
    x = (torch.arange(4 * 8 * 100).view(4, 8, 10, 10) % 100 < 100 * rate_of_ones).float()
    return observe(nn.Conv2d(8, 16, 3, bias=False), x, timesteps=4, batch_size=1, content=SPIKES)


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_at_that_rate_both_take_the_same(hierarchy: str) -> None:
    """Energies are added up from counts and traffic, beside the formula."""
    found = spiking(0.5)
    compared = quantised(found, costs(), "45nm")
    rate = compared.memory_break_even_rates[hierarchy]
    acs = round(rate * found.dense_macs)
    (row,) = {row.layer: row for row in found.synaptic}.values()
    even = replace(found, synaptic=(replace(row, timestep=0, acs=acs, inputs=4 * row.inputs),))
    placed, wide = costs().hierarchy[f"{hierarchy}_45nm"], costs().arithmetic["int32_45nm"]
    spiking_j = acs * wide.add_j + traffic_j(traffic(even, SUM_BITS, WEIGHT_BITS), placed, costs())
    moved_j = traffic_j(dense_traffic(found, SUM_BITS, compared.bits, WEIGHT_BITS), placed, costs())
    assert spiking_j == approx(compared.network_j + moved_j, rel=1e-3)
    assert 0 < rate < compared.operations_break_even_rate


def test_by_hand() -> None:
    """Sums in registers: 8 bits of a weight for each operation, and a spike each 64 inputs of the dense network."""
    found, hierarchy = spiking(0.5), costs().hierarchy["sram_dram_45nm"]
    assert hierarchy.sums is None
    dense = found.dense_macs / 4
    bit_j = costs().memory["sram_32kb_45nm"].bit_j
    weights_once_j = 8 * 16 * 9 * 8 * costs().memory["dram_low_45nm"].bit_j
    outputs, inputs = 16 * 64, 8 * 100
    network_j = dense * (3 / 8 * 0.2e-12 + 0.1e-12 + 8 * bit_j) + 3 * (inputs + outputs) * bit_j + weights_once_j
    at_any_rate_j = 4 * inputs * bit_j + weights_once_j
    at_rate_one_j = 4 * dense * (0.1e-12 + 8 * bit_j)
    found_rate = quantised(found, costs(), "45nm").memory_break_even_rates["sram_dram"]
    assert found_rate == approx((network_j - at_any_rate_j) / at_rate_one_j)


def test_weights_of_fewer_bits_move_fewer() -> None:
    """Nothing else changes."""
    found = spiking(0.5)
    whole, narrow = traffic(found, 32), traffic(found, 32, 8)
    assert whole.weights_of_operations == 4 * narrow.weights_of_operations
    assert whole.weights_once == 4 * narrow.weights_once
    assert (whole.sums, whole.potentials, whole.signals) == (narrow.sums, narrow.potentials, narrow.signals)


def test_without_spikes_there_is_no_rate() -> None:
    """A layer that multiplies can not break even."""
    found = observe(nn.Conv2d(8, 16, 3, bias=False), torch.rand(1, 8, 10, 10), content=IMAGES)
    compared = quantised(found, costs(), "45nm")
    assert set(compared.memory_break_even_rates) == set(HIERARCHIES)
    assert all(math.isnan(rate) for rate in compared.memory_break_even_rates.values())
