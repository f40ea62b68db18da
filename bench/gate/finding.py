"""What a check finds about a case, in bytes or in seconds, and what the check ends with. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from revbench.bench.cases import Case
from revbench.bench.errors import (
    EXIT_CASE_FAILED,
    EXIT_IMPROVED,
    EXIT_NOTHING_COMPARED,
    EXIT_OK,
    EXIT_REGRESSION,
)
from revbench.bench.gate.reading import Holder

Verdict = Literal["grew", "failed", "shrank", "same"]
"""`grew`: a number is beyond its tolerance; `failed`: there are no numbers any more; `shrank`: something is less and
nothing grew, or a case that was unsupported is not any more."""
SEVERITY: tuple[Verdict, ...] = ("grew", "failed", "shrank", "same")


@dataclass(frozen=True, slots=True)
class HolderGrowth:
    """What one holder has before and now, in bytes."""

    holder: Holder
    before: int
    now: int

    @property
    def grown_bytes(self) -> int:
        """How much more it is."""
        return self.now - self.before


class Finding(Protocol):
    """One case, before and now."""

    @property
    def case(self) -> Case:
        """Which."""

    @property
    def name(self) -> str:
        """In reports."""

    @property
    def verdict(self) -> Verdict:
        """See `Verdict`."""

    @property
    def is_compared(self) -> bool:
        """Whether there are numbers."""

    @property
    def is_unsupported(self) -> bool:
        """Whether there are none, as there were none before."""

    @property
    def grown_bytes(self) -> int:
        """By how much the case grew."""

    def sentence(self) -> str:
        """What happened, without the name."""

    def blame(self) -> tuple[HolderGrowth, ...]:
        """Who holds more and who less, the largest growth first."""


Found = TypeVar("Found", bound=Finding)


def worst_first(findings: Iterable[Found]) -> list[Found]:
    """Regressions first, the largest of them first of all; then failed cases, improvements, and the rest."""
    return sorted(findings, key=lambda each: (SEVERITY.index(each.verdict), -each.grown_bytes, each.name))


def exit_code(findings: Sequence[Finding], *, strict: bool) -> int:
    """What the check ends with.

    Where several things apply, the first of: regression, failed case, nothing compared, improvement (with `strict`).
    """
    verdicts = {each.verdict for each in findings}
    if "grew" in verdicts:
        return EXIT_REGRESSION
    if "failed" in verdicts:
        return EXIT_CASE_FAILED
    if not any(each.is_compared for each in findings):
        return EXIT_NOTHING_COMPARED
    return EXIT_IMPROVED if strict and "shrank" in verdicts else EXIT_OK
