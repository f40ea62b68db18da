"""What a check says in words and rows, whatever they are printed on."""

from collections import Counter as Count
from collections.abc import Sequence

from revbench.bench.gate.finding import Finding, HolderGrowth, Verdict

HEADERS = ("layer", "timestep", "kind", "before", "now", "grew by")
NUM_ROWS = 8
"""Of the table of one case; the rest is summed in one more."""
NAMES: dict[Verdict, str] = {"grew": "REGRESSION", "failed": "FAILED", "shrank": "improvement", "same": "same"}
_PLURALS: dict[Verdict, tuple[str, str]] = {
    "grew": ("regression", "regressions"),
    "failed": ("failed case", "failed cases"),
    "shrank": ("improvement", "improvements"),
}


def summary(findings: Sequence[Finding]) -> str:
    """`113 cases: 1 regression, 112 the same to the byte`."""
    count = Count(each.verdict for each in findings)
    told = [f"{count[verdict]} {names[count[verdict] > 1]}" for verdict, names in _PLURALS.items() if count[verdict]]
    same = [f"{count['same']} as in the baseline"] if count["same"] else []
    found = ", ".join([*told, *same]) or "nothing was compared"
    return f"{len(findings)} {'case' if len(findings) == 1 else 'cases'}: {found}"


def blame_rows(finding: Finding, num_rows: int = NUM_ROWS) -> list[tuple[str, ...]]:
    """The rows under `HEADERS`, in bytes, the largest growth first; the last one is the sum, which is the growth."""
    growths = finding.blame()
    if not growths:
        return []
    # The largest growths tell what came; where others went, the peak is elsewhere, and they are in the rest.
    shown, rest = growths[:num_rows], growths[num_rows:]
    rows = [_row(_names(each), [each]) for each in shown]
    if rest:
        rows.append(_row((f"{len(rest)} more", "", ""), rest))
    return [*rows, _row(("all that changed", "", ""), growths)]


def _names(growth: HolderGrowth) -> tuple[str, str, str]:
    holder = growth.holder
    return holder.layer, holder.timesteps, holder.kind.replace("_", " ")


def _row(names: tuple[str, str, str], growths: Sequence[HolderGrowth]) -> tuple[str, ...]:
    before, now = sum(each.before for each in growths), sum(each.now for each in growths)
    return *names, f"{before:,}", f"{now:,}", f"{now - before:+,}"
