"""How a byte count grows along an axis, by finite differences.

Traced bytes carry no noise, so a law is tested as an equality of integers and not fitted: all values equal is flat, all
local slopes equal is affine. What is neither gets the range of its local slopes and a line of least squares, which is
a description and no law. A law says nothing of the values between and beyond the measured ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import grouped

Law = Literal["point", "flat", "affine", "irregular"]
Axis = Literal["depth", "timesteps"]
MIN_POINTS_OF_A_TEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How y follows x, as `y = intercept + slope * x`.

    Attributes:
        points: all (x, y), ascending in x.
        num_skipped: points at the small end that the law leaves out, 0 or 1.
        intercept: exact for a flat or affine law, of least squares for an irregular one.
        slope: likewise; 0 for a single point.
        local_slopes: between each two neighbouring points that the law is about.
    """

    points: tuple[tuple[int, int], ...]
    num_skipped: int
    intercept: Fraction
    slope: Fraction
    local_slopes: tuple[Fraction, ...]

    @property
    def law(self) -> Law:
        """`point` if there is nothing to compare, `flat`, `affine`, or `irregular` for what is not exactly affine."""
        if not self.local_slopes:
            return "point"
        if len(set(self.local_slopes)) > 1:
            return "irregular"
        return "affine" if self.slope else "flat"

    @property
    def is_tested(self) -> bool:
        """Whether there were points enough for the law to fail: any two points lie on a line."""
        return len(self.points) - self.num_skipped >= MIN_POINTS_OF_A_TEST


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupGrowth:
    """How the activation peak grows in one group of cases that differ on the axis alone.

    Attributes:
        axis: the case field along which it grows.
        rows: all cases of the group, ascending on the axis.
        left_out: those without an activation peak, which the growth does not know.
        growth: None where no case has an activation peak.
    """

    axis: Axis
    rows: tuple[CaseRow, ...]
    left_out: tuple[CaseRow, ...]
    growth: Growth | None


def growth_along(points: Sequence[tuple[int, int]]) -> Growth:
    """The law that integer points (x, y) obey to the last unit.

    If all points but the one of the smallest x obey a law, that law is given with `num_skipped` 1; so many must remain
    that the law could have failed.

    Raises:
        ValueError: there is no point, or two have the same x.
    """
    ordered = tuple(sorted(points))
    if not ordered or len({x for x, _ in ordered}) < len(ordered):
        raise ValueError(f"growth needs points of different x, got {points}")
    for num_skipped in (0, 1):
        obeying = ordered[num_skipped:]
        slopes = _local_slopes(obeying)
        if len(set(slopes)) <= 1 and (num_skipped == 0 or len(obeying) >= MIN_POINTS_OF_A_TEST):
            break
    else:
        num_skipped, obeying, slopes = 0, ordered, _local_slopes(ordered)
    intercept, slope = _least_squares(obeying)
    return Growth(points=ordered, num_skipped=num_skipped, intercept=intercept, slope=slope, local_slopes=slopes)


def activation_growth(rows: Sequence[CaseRow], axis: Axis = "depth") -> list[GroupGrowth]:
    """How the activation peak of a step grows along the axis, one answer for each group of otherwise equal cases."""
    return [_group_growth(group, axis) for group in grouped(rows, axis)]


def _group_growth(group: list[CaseRow], axis: Axis) -> GroupGrowth:
    points = [
        (getattr(row.case, axis), row.activation_peak_bytes) for row in group if row.activation_peak_bytes is not None
    ]
    return GroupGrowth(
        axis=axis,
        rows=tuple(group),
        left_out=tuple(row for row in group if row.activation_peak_bytes is None),
        growth=growth_along(points) if points else None,
    )


def _local_slopes(points: tuple[tuple[int, int], ...]) -> tuple[Fraction, ...]:
    return tuple(Fraction(y_next - y, x_next - x) for (x, y), (x_next, y_next) in pairwise(points))


def _least_squares(points: tuple[tuple[int, int], ...]) -> tuple[Fraction, Fraction]:
    """Intercept and slope in rational numbers: exact where the points lie on a line."""
    mean_x = Fraction(sum(x for x, _ in points), len(points))
    mean_y = Fraction(sum(y for _, y in points), len(points))
    variance = sum((x - mean_x) ** 2 for x, _ in points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    slope = Fraction(covariance) / variance if variance else Fraction(0)
    return mean_y - slope * mean_x, slope
