"""How a cost scales along one axis: growth is tested first, then `y = a + b x^p`.

A slope in log-log axes is no exponent: the constant a pulls it towards 0, so that a textbook O(T) looks sub-linear. The
exponent is profiled instead: for each p the line of least squares in x^p, with relative residuals, and an interval by
the F-ratio. Bytes that are traced carry no noise; where they lie on a line to the last unit the exponent is known and
nothing is fitted (`growth`).

A case that ran out of memory is censored, not missing: it needed more than any that fitted. An exponent whose curve
does not say so is ruled out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from revbench.bench.analysis.growth import growth_along

Trend = Literal["flat", "grows", "falls"]
LEAST_POINTS = 5
LEAST_SPAN = 16
LEAST_POINTS_OF_A_FIT = 4
STANDARD_ERRORS = 3
"""A slope of fewer than so many standard errors is no growth."""
EXPONENTS = np.round(np.arange(1, 301) * 0.01, 2)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFit:
    """`y = constant + factor * x ** exponent`.

    Attributes:
        constant: a.
        factor: b, in units of y.
        exponent: p.
        least_exponent: lower end of the 95 % interval of p.
        greatest_exponent: upper end.
        is_exact: whether p was found by finite differences, which makes the interval a point.
    """

    constant: float
    factor: float
    exponent: float
    least_exponent: float
    greatest_exponent: float
    is_exact: bool

    def at(self, x: float) -> float:
        """The fitted value at x."""
        return float(self.constant + self.factor * x**self.exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What measured points say about y along x.

    Attributes:
        points: (x, y) that were measured, ascending in x.
        censored: x of the cases that ran out of memory, ascending.
        trend: `flat` where y changes by no more than noise.
        fit: None where y does not grow, or too few points were measured.
        log_log_slope: the naive exponent, for comparison; None for a single point, or where a value is not positive.
        local_slopes: the same between each two neighbours.
    """

    points: tuple[tuple[int, float], ...]
    censored: tuple[int, ...]
    trend: Trend
    fit: PowerFit | None
    log_log_slope: float | None
    local_slopes: tuple[float, ...]

    @property
    def span(self) -> float:
        """The largest x over the smallest."""
        return self.points[-1][0] / self.points[0][0]

    @property
    def is_wide(self) -> bool:
        """Whether the points are enough, and far enough apart, for a class of growth to be claimed."""
        return len(self.points) >= LEAST_POINTS and self.span >= LEAST_SPAN


def scaling_along(
    points: Sequence[tuple[int, float | Fraction]], *, noise: float = 0.0, censored: Sequence[int] = ()
) -> Scaling:
    """The trend of measured points, and the exponent of its growth.

    Args:
        points: (x, y) with x >= 1; of integers and fractions alone the law is tested as an equality first.
        noise: relative standard deviation of one y; 0 for traced bytes and counted operations.
        censored: x of the cases that ran out of memory.

    Raises:
        ValueError: there is no point, two have the same x, or an x is less than 1.
    """
    ordered = tuple(sorted(points))
    xs = [x for x, _ in ordered]
    if not ordered or len(set(xs)) < len(xs) or xs[0] < 1:
        raise ValueError(f"scaling needs points of different x from 1 on, got {points}")
    beyond = tuple(sorted(censored))
    trend = _trend([float(y) for _, y in ordered], noise)
    slopes = _log_log_slopes(ordered)
    return Scaling(
        points=tuple((x, float(y)) for x, y in ordered),
        censored=beyond,
        trend=trend,
        fit=_fit(ordered, beyond) if trend == "grows" else None,
        log_log_slope=_log_log_slope(ordered) if slopes else None,
        local_slopes=slopes,
    )


def _trend(ys: Sequence[float], noise: float) -> Trend:
    """The sign of the slope over the points in their order, where it is more than noise."""
    y = np.array(ys)
    places = np.arange(len(ys)) - (len(ys) - 1) / 2
    slope = float(places @ y) / max(float(places @ places), 1)
    error = noise * float(np.mean(y)) / max(float(np.linalg.norm(places)), 1)
    if y.max() == y.min() or abs(slope) < STANDARD_ERRORS * error:
        return "flat"
    return "grows" if slope >= 0 else "falls"


def _fit(points: Sequence[tuple[int, float | Fraction]], censored: Sequence[int]) -> PowerFit | None:
    """By finite differences of points on a line to the last unit, else by profile; None of too few points."""
    exact = [(x, Fraction(y)) for x, y in points if isinstance(y, int | Fraction)]
    if len(exact) == len(points):
        unit = math.lcm(*(y.denominator for _, y in exact))
        growth = growth_along([(x, int(y * unit)) for x, y in exact])
        if growth.is_tested and growth.law == "affine" and not growth.num_skipped:
            return PowerFit(
                constant=float(growth.intercept / unit),
                factor=float(growth.slope / unit),
                exponent=1.0,
                least_exponent=1.0,
                greatest_exponent=1.0,
                is_exact=True,
            )
    return _profiled(points, censored) if len(points) >= LEAST_POINTS_OF_A_FIT else None


def _profiled(points: Sequence[tuple[int, float | Fraction]], censored: Sequence[int]) -> PowerFit | None:
    """The exponent of least relative residuals, and all that an F-test does not tell from it."""
    from scipy.special import fdtri  # noqa: PLC0415 - slow to import, seldom needed

    x = np.array([x for x, _ in points], dtype=float)
    y = np.array([float(y) for _, y in points])
    lines = [_line(x**p, y) for p in EXPONENTS]
    possible = [
        i
        for i, (constant, factor, _) in enumerate(lines)
        if all(constant + factor * float(at) ** EXPONENTS[i] > y.max() for at in censored)
    ]
    if not possible:
        return None
    best = min(possible, key=lambda i: lines[i][2])
    freedom = len(points) - 3
    # What rounding leaves of exact data must not make the interval empty.
    least = max(lines[best][2], len(points) * 1e-18)
    limit = least * (1 + float(fdtri(1, freedom, CONFIDENCE)) / freedom)
    within = [i for i in possible if lines[i][2] <= limit]
    constant, factor, _ = lines[best]
    return PowerFit(
        constant=constant,
        factor=factor,
        exponent=float(EXPONENTS[best]),
        least_exponent=float(EXPONENTS[within[0]]),
        greatest_exponent=float(EXPONENTS[within[-1]]),
        is_exact=False,
    )


def _line(powers: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Constant, factor and sum of squared relative residuals of the line of least squares."""
    design = np.stack([1 / y, powers / y], axis=1)
    (constant, factor), *_ = np.linalg.lstsq(design, np.ones_like(y), rcond=None)
    residuals = design @ np.array([constant, factor]) - 1
    return float(constant), float(factor), float(residuals @ residuals)


def _log_log_slopes(points: Sequence[tuple[int, float | Fraction]]) -> tuple[float, ...]:
    if any(y <= 0 for _, y in points):
        return ()
    return tuple(
        math.log(float(after / before)) / math.log(right / left) for (left, before), (right, after) in pairwise(points)
    )


def _log_log_slope(points: Sequence[tuple[int, float | Fraction]]) -> float:
    slope, _ = np.polyfit([math.log(x) for x, _ in points], [math.log(float(y)) for _, y in points], 1)
    return float(slope)
