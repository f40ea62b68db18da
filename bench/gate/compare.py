"""A baseline against what was read again: what grew, and where. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from revbench.bench.cases import Case
from revbench.bench.gate.finding import HolderGrowth, Verdict
from revbench.bench.gate.reading import METRICS, Highest, Holder, Reading
from revbench.bench.gate.tolerances import Tolerances
from revbench.bench.records import Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One number of a case before and now, in bytes.

    Attributes:
        metric: `peak_bytes` or `activation_peak_bytes`.
        counter: what counted it.
        before: in the baseline.
        now: as it was read again.
        is_growth: whether it is more, beyond the tolerance.
        where: phases of the training step, of a peak that was traced: `in backward, was in optimizer`.
    """

    metric: str
    counter: Counter
    before: int
    now: int
    is_growth: bool
    where: str = ""

    @property
    def grown_bytes(self) -> int:
        """How much more it is; negative where it is less."""
        return self.now - self.before


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A case before and now.

    Attributes:
        before: in the baseline.
        now: as it was read again.
        changes: the numbers that are not the same, those that grew beyond their tolerance first.
        verdict: see `Verdict`.
    """

    before: Reading
    now: Reading
    changes: tuple[Change, ...]
    verdict: Verdict

    @property
    def case(self) -> Case:
        """Which."""
        return self.now.case

    @property
    def name(self) -> str:
        """In reports."""
        return self.case.label()

    @property
    def is_compared(self) -> bool:
        """Whether there are numbers."""
        return bool(self.before.traced or self.now.traced)

    @property
    def is_unsupported(self) -> bool:
        """Whether the rule does not apply to the model, as before."""
        return self.verdict == "same" and self.now.status == "unsupported"

    @property
    def grown_bytes(self) -> int:
        """The growth of the first change: of the peak, if that is what grew."""
        return self.changes[0].grown_bytes if self.changes else 0

    def sentence(self) -> str:
        """What happened, without the case's name: `peak 1,024 B -> 2,048 B (+1,024 B, +100 %), in backward`."""
        if self.verdict == "failed":
            is_unsupported = self.now.status == "unsupported"
            return f"is unsupported now: {self.now.detail}" if is_unsupported else self.now.detail
        if self.now.status != self.before.status:
            return "is supported now"
        return "; ".join(map(change_text, self.changes)) or "the same to the byte"

    def blame(self) -> tuple[HolderGrowth, ...]:
        """Who holds more and who less at the peak of the first change; they add up to its growth exactly.

        What CUDA counted has no holders: those of the traced peak are told, and add up to the growth of that.
        """
        if not self.changes or not self.before.traced:
            return ()
        metric = next(metric for metric in METRICS if metric == self.changes[0].metric)
        return holder_growth(self.before.traced[metric], self.now.traced[metric])


def change_text(change: Change) -> str:
    """`peak 1,024 B -> 2,048 B (+1,024 B, +100.00 %), in backward`."""
    name = change.metric.removesuffix("_bytes").replace("_", " ")
    counter = "" if change.counter == "traced" else f" ({change.counter})"
    where = f", {change.where}" if change.where else ""
    return f"{name}{counter} {change.before:,} B -> {change.now:,} B ({growth_text(change)}){where}"


def growth_text(change: Change) -> str:
    """`+65,536 B, +0.52 %`."""
    share = f", {100 * change.grown_bytes / change.before:+.2f} %" if change.before else ""
    return f"{change.grown_bytes:+,} B{share}"


def compare(before: Reading, now: Reading, tolerances: Tolerances) -> Comparison:
    """The same case, in the baseline and read again."""
    changes = sorted(
        (change for change in _changes(before, now, tolerances) if change.grown_bytes),
        key=lambda change: not change.is_growth,
    )
    return Comparison(before=before, now=now, changes=tuple(changes), verdict=_verdict(before, now, changes))


def _changes(before: Reading, now: Reading, tolerances: Tolerances) -> Iterator[Change]:
    for metric in METRICS if before.traced and now.traced else ():
        old, new = before.traced[metric], now.traced[metric]
        where = f"in {new.phase}" + (f", was in {old.phase}" if old.phase != new.phase else "")
        yield _change(metric, "traced", old.num_bytes, new.num_bytes, tolerances, where)
    for counter in before.cuda:
        if counter in now.cuda:
            yield _change("peak_bytes", counter, before.cuda[counter], now.cuda[counter], tolerances)


def _change(metric: str, counter: Counter, old: int, new: int, tolerances: Tolerances, where: str = "") -> Change:
    is_growth = not tolerances.of(counter).allows(old, new)
    return Change(metric=metric, counter=counter, before=old, now=new, is_growth=is_growth, where=where)


def _verdict(before: Reading, now: Reading, changes: Sequence[Change]) -> Verdict:
    if now.status == "failed" or (now.status == "unsupported" and before.status == "ok"):
        return "failed"
    if any(change.is_growth for change in changes):
        return "grew"
    less = any(change.grown_bytes < 0 for change in changes)
    return "shrank" if less or now.status != before.status else "same"


def holder_growth(before: Highest, now: Highest) -> tuple[HolderGrowth, ...]:
    """Every holder whose bytes are not the same, the largest growth first."""
    amounts: tuple[Mapping[Holder, int], Mapping[Holder, int]] = (before.by_holder, now.by_holder)
    holders = {holder for each in amounts for holder in each}
    growths = [HolderGrowth(holder, *(each.get(holder, 0) for each in amounts)) for holder in holders]
    return tuple(
        sorted((each for each in growths if each.grown_bytes), key=lambda each: (-each.grown_bytes, each.holder))
    )
