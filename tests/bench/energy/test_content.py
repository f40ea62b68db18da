"""What tensors are declared to hold, and that values which are something else are found out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.energy.content import SPIKES, Content, added, joined, levels_of, multiplied, verified

LEVELS = Content(kind="levels", origin="neurons")
REAL = Content(origin="synapses")
scales = st.sampled_from([1.0, 0.125, 1 / 9, 1 / 49, 2.74, 2.74 / 1024, 1 / 3])


@settings(deadline=None)
@given(scales, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.integers(0, 2**31))
def test_scaled_spikes_and_levels_pass(scale: float, dtype: torch.dtype, seed: int) -> None:
    """Rounded to their dtype as they are; one value between two levels makes all of it real."""
    generator = torch.Generator().manual_seed(seed)
    events = torch.randint(0, 2, (50,), generator=generator).to(dtype)
    levels = torch.randint(-9, 10, (50,), generator=generator).to(dtype)
    levels[0] = 7
    spikes, several = SPIKES.times(scale), LEVELS.times(scale)
    assert verified(events * scale, spikes) == spikes
    assert verified(levels * scale, several) == several
    assert verified(levels * scale, spikes).kind == "levels"
    assert torch.equal(levels_of(levels * scale, scale).to(dtype), levels)
    events[3] = 0.4
    assert verified(events * scale, spikes).kind == verified(events * scale, several).kind == "real"


def test_the_wrong_scale_is_found_out() -> None:
    """Spikes of 1 that were declared to be 2 are half levels."""
    assert verified(torch.ones(4), SPIKES.times(2.0)).kind == "real"
    assert verified(2 * torch.ones(4), SPIKES) == Content(kind="levels", origin="neurons")


@pytest.mark.parametrize("values", [torch.zeros(3), torch.ones(3), torch.rand(3)])
def test_real_numbers_stay_real(values: torch.Tensor) -> None:
    """Nothing is guessed from values."""
    assert verified(values, REAL) == REAL


def test_contents_of_sums_and_products() -> None:
    """Levels of sums, spikes of masks, real numbers of everything else, and the nearest origin."""
    assert added(SPIKES, SPIKES) == LEVELS
    assert added(SPIKES, SPIKES.times(0.5)) == added(SPIKES, REAL) == Content(origin="neurons")
    assert multiplied(SPIKES.times(0.5), SPIKES) == SPIKES.times(0.5)
    assert multiplied(SPIKES, LEVELS) == LEVELS
    assert multiplied(REAL, SPIKES) == Content(origin="neurons")
    assert SPIKES.summed(0.25) == LEVELS.times(0.25)


def test_contents_side_by_side() -> None:
    """Spikes beside spikes are spikes; beside levels, levels; beside real numbers, real numbers, of neurons."""
    assert joined([SPIKES, SPIKES]) == SPIKES
    assert joined([SPIKES, LEVELS]) == LEVELS
    assert joined([REAL, SPIKES]) == Content(origin="neurons")
    assert joined([REAL, Content()]) == REAL
