"""Fits along one axis: growth first, then the exponent; noise, censored cases, and the trap of log-log slopes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.analysis.scaling import Scaling, scaling_along

LENGTHS = (1, 2, 4, 8, 16, 32)


def noisy(values: dict[int, float], relative: float, seed: int) -> list[tuple[int, float]]:
    """The values with normal noise."""
    random = np.random.default_rng(seed)
    return [(x, y * (1 + relative * random.standard_normal())) for x, y in values.items()]


def exponents(found: Scaling) -> tuple[float, float, float]:
    """Exponent and interval of a fit that there is."""
    assert found.fit is not None
    return found.fit.exponent, found.fit.least_exponent, found.fit.greatest_exponent


def test_the_trap_of_log_log_slopes() -> None:
    """13.18 + 25.17 T is linear: the naive slope of 0.889 says otherwise, the exponent does not."""
    found = scaling_along([(x, 13.18 + 25.17 * x) for x in LENGTHS])
    assert found.log_log_slope == pytest.approx(0.889, abs=5e-4)
    assert found.local_slopes[0] == pytest.approx(0.728, abs=5e-4)
    assert found.local_slopes[-1] == pytest.approx(0.977, abs=5e-3)
    assert exponents(found) == (1.0, 1.0, 1.0)
    assert found.fit is not None
    assert found.fit.constant == pytest.approx(13.18)
    assert found.fit.factor == pytest.approx(25.17)
    assert not found.fit.is_exact


def test_bytes_on_a_line_are_no_matter_of_statistics() -> None:
    """Integers on a line give the line back, exactly and without an interval."""
    found = scaling_along([(x, 13_180_001 + 25_170_003 * x) for x in LENGTHS])
    assert found.fit is not None
    assert found.fit.is_exact
    assert (found.fit.constant, found.fit.factor) == (13_180_001, 25_170_003)
    assert exponents(found) == (1, 1, 1)


def test_one_byte_off_a_line_is_no_exact_law() -> None:
    """A single byte makes it a fit, of an exponent that is 1 all the same."""
    points = [(x, 13_180_001 + 25_170_003 * x) for x in LENGTHS]
    points[3] = (points[3][0], points[3][1] + 1)
    found = scaling_along(points)
    assert found.fit is not None
    assert not found.fit.is_exact
    assert found.fit.exponent == 1


def test_a_first_point_off_the_line_is_no_exact_law() -> None:
    """The exponent is about all points, whereas a law of growth may leave out the smallest."""
    found = scaling_along([(1, 99), (2, 24), (4, 44), (8, 84), (16, 164)])
    assert found.fit is not None
    assert not found.fit.is_exact


def test_fractions_can_be_exact() -> None:
    """Operations for each parameter are fractions, on a line to the last."""
    found = scaling_along([(x, Fraction(1, 7) + Fraction(5, 3) * x) for x in LENGTHS])
    assert found.fit is not None
    assert found.fit.is_exact
    assert found.fit.factor == pytest.approx(5 / 3)


def test_a_square_root_is_found() -> None:
    """Checkpointing in segments grows with the root of T; the naive slope of it excludes 1/2."""
    found = scaling_along([(x, 13 + 25 * x**0.5) for x in LENGTHS])
    assert exponents(found) == (0.5, 0.5, 0.5)
    assert found.log_log_slope is not None
    assert found.log_log_slope < 0.45


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_interval_holds_the_truth_in_noise(power: float, seed: int) -> None:
    """With noise of 1 % the exponent is near the truth, and the interval neither empty nor everything."""
    found = scaling_along(noisy({x: 13 + 25 * x**power for x in LENGTHS}, 0.01, seed), noise=0.01)
    exponent, least, greatest = exponents(found)
    assert least <= exponent <= greatest
    assert least - 0.1 <= power <= greatest + 0.1
    assert 0 < greatest - least < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_growth(seed: int) -> None:
    """A constant with noise of 1 % is flat, and no exponent is looked for."""
    found = scaling_along(noisy(dict.fromkeys(LENGTHS, 60.0), 0.01, seed), noise=0.01)
    assert (found.trend, found.fit) == ("flat", None)


def test_a_byte_is_growth() -> None:
    """Traced bytes have no noise: one more is growth."""
    assert scaling_along([(x, 60) for x in LENGTHS]).trend == "flat"
    assert scaling_along([(x, 60 + (x == 32)) for x in LENGTHS]).trend == "grows"


def test_what_falls_has_no_exponent() -> None:
    """A cost that falls is named so."""
    found = scaling_along([(x, 100 / x) for x in LENGTHS])
    assert (found.trend, found.fit) == ("falls", None)


def test_too_few_points_have_no_exponent() -> None:
    """Three parameters pass through any three points; a line of integers can fail at three."""
    assert scaling_along([(1, 1.0), (2, 2.0), (4, 4.0)]).fit is None
    assert scaling_along([(1, 1), (2, 2), (4, 4)]).fit is not None


@pytest.mark.parametrize(
    ("lengths", "is_wide"), [((1, 2, 4, 8, 16), True), ((1, 2, 4, 8, 15), False), ((1, 4, 8, 16), False)]
)
def test_a_class_takes_points_and_span(lengths: tuple[int, ...], is_wide: bool) -> None:
    """Five points, and sixteen times between the ends."""
    assert scaling_along([(x, x) for x in lengths]).is_wide is is_wide


def test_censored_cases_rule_out_curves_that_foresee_room() -> None:
    """With noise that leaves many exponents open, one that ran out of memory excludes those that stay below."""
    points = [(1, 10.0), (2, 11.0), (4, 12.0), (8, 14.5), (16, 13.5)]
    free = scaling_along(points, noise=0.01)
    bound = scaling_along(points, noise=0.01, censored=[17])
    assert free.fit is not None
    assert bound.fit is not None
    assert free.fit.at(17) < 14.5 < bound.fit.at(17)
    assert bound.fit.least_exponent > free.fit.least_exponent
    assert bound.censored == (17,)


def test_a_case_that_ran_out_of_memory_below_one_that_fitted_has_no_fit() -> None:
    """No growing curve says that T = 1 takes more than T = 16."""
    points = [(x, float(x)) for x in (2, 4, 8, 16)]
    assert scaling_along(points).fit is not None
    assert scaling_along(points, censored=[1]).fit is None


@pytest.mark.parametrize("points", [[], [(1, 2.0), (1, 3.0)], [(0, 1.0), (1, 2.0)]])
def test_points_must_have_different_x_from_one_on(points: list[tuple[int, float]]) -> None:
    """No point, two at the same x, or an x below 1 is a mistake of the caller."""
    with pytest.raises(ValueError, match="different x"):
        scaling_along(points)


@given(
    st.floats(0, 1e6),
    st.floats(1, 1e6),
    st.integers(20, 250),
    st.lists(st.integers(1, 200), min_size=5, max_size=8, unique=True),
)
@settings(max_examples=30, deadline=None)
def test_any_power_is_found(constant: float, factor: float, hundredths: int, xs: list[int]) -> None:
    """Whatever the constant, the factor and the places, the fitted curve passes through exact data."""
    power = hundredths / 100
    points = [(x, constant + factor * x**power) for x in xs]
    found = scaling_along(points)
    if found.trend == "grows":
        assert found.fit is not None
        assert found.fit.least_exponent <= found.fit.exponent <= found.fit.greatest_exponent
        assert [found.fit.at(x) for x, _ in points] == pytest.approx([y for _, y in points], rel=1e-4)


@given(st.floats(1e-6, 1e6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_unit_of_y_is_of_no_matter(unit: float, seed: int) -> None:
    """In MiB or in bytes the exponent and its interval are the same."""
    points = noisy({x: 13 + 25 * x for x in LENGTHS}, 0.02, seed)
    scaled = [(x, y * unit) for x, y in points]
    assert exponents(scaling_along(scaled)) == exponents(scaling_along(points))
