"""Fits over depth and timesteps: exact laws, laws beyond the smallest size, noise, and the class that they make."""

from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.analysis.big_o import BOUNDED, GrowthClass, growth_class, is_bounded_by
from revbench.bench.analysis.surface import Surface, surface_over

SIZES = (1, 2, 4, 8, 16)
Law = Callable[[int, int], float]


def grid(law: Law, sizes: tuple[int, ...] = SIZES) -> dict[tuple[int, int], float]:
    """The law at each depth and each number of timesteps."""
    return {(depth, timesteps): law(depth, timesteps) for depth, timesteps in product(sizes, sizes)}


def over(law: Law, sizes: tuple[int, ...] = SIZES) -> Surface:
    """The surface over the grid, which there must be."""
    found = surface_over(grid(law, sizes))
    assert found is not None
    return found


def told(surface: Surface) -> tuple[Fraction, list[Fraction], bool]:
    """Constant, coefficients and whether it is a law."""
    return surface.constant, list(surface.coefficients.values()), surface.is_exact


@pytest.mark.parametrize(
    ("coefficients", "growth"),
    [
        ((0, 0, 0), "O(1)"),
        ((500, 0, 0), "O(L)"),
        ((0, 500, 0), "O(T)"),
        ((500, 500, 0), "O(L+T)"),
        ((0, 0, 500), "O(LT)"),
        ((500, 500, 500), "O(LT)"),
    ],
)
def test_the_coefficients_make_the_class(coefficients: tuple[int, int, int], growth: GrowthClass) -> None:
    """Each class of the table comes back from data that were made by it, with its integers."""
    b, c, d = coefficients
    found = over(lambda depth, timesteps: 1000 + b * depth + c * timesteps + d * depth * timesteps)
    assert told(found) == (1000, [b, c, d], True)
    assert found.growth == growth


@given(*(st.integers(-(10**9), 10**9) for _ in range(4)))
@settings(max_examples=40, deadline=None)
def test_any_law_is_recognised(a: int, b: int, c: int, d: int) -> None:
    """Whatever the integers, they come back."""
    offset = 10**14  # keeps the values positive
    found = over(lambda depth, timesteps: offset + a + b * depth + c * timesteps + d * depth * timesteps)
    assert told(found) == (offset + a, [b, c, d], True)


@given(st.sampled_from(list(product(SIZES[1:], SIZES[1:]))))
@settings(max_examples=16, deadline=None)
def test_one_byte_off_is_no_law(place: tuple[int, int]) -> None:
    """A byte more at any place, but at the edge that may be skipped, makes it a fit of least squares."""
    points = grid(lambda depth, timesteps: 10_000 + 500 * depth * timesteps)
    points[place] += 1
    found = surface_over(points)
    assert found is not None
    assert not found.is_exact
    assert found.growth == "O(LT)"


def test_a_law_may_begin_beyond_the_smallest_size() -> None:
    """Where the first timestep or the first block is another, the law is that of the others and says so."""
    first_step = over(lambda depth, timesteps: 1000 * depth + (50 if timesteps == 1 else 90))
    assert (first_step.is_exact, first_step.least_depth, first_step.least_timesteps) == (True, 1, 2)
    assert (first_step.constant, first_step.growth) == (90, "O(L)")
    both = over(lambda depth, timesteps: 7 if 1 in (depth, timesteps) else 1000 * depth * timesteps)
    assert (both.is_exact, both.least_depth, both.least_timesteps) == (True, 2, 2)
    only_depth = over(lambda depth, timesteps: (3 if depth == 1 else 1000 * depth) + 500 * timesteps)
    assert (only_depth.is_exact, only_depth.least_depth, only_depth.least_timesteps) == (True, 2, 1)


def test_skipping_leaves_enough_for_the_law_to_fail() -> None:
    """Of three sizes an axis none is skipped: two lie on any line."""
    found = over(lambda depth, timesteps: 7 if timesteps == 1 else 1000 * depth * timesteps, (1, 2, 4))
    assert not found.is_exact


@pytest.mark.parametrize("sizes", [(1, 2), (1,)])
def test_too_small_a_grid_has_no_surface(sizes: tuple[int, ...]) -> None:
    """Through two depths and two lengths a surface always passes."""
    assert surface_over(grid(lambda depth, timesteps: depth * timesteps, sizes)) is None


def test_a_cross_is_a_grid_with_holes() -> None:
    """Not all combinations need to be there."""
    points = {
        (depth, timesteps): value
        for (depth, timesteps), value in grid(lambda depth, timesteps: 5 + 3 * depth * timesteps).items()
        if 1 in (depth, timesteps) or depth == timesteps
    }
    found = surface_over(points)
    assert found is not None
    assert (found.is_exact, found.growth) == (True, "O(LT)") or found.coefficients["LT"] == pytest.approx(3)


def random_law(law: Law, relative: float, seed: int) -> dict[tuple[int, int], float]:
    """The grid of a law with normal noise."""
    random = np.random.default_rng(seed)
    return {point: y * (1 + relative * random.standard_normal()) for point, y in grid(law).items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("law", "growth"),
    [
        (lambda _depth, _timesteps: 60.0, "O(1)"),
        (lambda depth, _timesteps: 10 + 5.0 * depth, "O(L)"),
        (lambda _depth, timesteps: 10 + 5.0 * timesteps, "O(T)"),
        (lambda depth, timesteps: 10 + 5.0 * depth + 5.0 * timesteps, "O(L+T)"),
        (lambda depth, timesteps: 10 + 5.0 * depth * timesteps, "O(LT)"),
    ],
)
def test_the_class_survives_noise(law: Law, growth: GrowthClass, seed: int) -> None:
    """With noise of 1 % the class is that of the law."""
    found = surface_over(random_law(law, 0.01, seed))
    assert found is not None
    assert not found.is_exact
    assert found.growth == growth


def test_small_terms_are_named_and_do_not_count() -> None:
    """Four bytes a timestep beside megabytes a block are there, and are no growth in T."""
    found = over(lambda depth, timesteps: 5_000_000 * depth + 4 * timesteps)
    assert (found.growth, found.negligible) == ("O(L)", ["T"])
    assert found.largest_share("T") == pytest.approx(4 * 16 / 5_000_000, rel=1e-3)


def test_a_term_counts_where_it_is_largest() -> None:
    """What is little at great depth may be much at the smallest."""
    found = over(lambda depth, timesteps: 1_000_000 * depth + 1000 * timesteps)
    assert found.largest_share("T") == pytest.approx(0.016, rel=0.02)
    assert found.growth == "O(L+T)"


def test_what_falls_is_no_growth() -> None:
    """A negative coefficient is kept, and makes no class."""
    found = over(lambda depth, timesteps: 10_000 - 100 * depth)
    assert (found.coefficients["L"], found.growth) == (-100, "O(1)")


@pytest.mark.parametrize(
    ("depths", "lengths", "reason"),
    [
        (SIZES, SIZES, None),
        ((1, 2, 4, 16), SIZES, "4 depths"),
        ((1, 2, 4, 8, 15), SIZES, "L spans 1 to 15"),
        (SIZES, (2, 4, 8, 16), "4 simulation lengths"),
        (SIZES, (2, 4, 8, 16, 31), "T spans 2 to 31"),
        (SIZES, (2, 4, 8, 16, 32), None),
    ],
)
def test_narrow_grids(depths: tuple[int, ...], lengths: tuple[int, ...], reason: str | None) -> None:
    """A class takes five values and sixteen times between the ends, on both axes."""
    found = surface_over({(depth, length): 5 + depth * length for depth, length in product(depths, lengths)})
    assert found is not None
    narrow = found.narrow_axis(0.05)
    assert narrow is None if reason is None else narrow is not None and narrow.startswith(reason)


def test_points_that_the_fit_misses_are_no_evidence() -> None:
    """A first timestep of another size does not widen the span."""
    near = over(lambda depth, timesteps: 1_000_000 * depth + (0 if timesteps == 1 else 30_000))
    assert near.narrow_axis(0.05) is None
    far = over(lambda depth, timesteps: 1_000_000 * depth // (2 if timesteps == 1 else 1))
    assert far.narrow_axis(0.05) == "4 simulation lengths that the fit meets, where a class takes 5"


def test_classes_bound_each_other() -> None:
    """Each class bounds itself and O(1), O(LT) all, and O(L) and O(T) not each other."""
    classes = list(BOUNDED)
    assert all(is_bounded_by(each, each) and is_bounded_by("O(1)", each) for each in classes)
    assert all(is_bounded_by(each, "O(LT)") for each in classes)
    assert not is_bounded_by("O(L)", "O(T)")
    assert not is_bounded_by("O(T)", "O(L)")
    assert not is_bounded_by("O(LT)", "O(L+T)")
    assert growth_class(frozenset({"L", "T"})) == "O(L+T)"
    assert growth_class(frozenset({"LT"})) == "O(LT)"
