"""Does what was measured bear out a claimed class of growth? Consistent, inconsistent or undecided, and why."""

from dataclasses import dataclass
from typing import Literal

from revbench.bench.analysis.big_o import BOUNDED, TERMS, GrowthClass, Term, is_bounded_by
from revbench.bench.analysis.scaling import LEAST_POINTS, LEAST_SPAN, PowerFit, Scaling
from revbench.bench.analysis.surface import NEGLIGIBLE_SHARE, Surface

Judgement = Literal["consistent", "inconsistent", "undecided"]
TOLERANCE = 0.05
TOLERANCE_OF_TIME = 0.25
WIDEST_INTERVAL = 0.5
NEARLY_LINEAR = 1.1
PHRASES: dict[Term, str] = {
    "L": "with the depth",
    "T": "with the timesteps",
    "LT": "with depth times timesteps",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement and its reason, half a sentence."""

    judgement: Judgement
    reason: str


def undescribed(surface: Surface, tolerance: float) -> str | None:
    """Why no class can be read off the surface, or None.

    A class takes points enough that the fit meets, and no case that ran out of memory where the fit foresees room.
    """
    if narrow := surface.narrow_axis(tolerance):
        return narrow
    within = (surface.least_depth, surface.least_timesteps)
    missed = [
        point
        for point in surface.points
        if point[0] >= within[0] and point[1] >= within[1] and surface.deviation(point) > tolerance
    ]
    if missed:
        worst = max(missed, key=surface.deviation)
        return (
            f"a + bL + cT + dLT misses what was measured by {surface.deviation(worst):.0%} "
            f"at depth {worst[0]}, T={worst[1]}"
        )
    fitted = max(surface.points.values())
    for point in surface.censored:
        if surface.at(*point) <= fitted:
            return f"out of memory at depth {point[0]}, T={point[1]}, where the fit foresees no more than what fitted"
    return None


def judge_surface(surface: Surface | None, claimed: GrowthClass, tolerance: float = TOLERANCE) -> Verdict:
    """The verdict on a claim about depth and timesteps.

    Args:
        surface: None where too little was measured.
        claimed: an upper bound; what grows less is within it.
        tolerance: how far the fit may be from a point.
    """
    if surface is None:
        return Verdict("undecided", "too few depths or simulation lengths were measured")
    if reason := undescribed(surface, tolerance):
        return Verdict("undecided", reason)
    terms = " and ".join(PHRASES[term] for term in TERMS if term in surface.terms and _leads(term, surface))
    grows = f"grows {terms}" if terms else "does not grow"
    rest = _negligible_clause(surface) + _beginning_clause(surface)
    if not is_bounded_by(surface.growth, claimed):
        return Verdict(
            "inconsistent", f"{grows}, which {claimed} does not allow{_excess_clause(surface, claimed)}{rest}"
        )
    if surface.growth == claimed:
        return Verdict("consistent", f"{grows}{rest}")
    return Verdict("consistent", f"{grows}, less than {claimed} allows{rest}")


def judge_timesteps(scaling: Scaling | None, claimed: GrowthClass) -> Verdict:
    """The verdict on a claim about the timesteps alone, `O(1)` or `O(T)`."""
    if scaling is None:
        return Verdict("undecided", "nothing was measured")
    if not scaling.is_wide:
        reason = f"{len(scaling.points)} points over {scaling.span:g} times, where a class takes "
        return Verdict("undecided", f"{reason}{LEAST_POINTS} over {LEAST_SPAN} times")
    if scaling.trend != "grows":
        if scaling.censored:
            return Verdict("undecided", f"out of memory at T={scaling.censored[0]}, beyond points that do not grow")
        told = "does not change" if scaling.trend == "flat" else "falls"
        return Verdict("consistent", f"{told} along T{'' if claimed == 'O(1)' else f', less than {claimed} allows'}")
    if "T" not in BOUNDED[claimed]:
        (first, before), (last, after) = scaling.points[0], scaling.points[-1]
        return Verdict("inconsistent", f"grows {after / before:.3g} times from T={first} to {last}")
    return _judge_exponent(scaling.fit)


def _judge_exponent(fit: PowerFit | None) -> Verdict:
    """Whether what grows with T grows linearly at most."""
    if fit is None:
        return Verdict("undecided", "no power of T describes what was measured")
    if fit.is_exact:
        return Verdict("consistent", "grows linearly in T, to the last unit")
    told = f"grows with T to a power of {fit.least_exponent:g} to {fit.greatest_exponent:g}"
    if fit.least_exponent > 1:
        return Verdict("inconsistent", told)
    is_narrow = fit.greatest_exponent - fit.least_exponent <= WIDEST_INTERVAL
    return Verdict("consistent" if is_narrow or fit.greatest_exponent <= NEARLY_LINEAR else "undecided", told)


def _leads(term: Term, surface: Surface) -> bool:
    """Whether no other term bounds it."""
    return term == "LT" or "LT" not in surface.terms


def _beginning_clause(surface: Surface) -> str:
    """From where on the law is one to the last unit, if not from the smallest depth and T."""
    begins = []
    if surface.least_depth > surface.depths[0]:
        begins.append(f"depth {surface.least_depth}")
    if surface.least_timesteps > surface.timesteps[0]:
        begins.append(f"T={surface.least_timesteps}")
    return f"; a law from {' and '.join(begins)} on" if begins else ""


def _excess_clause(surface: Surface, claimed: GrowthClass) -> str:
    """How much of what was measured the claim does not explain, where that is not most of it."""
    share = max(surface.largest_share(term) for term in surface.terms - BOUNDED[claimed])
    return f" (at most {share:.0%} of what was measured)" if share < 0.5 else ""


def _negligible_clause(surface: Surface) -> str:
    """The terms that were left out of the class."""
    leading = [term for term in surface.negligible if "LT" not in surface.terms or term == "LT"]
    if not leading:
        return ""
    named = " and ".join(PHRASES[term] for term in leading)
    return f"; what grows {named} is nowhere {NEGLIGIBLE_SHARE:.0%}"
