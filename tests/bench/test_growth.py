from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Growth, activation_growth, growth_along
from revbench.bench.cases import Case

DEPTHS = (1, 2, 4, 8, 16)
INTEGERS = st.integers(-(10**12), 10**12)
POINTS_AT = st.lists(st.integers(0, 200), min_size=3, max_size=8, unique=True)


def told(growth: Growth) -> tuple[object, ...]:
    """Law, intercept, slope and number of skipped points."""
    return growth.law, growth.intercept, growth.slope, growth.num_skipped


def test_equal_values_are_flat() -> None:
    """Values that are equal at every x obey the flat law at that value."""
    growth = growth_along([(depth, 27_262_976) for depth in DEPTHS])
    assert told(growth) == ("flat", 27_262_976, 0, 0)


def test_integers_on_a_line_are_affine_to_the_byte() -> None:
    """Intercept and slope of integers on a line come back as those integers."""
    growth = growth_along([(depth, 12_345_679 + 7_340_033 * depth) for depth in DEPTHS])
    assert told(growth) == ("affine", 12_345_679, 7_340_033, 0)
    assert growth.is_tested


@given(INTEGERS, INTEGERS.filter(bool), POINTS_AT)
def test_any_line_is_recognised(intercept: int, slope: int, xs: list[int]) -> None:
    """Whatever the line and wherever it is measured, three points give it back exactly."""
    growth = growth_along([(x, intercept + slope * x) for x in xs])
    assert told(growth) == ("affine", intercept, slope, 0)


@given(INTEGERS, INTEGERS, POINTS_AT.filter(lambda xs: len(xs) >= 5), st.integers(2, 4))
def test_one_byte_off_breaks_the_law(intercept: int, slope: int, xs: list[int], place: int) -> None:
    """A single byte at any but the smallest x, among five or more points, makes the growth irregular."""
    points = [(x, intercept + slope * x) for x in sorted(xs)]
    points[place] = (points[place][0], points[place][1] + 1)
    assert growth_along(points).law == "irregular"


def test_a_slope_can_be_a_fraction_of_a_byte() -> None:
    """One byte every three blocks is an exact law of slope 1/3."""
    growth = growth_along([(0, 5), (3, 6), (9, 8)])
    assert told(growth) == ("affine", 5, Fraction(1, 3), 0)


def test_the_smallest_depth_may_differ() -> None:
    """If all points but the first obey a law, it is that of the others and says that one was skipped."""
    affine = growth_along([(1, 99), (2, 24), (4, 44), (8, 84)])
    assert told(affine) == ("affine", 4, 10, 1)
    flat = growth_along([(1, 99), (2, 24), (4, 24), (8, 24)])
    assert told(flat) == ("flat", 24, 0, 1)


def test_skipping_leaves_enough_points_for_the_law_to_fail() -> None:
    """Of three points that are not on a line none is skipped: any two points would obey a law."""
    growth = growth_along([(1, 99), (2, 24), (4, 24)])
    assert (growth.law, growth.num_skipped) == ("irregular", 0)


def test_irregular_growth_has_local_slopes_and_least_squares() -> None:
    """What is not affine keeps its local slopes, and its line is that of least squares."""
    growth = growth_along([(0, 0), (1, 1), (2, 4)])
    assert told(growth) == ("irregular", Fraction(-1, 3), 2, 0)
    assert [int(slope) for slope in growth.local_slopes] == [1, 3]


def test_two_points_give_a_slope_but_no_tested_law() -> None:
    """Two points always lie on a line, which tests nothing."""
    growth = growth_along([(4, 30), (2, 10)])
    assert growth.points == ((2, 10), (4, 30))
    assert told(growth) == ("affine", -10, 10, 0)
    assert not growth.is_tested


def test_one_point_has_no_slope() -> None:
    """A single point is called a point."""
    growth = growth_along([(4, 30)])
    assert told(growth) == ("point", 30, 0, 0)
    assert not growth.local_slopes


@pytest.mark.parametrize("points", [[], [(1, 2), (1, 3)]])
def test_points_must_have_different_x(points: list[tuple[int, int]]) -> None:
    """No point, or two at the same x, is a mistake of the caller."""
    with pytest.raises(ValueError, match="different x"):
        growth_along(points)


def row(depth: int | None, activation_peak_bytes: int | None, timesteps: int = 4, model: str = "msresnet") -> CaseRow:
    """A case with its activation peak."""
    case = Case(model=model, depth=depth, timesteps=timesteps)
    return CaseRow(case=case, activation_peak_bytes=activation_peak_bytes)


def test_groups_differ_on_the_axis_alone() -> None:
    """Cases of another T or another model are another group, and the order of the rows does not matter."""
    rows = [row(2, 20), row(1, 10), row(1, 5, timesteps=8), row(2, 5, timesteps=8), row(1, 7, model="revsresnet")]
    groups = activation_growth(rows)
    laws = [group.growth.law if group.growth else None for group in groups]
    assert laws == ["affine", "flat", "point"]
    assert [found.case.depth for found in groups[0].rows] == [1, 2]


def test_growth_along_timesteps() -> None:
    """The axis can be the simulation length as well."""
    (group,) = activation_growth([row(None, 3 + 5 * timesteps, timesteps) for timesteps in (1, 2, 4)], "timesteps")
    assert group.growth is not None
    assert group.growth.intercept == 3
    assert group.growth.slope == 5


def test_cases_without_a_number_are_left_out() -> None:
    """A case without an activation peak is no point, and the group says so."""
    (group,) = activation_growth([row(1, 10), row(2, 20), row(4, None)])
    assert [found.case.depth for found in group.left_out] == [4]
    assert group.growth is not None
    assert len(group.growth.points) == 2


def test_rows_without_a_depth_do_not_grow_with_it() -> None:
    """Models of a fixed size are in no group along depth."""
    assert activation_growth([row(None, 10)]) == []


def test_a_group_without_any_number_has_no_growth() -> None:
    """Where nothing was measured nothing is said of the growth."""
    (group,) = activation_growth([row(1, None), row(2, None)])
    assert group.growth is None
