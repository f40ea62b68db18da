"""Classes of growth in the depth L and the timesteps T, and which of them bounds which."""

from typing import Literal

GrowthClass = Literal["O(1)", "O(L)", "O(T)", "O(L+T)", "O(LT)"]
Term = Literal["L", "T", "LT"]
TERMS: tuple[Term, ...] = ("L", "T", "LT")
BOUNDED: dict[GrowthClass, frozenset[Term]] = {
    "O(1)": frozenset(),
    "O(L)": frozenset({"L"}),
    "O(T)": frozenset({"T"}),
    "O(L+T)": frozenset({"L", "T"}),
    "O(LT)": frozenset({"L", "T", "LT"}),
}


def growth_class(terms: frozenset[Term]) -> GrowthClass:
    """The least class that bounds a sum of these terms and a constant."""
    fitting = (growth for growth, bounded in BOUNDED.items() if terms <= bounded)
    return min(fitting, key=lambda growth: len(BOUNDED[growth]))


def is_bounded_by(fitted: GrowthClass, claimed: GrowthClass) -> bool:
    """Whether what grows as `fitted` is within `claimed`."""
    return BOUNDED[fitted] <= BOUNDED[claimed]
