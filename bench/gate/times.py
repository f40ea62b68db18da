"""Times of two versions of the code: is a training step slower, beyond chance and beyond what matters? Pure functions.

A sample is the median step of one fresh process, since the steps of one process share its luck: how its memory lies,
who else ran. Samples of the two versions are taken in turns. A version is slower if a one-sided Mann-Whitney test says
so at a level that holds for all cases of the check together (Bonferroni), and if the ratio of medians is beyond the
tolerance: with enough samples any difference is beyond chance.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from revbench.bench.cases import Case
from revbench.bench.gate.finding import HolderGrowth, Verdict
from revbench.bench.gate.tolerances import Tolerance

LEVEL = 0.01
"""How likely it is that a check blames any case by chance."""
MIN_ROUNDS = 7
SLACK = 10
"""The smallest possible p-value lies this far below the level of one case: some samples may be out of order."""


@dataclass(frozen=True, kw_only=True)
class TimeComparison:
    """The times of a case in the other version and in this one.

    Attributes:
        case: which.
        before_s: seconds of a training step, one sample a process of the other version.
        now_s: of this one.
        p_value: how likely such an order is if this version is no slower; None where a process failed.
        detail: how a process failed.
        verdict: `grew` if it is slower.
    """

    case: Case
    before_s: tuple[float, ...] = ()
    now_s: tuple[float, ...] = ()
    p_value: float | None = None
    detail: str = ""
    verdict: Verdict

    @property
    def name(self) -> str:
        """In reports, beside the case's bytes."""
        return f"{self.case.label()} (time)"

    @property
    def grown_bytes(self) -> int:
        """None."""
        return 0

    @property
    def is_compared(self) -> bool:
        """Whether there are numbers."""
        return self.p_value is not None

    @property
    def is_unsupported(self) -> bool:
        """Such cases are not timed."""
        return False

    def blame(self) -> tuple[HolderGrowth, ...]:
        """Nobody."""
        return ()

    def sentence(self) -> str:
        """`step 12.1 ms -> 15.0 ms (+24.0 %), p = 0.0003, 7 processes each`."""
        if self.p_value is None:
            return self.detail
        before, now = statistics.median(self.before_s), statistics.median(self.now_s)
        told = f"step {1e3 * before:,.2f} ms -> {1e3 * now:,.2f} ms ({100 * (now / before - 1):+.1f} %)"
        return f"{told}, p = {self.p_value:.2g}, {len(self.now_s)} processes each"


def num_rounds(num_cases: int) -> int:
    """How many samples of each version a case needs, so that the test can tell at the level of one of so many cases."""
    rounds = MIN_ROUNDS
    while SLACK / comb(2 * rounds, rounds) > LEVEL / num_cases:
        rounds += 1
    return rounds


def judge(
    case: Case, before_s: Sequence[float], now_s: Sequence[float], *, effect: Tolerance, num_cases: int
) -> TimeComparison:
    """Whether this version is slower.

    Args:
        case: which.
        before_s: samples of the other version, in seconds.
        now_s: samples of this one.
        effect: the share that the median must have grown by, at least.
        num_cases: of the whole check.
    """
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - slow to import, seldom needed

    p_value = float(mannwhitneyu(now_s, before_s, alternative="greater").pvalue)
    before, now = statistics.median(before_s), statistics.median(now_s)
    is_slower = p_value <= LEVEL / num_cases and now > before * (1 + float(effect.share))
    return TimeComparison(
        case=case,
        before_s=tuple(before_s),
        now_s=tuple(now_s),
        p_value=p_value,
        verdict="grew" if is_slower else "same",
    )
