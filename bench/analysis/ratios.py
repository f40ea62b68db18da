"""Comparisons: a reversible model with its counterpart, and recomputed activations with stored ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import stored_twin
from revbench.bench.cases import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two rows that differ in one thing; each ratio is reference over subject, None where one was not measured.

    Attributes:
        subject: the reversible model, or the recomputed activations.
        reference: its counterpart, or the same weights with stored activations.
        activation_peak_ratio: of the activation peaks per image.
        forward_end_ratio: of the activation bytes per image at the end of the forward pass.
        step_peak_ratio: of the peaks of the whole training step.
        step_time_ratio: of the step times, subject over reference: what the saving costs.
    """

    subject: CaseRow
    reference: CaseRow
    activation_peak_ratio: float | None
    forward_end_ratio: float | None
    step_peak_ratio: float | None
    step_time_ratio: float | None


def with_counterparts(rows: Sequence[CaseRow], counterparts: Mapping[str, str]) -> list[Comparison]:
    """Each row with that of its model's counterpart, all else equal, where there is one.

    A counterpart that the rule does not apply to, as online rules do not to networks without neurons, counts with BPTT.
    """
    by_case = {row.case: row for row in rows}
    found = []
    for row in rows:
        name = counterparts.get(row.case.model)
        twin = by_case.get(replace(row.case, model=name, activations=None, states=None)) if name else None
        if twin is not None and any(closing.status == "unsupported" for closing in twin.closings):
            twin = by_case.get(replace(twin.case, rule="bptt"), twin)
        if twin is not None and row.case.activations in (None, "recomputed"):
            found.append(_comparison(row, twin))
    return found


def with_stored(rows: Sequence[CaseRow]) -> list[Comparison]:
    """Each row of recomputed activations with that of the same weights with stored ones, where there is one."""
    by_case: dict[Case | None, CaseRow] = {row.case: row for row in rows}
    pairs = ((row, by_case.get(stored_twin(row.case))) for row in rows)
    return [_comparison(row, twin) for row, twin in pairs if twin is not None]


def _comparison(subject: CaseRow, reference: CaseRow) -> Comparison:
    return Comparison(
        subject=subject,
        reference=reference,
        activation_peak_ratio=_ratio(reference.activation_peak_bytes, subject.activation_peak_bytes),
        forward_end_ratio=_ratio(reference.forward_end_activation_bytes, subject.forward_end_activation_bytes),
        step_peak_ratio=_ratio(reference.peak_bytes, subject.peak_bytes),
        step_time_ratio=_ratio(subject.step_s, reference.step_s),
    )


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
