"""How a cost grows with depth and timesteps together: `y = a + b L + c T + d L T`.

Which of b, c and d are there decides the class: d makes O(LT), b and c alone O(L+T), O(L) or O(T), none O(1). Counted
bytes and operations are tested as equalities first, on the whole grid or beyond its smallest depth or T, where a peak
may lie elsewhere. What is no such law to the last unit gets the plane of least squares with relative residuals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from revbench.bench.analysis.big_o import TERMS, GrowthClass, Term, growth_class
from revbench.bench.analysis.growth import MIN_POINTS_OF_A_TEST
from revbench.bench.analysis.scaling import LEAST_POINTS, LEAST_SPAN

NEGLIGIBLE_SHARE = 0.01
STANDARD_ERRORS = 3
Point = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A fitted surface over depth and timesteps.

    Attributes:
        points: (depth, timesteps) -> y, as measured.
        censored: (depth, timesteps) of the cases that ran out of memory.
        constant: a.
        coefficients: b, c and d by their terms `L`, `T` and `LT`; exact, or of least squares.
        least_depth: the smallest depth that the law holds from.
        least_timesteps: likewise.
        is_exact: whether it is a law to the last unit.
        standard_errors: of the coefficients; 0 for a law.
    """

    points: Mapping[Point, float]
    censored: tuple[Point, ...]
    constant: Fraction
    coefficients: Mapping[Term, Fraction]
    least_depth: int
    least_timesteps: int
    is_exact: bool
    standard_errors: Mapping[Term, float]

    @property
    def depths(self) -> list[int]:
        """The depths that were measured, ascending."""
        return sorted({depth for depth, _ in self.points})

    @property
    def timesteps(self) -> list[int]:
        """The simulation lengths that were measured, ascending."""
        return sorted({timesteps for _, timesteps in self.points})

    def at(self, depth: int, timesteps: int) -> Fraction:
        """The fitted value."""
        return self.constant + sum(
            (self.coefficients[term] * _size(term, depth, timesteps) for term in TERMS), Fraction()
        )

    def edge(self, index: int) -> list[tuple[int, float]]:
        """The points along depth (0) or timesteps (1), at the greatest of the other."""
        other = max(point[1 - index] for point in self.points)
        return [(point[index], float(value)) for point, value in self.points.items() if point[1 - index] == other]

    def deviation(self, point: Point) -> float:
        """How far the fit is from what was measured at the point, as a share of that."""
        return abs(float(self.at(*point)) / float(self.points[point]) - 1)

    def largest_share(self, term: Term) -> float:
        """The largest part, anywhere on the grid, of what was measured that the term makes up."""
        return max(
            abs(float(self.coefficients[term] * _size(term, *point))) / float(value)
            for point, value in self.points.items()
        )

    @property
    def terms(self) -> frozenset[Term]:
        """The terms that grow, and are more than noise and than 1 % of the value somewhere on the grid."""
        return frozenset(
            term
            for term in TERMS
            if self.coefficients[term] > STANDARD_ERRORS * Fraction(self.standard_errors[term])
            and self.largest_share(term) > NEGLIGIBLE_SHARE
        )

    @property
    def negligible(self) -> list[Term]:
        """The terms that are there and nowhere make up 1 %; of least squares, none can be told from noise."""
        return [term for term in TERMS if self.is_exact and self.coefficients[term] > 0 and term not in self.terms]

    @property
    def growth(self) -> GrowthClass:
        """The class of what the terms add up to."""
        return growth_class(self.terms)

    def narrow_axis(self, tolerance: float) -> str | None:
        """Why the grid is too small for a class to be claimed, or None: points that the fit misses do not count."""
        for name, index, letter in (("depths", 0, "L"), ("simulation lengths", 1, "T")):
            met = sorted({point[index] for point in self.points if self.deviation(point) <= tolerance})
            if len(met) < LEAST_POINTS:
                return f"{len(met)} {name} that the fit meets, where a class takes {LEAST_POINTS}"
            if met[-1] < LEAST_SPAN * met[0]:
                return f"{letter} spans {met[0]} to {met[-1]}, where a class takes {LEAST_SPAN} times"
        return None


def surface_over(points: Mapping[Point, float], *, censored: Sequence[Point] = ()) -> Surface | None:
    """The surface over points of a grid; None where they are too few for a surface that could fail.

    Args:
        points: (depth, timesteps) -> y > 0; integers and fractions are tested as equalities first.
        censored: (depth, timesteps) of the cases that ran out of memory.
    """
    depths, lengths = ({point[index] for point in points} for index in (0, 1))
    if min(len(depths), len(lengths)) < MIN_POINTS_OF_A_TEST or len(points) <= len(TERMS) + 1:
        return None
    if all(isinstance(value, int | Fraction) for value in points.values()):
        for skipped_depths, skipped_lengths in ((0, 0), (0, 1), (1, 0), (1, 1)):
            corner = sorted(depths)[skipped_depths], sorted(lengths)[skipped_lengths]
            if law := _law({point: Fraction(value) for point, value in points.items()}, corner):
                constant, coefficients = law
                return _surface(points, censored, constant, coefficients, corner, None)
    constant, coefficients, errors = _least_squares(points)
    return _surface(points, censored, constant, coefficients, (min(depths), min(lengths)), errors)


def _surface(
    points: Mapping[Point, float],
    censored: Sequence[Point],
    constant: Fraction,
    coefficients: Sequence[Fraction],
    corner: Point,
    errors: Sequence[float] | None,
) -> Surface:
    return Surface(
        points=dict(points),
        censored=tuple(sorted(censored)),
        constant=constant,
        coefficients=dict(zip(TERMS, coefficients, strict=True)),
        least_depth=corner[0],
        least_timesteps=corner[1],
        is_exact=errors is None,
        standard_errors=dict(zip(TERMS, errors or (0.0, 0.0, 0.0), strict=True)),
    )


def _law(points: Mapping[Point, Fraction], corner: Point) -> tuple[Fraction, list[Fraction]] | None:
    """The law that all points from the corner on obey, if they could have failed to: by two depths and two lengths."""
    beyond = {point: value for point, value in points.items() if point[0] >= corner[0] and point[1] >= corner[1]}
    depths, lengths = (sorted({point[index] for point in beyond}) for index in (0, 1))
    if min(len(depths), len(lengths)) < MIN_POINTS_OF_A_TEST:
        return None
    (low, high), (short, long) = (depths[0], depths[1]), (lengths[0], lengths[1])
    four = [beyond.get(point) for point in product((low, high), (short, long))]
    if any(value is None for value in four):
        return None
    low_short, low_long, high_short, high_long = (value for value in four if value is not None)
    per_both = (high_long - high_short - low_long + low_short) / ((high - low) * (long - short))
    per_depth = (high_short - low_short) / (high - low) - per_both * short
    per_length = (low_long - low_short) / (long - short) - per_both * low
    constant = low_short - per_depth * low - per_length * short - per_both * low * short
    obeyed = all(
        constant + per_depth * depth + per_length * length + per_both * depth * length == value
        for (depth, length), value in beyond.items()
    )
    return (constant, [per_depth, per_length, per_both]) if obeyed else None


def _least_squares(points: Mapping[Point, float]) -> tuple[Fraction, list[Fraction], list[float]]:
    """Constant, coefficients, and the standard errors of these, of least relative residuals."""
    y = np.array([float(value) for value in points.values()])
    sizes = np.array([[1, *(_size(term, *point) for term in TERMS)] for point in points], dtype=float)
    design = sizes / y[:, None]
    scale = np.linalg.norm(design, axis=0)
    found, *_ = np.linalg.lstsq(design / scale, np.ones_like(y), rcond=None)
    errors = _standard_errors(design / scale, found) / scale
    constant, *coefficients = (Fraction(float(value)) for value in found / scale)
    return constant, coefficients, [float(error) for error in errors[1:]]


def _standard_errors(design: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    residuals = design @ found - 1
    variance = residuals @ residuals / (len(design) - len(found))
    return np.asarray(np.sqrt(variance * np.diag(np.linalg.pinv(design.T @ design))))


def _size(term: Term, depth: int, timesteps: int) -> int:
    return {"L": depth, "T": timesteps, "LT": depth * timesteps}[term]
