"""The curve that is drawn through measured points: an exact law where there is one, else `y = a + b x^p`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import fmean
from typing import Literal

from revbench.bench.analysis.growth import growth_along
from revbench.bench.analysis.scaling import LEAST_POINTS_OF_A_FIT, scaling_along
from revbench.reports.units import significant_text

Basis = Literal["exact", "least squares"]
NUM_PLACES = 60
MOST_DEVIATIONS = 2
"""Standard deviations of one y that a point may lie off a level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCurve:
    """`y = constant + factor * x ** exponent` from the first to the last x.

    Attributes:
        constant: in the unit of y.
        factor: likewise; 0 for a level.
        exponent: of x.
        least_exponent: lower end of the 95 % interval of the exponent; the exponent itself if it is exact.
        greatest_exponent: upper end.
        first: smallest x that it is about.
        last: greatest.
        basis: `exact` for a law that the points obey to the last unit.
    """

    constant: float
    factor: float
    exponent: float
    least_exponent: float
    greatest_exponent: float
    first: int
    last: int
    basis: Basis

    def at(self, x: float) -> float:
        """The fitted value at x."""
        return float(self.constant + self.factor * x**self.exponent)

    def places(self) -> list[float]:
        """Where it is drawn, close enough for the eye."""
        steps = range(NUM_PLACES + 1) if self.exponent != 1 and self.factor else (0, NUM_PLACES)
        return [self.first + (self.last - self.first) * step / NUM_PLACES for step in steps]

    def divided(self, by: float) -> "FittedCurve":
        """The curve in a unit that is so many times larger."""
        return replace(self, constant=self.constant / by, factor=self.factor / by)

    def told(self, x: str) -> str:
        """The curve in words: `7.00 + 11.3 depth, exact from 2 on`."""
        if not self.factor:
            law = significant_text(self.constant)
        else:
            power = x if self.exponent == 1 else f"{x}^{self.exponent:.2f}"
            sign = "-" if self.factor < 0 else "+"
            law = f"{significant_text(self.constant)} {sign} {significant_text(abs(self.factor))} {power}"
        if self.basis == "exact":
            return f"{law}, exact over {x} {self.first} to {self.last}"
        if not self.factor:
            return f"{law}, no growth beyond noise over {x} {self.first} to {self.last}"
        return f"{law}, least squares, 95 % interval of the exponent {self.least_exponent:.2f} to " + (
            f"{self.greatest_exponent:.2f}"
        )


def fitted_curve(
    points: Sequence[tuple[int, float]], *, noise: float = 0.0, censored: Sequence[int] = ()
) -> FittedCurve | None:
    """The curve; None where the points are too few for one that could fail to fit, fall, or scatter.

    Args:
        points: (x, y), x from 1 on; integers are tested for an exact law first.
        noise: relative standard deviation of one y; 0 for traced bytes.
        censored: x of the cases that ran out of memory.
    """
    is_whole = bool(points) and all(isinstance(y, int) for _, y in points)
    if is_whole and (law := _exact([(x, int(y)) for x, y in points])):
        return law
    if len(points) < LEAST_POINTS_OF_A_FIT:
        return None
    scaling = scaling_along(points, noise=noise, censored=censored)
    first, last = scaling.points[0][0], scaling.points[-1][0]
    if scaling.trend == "flat":
        level = fmean(y for _, y in scaling.points)
        is_level = all(abs(y - level) <= MOST_DEVIATIONS * noise * level for _, y in scaling.points)
        return _curve(level, 0, (1, 1, 1), (first, last), "least squares") if is_level else None
    if scaling.fit is None:
        return None
    fit = scaling.fit
    exponents = (fit.exponent, fit.least_exponent, fit.greatest_exponent)
    return _curve(fit.constant, fit.factor, exponents, (first, last), "least squares")


def _exact(points: Sequence[tuple[int, int]]) -> FittedCurve | None:
    growth = growth_along(points)
    if not growth.is_tested or growth.law not in ("flat", "affine"):
        return None
    obeying = growth.points[growth.num_skipped :]
    return _curve(growth.intercept, growth.slope, (1, 1, 1), (obeying[0][0], obeying[-1][0]), "exact")


def _curve(
    constant: float | Fraction,
    factor: float | Fraction,
    exponents: tuple[float, float, float],
    span: tuple[int, int],
    basis: Basis,
) -> FittedCurve:
    return FittedCurve(
        constant=float(constant),
        factor=float(factor),
        exponent=exponents[0],
        least_exponent=exponents[1],
        greatest_exponent=exponents[2],
        first=span[0],
        last=span[1],
        basis=basis,
    )
