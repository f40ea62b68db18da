"""The curve through measured points: exact where the points are a law, honest where they are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.reports.html.fitted import fitted_curve

PLACES = (1, 2, 4, 8, 16)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.lists(st.integers(1, 99), min_size=3, max_size=6, unique=True))
@settings(max_examples=60, deadline=None)
def test_integers_on_a_line_are_an_exact_law(constant: int, factor: int, places: list[int]) -> None:
    """The curve goes through all of them."""
    points = [(x, constant + factor * x) for x in places]
    curve = fitted_curve(points)
    assert curve is not None
    assert (curve.basis, curve.first, curve.last) == ("exact", min(places), max(places))
    assert [curve.at(x) for x, _ in points] == pytest.approx([y for _, y in points], rel=1e-12)
    assert f"exact over depth {min(places)} to {max(places)}" in curve.told("depth")


def test_a_law_may_begin_at_the_second_point() -> None:
    """Then the curve does too."""
    curve = fitted_curve([(1, 5), (2, 20), (4, 40), (8, 80)])
    assert curve is not None
    assert (curve.first, curve.last, curve.basis) == (2, 8, "exact")
    assert curve.places() == [2, 8]
    assert curve.told("T") == "0 + 10.0 T, exact over T 2 to 8"


def test_a_flat_law() -> None:
    """It has no factor."""
    curve = fitted_curve([(1, 7), (2, 7), (4, 7)])
    assert curve is not None
    assert (curve.factor, curve.at(3)) == (0, 7)
    assert curve.told("depth") == "7.00, exact over depth 1 to 4"


def test_a_power_is_drawn_as_a_curve() -> None:
    """Its exponent is found, with an interval, and it is drawn at many places."""
    curve = fitted_curve([(x, 3.0 + 2.0 * x**0.5) for x in PLACES])
    assert curve is not None
    assert (curve.basis, curve.exponent) == ("least squares", 0.5)
    assert curve.least_exponent <= 0.5 <= curve.greatest_exponent
    assert [curve.at(x) for x in PLACES] == pytest.approx([3 + 2 * x**0.5 for x in PLACES], rel=1e-6)
    places = curve.places()
    assert (places[0], places[-1]) == (1, 16)
    assert len(places) > 20
    assert curve.told("T").startswith("3.00 + 2.00 T^0.50, least squares, 95 % interval of the exponent 0.")


def test_noise_is_no_growth() -> None:
    """The level of all points is drawn, and called so."""
    curve = fitted_curve([(x, 0.1 + 0.0001 * i) for i, x in enumerate(PLACES)], noise=0.1)
    assert curve is not None
    assert curve.at(1) == curve.at(16) == pytest.approx(0.1002)
    assert "no growth beyond noise" in curve.told("T")


def test_scatter_is_no_level() -> None:
    """Points that lie farther from their mean than noise allows have no line through it."""
    points = [(1, 30.0), (2, 70.0), (4, 60.0), (8, 100.0)]
    assert fitted_curve(points, noise=0.25) is None
    assert fitted_curve(points, noise=0.3) is not None


@pytest.mark.parametrize(
    "points", [[], [(1, 3)], [(1, 3), (2, 4)], [(1, 3.0), (2, 4.5), (4, 9.1)], [(1, 9.0), (2, 5.0), (4, 3.0), (8, 2.0)]]
)
def test_too_few_points_and_what_falls_have_no_curve(points: list[tuple[int, float]]) -> None:
    """A curve that could not have failed to fit says nothing."""
    assert fitted_curve(points) is None


def test_a_case_that_ran_out_of_memory_rules_curves_out() -> None:
    """A curve by which it would have fitted is not drawn."""
    points = [(1, 10.0), (2, 20.0), (4, 13.0), (8, 14.0), (16, 15.0)]
    free, censored = fitted_curve(points), fitted_curve(points, censored=[17])
    assert free is not None
    assert free.at(17) < 20
    assert censored is None or censored.at(17) > 20


def test_in_another_unit() -> None:
    """The curve of a share of the bytes is that share of the curve."""
    curve = fitted_curve([(x, 8 * x + 16) for x in PLACES])
    assert curve is not None
    assert curve.divided(8).at(5) == curve.at(5) / 8
