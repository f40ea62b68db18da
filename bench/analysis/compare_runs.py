"""Two runs beside each other: which numbers of which cases changed, by how much, and which run is the better.

Cases are the same if all their fields are; where two runs have no case in common they may still differ in the device
alone, and are compared without it. A number counts as changed if it is another; of times, those within the spread of
both are marked so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.cases import Case
from revbench.bench.records import PASSES

Better = Literal["less", "more", "neither"]
Unit = Literal["B", "s", "J", "1/s", "1"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A field of a case row that runs are compared by.

    Attributes:
        name: of the field.
        unit: of its values.
        better: whether less or more of it is better.
    """

    name: str
    unit: Unit
    better: Better


_LESS: dict[str, Unit] = {
    "peak_bytes": "B",
    "activation_peak_bytes": "B",
    "forward_end_activation_bytes": "B",
    "cuda_requested_bytes": "B",
    "cuda_allocated_bytes": "B",
    "cuda_reserved_bytes": "B",
    "process_bytes": "B",
    "step_s": "s",
    "train_s": "s",
    "dense_macs": "1",
    "training_macs": "1",
    "sops": "1",
    "operations_energy_j": "J",
    "lowest_energy_j": "J",
    "highest_energy_j": "J",
    "training_net_j": "J",
    "inference_net_j": "J",
    "reconstruction_error": "1",
    "flipped_spike_share": "1",
    "gradient_error": "1",
}
_MORE: dict[str, Unit] = {"images_per_s": "1/s", "gradient_cosine": "1", "test_accuracy": "1"}
_NEITHER: dict[str, Unit] = {"num_layers": "1", "num_blocks": "1", "num_parameters": "1", "firing_rate": "1"}
METRICS = (
    *(Metric(name, unit, "neither") for name, unit in _NEITHER.items()),
    *(Metric(name, unit, "less") for name, unit in _LESS.items()),
    *(Metric(name, unit, "more") for name, unit in _MORE.items()),
)
TIMED = ("step_s", "images_per_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One number of one case that is not the same in both runs.

    Attributes:
        case: as in the first run.
        metric: what changed.
        before: of the first run; None where it was not measured there.
        after: of the second run; likewise.
        within_spread: whether a time differs by no more than it varies within a run.
    """

    case: Case
    metric: Metric
    before: float | None
    after: float | None
    within_spread: bool = False

    @property
    def best(self) -> float | None:
        """The better of the two numbers; None where neither is better or one is missing."""
        if self.before is None or self.after is None or self.metric.better == "neither":
            return None
        return min(self.before, self.after) if self.metric.better == "less" else max(self.before, self.after)

    def multiple(self, value: float | None) -> float | None:
        """How many times worse than the best a number is, 1 for the best itself; None where that has no meaning."""
        best = self.best
        if value is None or best is None or value <= 0 or best <= 0:
            return None
        return value / best if self.metric.better == "less" else best / value


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A pass over a case that ended otherwise; `not measured` where it was not run."""

    case: Case
    pass_name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """What two runs say about the cases of both.

    Attributes:
        num_cases: cases in both.
        num_same: numbers that are the same in both.
        changes: those that are not.
        statuses: passes that ended otherwise.
        only_before: cases of the first run alone.
        only_after: cases of the second run alone.
        devices: of the first and the second run, where the cases differ in nothing else; None where they are the same.
    """

    num_cases: int
    num_same: int
    changes: tuple[Change, ...]
    statuses: tuple[StatusChange, ...]
    only_before: tuple[Case, ...]
    only_after: tuple[Case, ...]
    devices: tuple[str, str] | None


def compare_runs(before: Sequence[CaseRow], after: Sequence[CaseRow]) -> RunComparison:
    """Compares the rows of two runs, case by case and metric by metric."""
    first, second = {row.case: row for row in before}, {row.case: row for row in after}
    devices = _only_devices_differ(first, second)
    if devices is not None:
        second = {replace(case, device=before[0].case.device): row for case, row in second.items()}
    pairs = [(row, second[case]) for case, row in first.items() if case in second]
    numbers = [_change(old, new, metric) for old, new in pairs for metric in METRICS]
    present = [found for found in numbers if found.before is not None or found.after is not None]
    changes = tuple(found for found in present if found.before != found.after)
    return RunComparison(
        num_cases=len(pairs),
        num_same=len(present) - len(changes),
        changes=changes,
        statuses=tuple(change for old, new in pairs for change in _status_changes(old, new)),
        only_before=tuple(row.case for case, row in first.items() if case not in second),
        only_after=tuple(row.case for case, row in second.items() if case not in first),
        devices=devices,
    )


def _only_devices_differ(first: Mapping[Case, CaseRow], second: Mapping[Case, CaseRow]) -> tuple[str, str] | None:
    """The devices of two runs of one device each that have no case in common."""
    before, after = ({case.device for case in run} for run in (first, second))
    if len(before) != 1 or len(after) != 1 or before == after:
        return None
    return before.pop(), after.pop()


def _change(old: CaseRow, new: CaseRow, metric: Metric) -> Change:
    before, after = getattr(old, metric.name), getattr(new, metric.name)
    return Change(
        case=old.case,
        metric=metric,
        before=before,
        after=after,
        within_spread=metric.name in TIMED and _is_within_spread(old, new),
    )


def _is_within_spread(old: CaseRow, new: CaseRow) -> bool:
    times = [row.step_s for row in (old, new) if row.step_s is not None]
    spreads = [row.step_spread_s for row in (old, new) if row.step_spread_s is not None]
    return len(times) == len(spreads) == 2 and abs(times[0] - times[1]) <= max(spreads)


def _status_changes(old: CaseRow, new: CaseRow) -> list[StatusChange]:
    found = ((name, old.pass_status(name), new.pass_status(name)) for name in PASSES)  # type: ignore[arg-type]
    return [
        StatusChange(case=old.case, pass_name=name, before=before, after=after)
        for name, before, after in found
        if before != after and NOT_MEASURED not in (before, after)
    ]
