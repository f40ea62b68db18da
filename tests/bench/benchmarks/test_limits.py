"""Limits: what is measured for each, in its own unit, and when it is kept."""

from dataclasses import replace

import pytest

from revbench.bench.benchmarks.limits import LIMITS, MB, MIB, Limit
from revbench.bench.benchmarks.per_image import Activations, Network
from revbench.bench.cases import Case

NETWORK = Network(case=Case(model="trevsnn_tiny", timesteps=32), frozen_carries=True)
EARLIER = replace(NETWORK, case=replace(NETWORK.case, timesteps=8))
PEAK = Limit(figure="peak", network=NETWORK, unit_bytes=MIB, reference="", limit=3)
GROWTH = Limit(figure="growth", network=NETWORK, since=8, unit_bytes=MB, reference="", limit=0.5)
FOUND = {
    EARLIER: Activations(forward_end_bytes=1e6, peak_bytes=0),
    NETWORK: Activations(forward_end_bytes=13e6, peak_bytes=3 * 2**20),
}


def test_a_peak_is_that_of_one_network() -> None:
    """In the limit's unit."""
    assert PEAK.networks == (NETWORK,)
    assert PEAK.measured(FOUND) == 3
    assert replace(PEAK, unit_bytes=MB).measured(FOUND) == pytest.approx(3.145728)


def test_growth_is_the_slope_at_the_end_of_forward_between_two_lengths() -> None:
    """12 MB in 24 timesteps, of networks that differ in nothing else."""
    assert GROWTH.networks == (EARLIER, NETWORK)
    assert GROWTH.measured(FOUND) == 0.5


@pytest.mark.parametrize(("measured", "kept"), [(2.9, True), (3.0, True), (3.001, False)])
def test_a_limit_may_be_reached(measured: float, kept: bool) -> None:
    """What lies beyond it misses it."""
    assert PEAK.is_kept(measured) is kept


def test_without_a_limit_nothing_is_kept_or_missed() -> None:
    """Such a figure is for information."""
    assert replace(PEAK, limit=None).is_kept(1e9) is None


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.figure.strip())
def test_a_figure_names_its_network_and_unit(limit: Limit) -> None:
    """The words of a row agree with what is measured in it."""
    case = limit.network.case
    assert limit.unit_bytes == (MIB if "MiB" in limit.figure else MB)
    assert ("frozen" in limit.figure) is limit.network.frozen_carries
    assert ("inverted" in limit.figure) is (case.states == "inverted")
    if limit.since is None:
        assert f"{case.dtype}: peak" in limit.figure
    else:
        assert f"T = {limit.since} to {case.timesteps}" in limit.figure
