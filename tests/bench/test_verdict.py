"""Verdicts on claimed classes: consistent, inconsistent or undecided, each with its reason."""

from itertools import product

import pytest

from revbench.bench.analysis.scaling import scaling_along
from revbench.bench.analysis.surface import surface_over
from revbench.bench.analysis.verdict import judge_surface, judge_timesteps

SIZES = (1, 2, 4, 8, 16)


def told(verdict: object) -> tuple[str, str]:
    """Judgement and reason."""
    return verdict.judgement, verdict.reason  # type: ignore[attr-defined]


STORED = {point: 1000 + 50 * point[0] * point[1] for point in product(SIZES, SIZES)}
ONLINE = {point: 1000 + 5000 * point[0] for point in product(SIZES, SIZES)}


def test_a_claim_that_holds() -> None:
    """BPTT's O(LT) and SLTT's O(L), from data of their kind."""
    assert told(judge_surface(surface_over(STORED), "O(LT)")) == ("consistent", "grows with depth times timesteps")
    assert told(judge_surface(surface_over(ONLINE), "O(L)")) == ("consistent", "grows with the depth")


def test_a_bound_that_is_not_reached() -> None:
    """An upper bound allows less, and the reason says so."""
    assert told(judge_surface(surface_over(ONLINE), "O(LT)")) == (
        "consistent",
        "grows with the depth, less than O(LT) allows",
    )
    flat = surface_over(dict.fromkeys(STORED, 7))
    assert told(judge_surface(flat, "O(1)")) == ("consistent", "does not grow")


@pytest.mark.parametrize("claimed", ["O(1)", "O(L)", "O(T)", "O(L+T)"])
def test_a_claim_that_does_not_hold(claimed: str) -> None:
    """What grows with depth times timesteps is within none but O(LT)."""
    assert told(judge_surface(surface_over(STORED), claimed)) == (  # type: ignore[arg-type]
        "inconsistent",
        f"grows with depth times timesteps, which {claimed} does not allow",
    )


def test_how_much_a_claim_leaves_unexplained() -> None:
    """A small term that the claim does not allow is told with its share."""
    points = {point: 100 * value + 2500 * point[1] for point, value in ONLINE.items()}
    assert told(judge_surface(surface_over(points), "O(L)")) == (
        "inconsistent",
        "grows with the depth and with the timesteps, which O(L) does not allow (at most 6% of what was measured)",
    )


def test_where_a_law_begins_is_told() -> None:
    """A first block or a first timestep of another size."""
    points = {point: value + (10 if point[0] == 1 else 0) for point, value in ONLINE.items()}
    assert told(judge_surface(surface_over(points), "O(L)")) == (
        "consistent",
        "grows with the depth; a law from depth 2 on",
    )
    points = {point: value + (10 if 1 in point else 0) for point, value in ONLINE.items()}
    assert told(judge_surface(surface_over(points), "O(L)"))[1].endswith("; a law from depth 2 and T=2 on")


def test_a_small_rest_is_named() -> None:
    """A few bytes a timestep leave the claim standing, and are told."""
    points = {point: value * 10_000 + 4 * point[1] for point, value in ONLINE.items()}
    assert told(judge_surface(surface_over(points), "O(L)")) == (
        "consistent",
        "grows with the depth; what grows with the timesteps is nowhere 1%",
    )


def test_undecided_of_too_little() -> None:
    """Without a grid, or with a narrow one, nothing is claimed."""
    assert told(judge_surface(None, "O(L)"))[0] == "undecided"
    narrow = {point: value for point, value in STORED.items() if point[1] < 16}
    assert told(judge_surface(surface_over(narrow), "O(LT)")) == (
        "undecided",
        "4 simulation lengths that the fit meets, where a class takes 5",
    )


def test_undecided_where_the_surface_does_not_fit() -> None:
    """One point far off is enough, though every depth and length has others that are met."""
    points = {point: value * (1.5 if point == (4, 4) else 1) for point, value in STORED.items()}
    judgement, reason = told(judge_surface(surface_over(points), "O(LT)"))
    assert judgement == "undecided"
    assert reason.startswith("a + bL + cT + dLT misses what was measured by 3")
    assert reason.endswith("% at depth 4, T=4")


def test_undecided_where_the_growth_is_of_another_form() -> None:
    """A cost that grows with the square of T is no surface of this form."""
    points = {point: 1000 + 50 * point[1] ** 2 for point in product((1, 2, 3, 4, 8, 12, 16), repeat=2)}
    assert told(judge_surface(surface_over(points), "O(T)"))[0] == "undecided"


def test_undecided_where_memory_ran_out_against_the_fit() -> None:
    """A case out of memory where the fit foresees room contradicts it; where it foresees more, it does not."""
    within = {point: value for point, value in STORED.items() if point != (16, 16)}
    assert told(judge_surface(surface_over(within, censored=[(16, 16)]), "O(LT)"))[0] == "consistent"
    flat = dict.fromkeys(within, 7)
    assert told(judge_surface(surface_over(flat, censored=[(16, 16)]), "O(1)")) == (
        "undecided",
        "out of memory at depth 16, T=16, where the fit foresees no more than what fitted",
    )


def test_timesteps_alone() -> None:
    """Linear growth is O(T) and not O(1); what is flat or falls is within both."""
    linear = scaling_along([(x, 3 + 5 * x) for x in SIZES])
    assert told(judge_timesteps(linear, "O(T)")) == ("consistent", "grows linearly in T, to the last unit")
    assert told(judge_timesteps(linear, "O(1)")) == ("inconsistent", "grows 10.4 times from T=1 to 16")
    flat = scaling_along([(x, 3) for x in SIZES])
    assert told(judge_timesteps(flat, "O(1)")) == ("consistent", "does not change along T")
    assert told(judge_timesteps(flat, "O(T)")) == ("consistent", "does not change along T, less than O(T) allows")
    assert told(judge_timesteps(scaling_along([(x, 1 / x) for x in SIZES]), "O(1)")) == (
        "consistent",
        "falls along T",
    )


def test_more_than_linear_is_not_linear() -> None:
    """A square is beyond O(T), a root within it."""
    square = scaling_along([(x, 3.0 + 5 * x**2) for x in SIZES])
    assert told(judge_timesteps(square, "O(T)")) == ("inconsistent", "grows with T to a power of 2 to 2")
    root = scaling_along([(x, 3.0 + 5 * x**0.5) for x in SIZES])
    assert told(judge_timesteps(root, "O(T)"))[0] == "consistent"


def test_undecided_along_timesteps() -> None:
    """Too few points, too little span, or memory that ran out beyond flat points."""
    assert told(judge_timesteps(None, "O(1)")) == ("undecided", "nothing was measured")
    assert told(judge_timesteps(scaling_along([(x, 3) for x in (1, 2, 4, 8)]), "O(1)")) == (
        "undecided",
        "4 points over 8 times, where a class takes 5 over 16 times",
    )
    assert told(judge_timesteps(scaling_along([(x, 3) for x in SIZES], censored=[32]), "O(1)")) == (
        "undecided",
        "out of memory at T=32, beyond points that do not grow",
    )
