from dataclasses import replace

import closings
import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.ratios import with_counterparts, with_stored
from revbench.bench.cases import Case
from revbench.bench.records import Status

REVERSIBLE = CaseRow(
    case=Case(model="rev", batch_size=2),
    peak_bytes=100,
    activation_peak_bytes=20,
    forward_end_activation_bytes=10,
    step_s=3.0,
)
PLAIN = CaseRow(
    case=Case(model="plain", batch_size=2),
    peak_bytes=150,
    activation_peak_bytes=60,
    forward_end_activation_bytes=50,
    step_s=2.0,
)


def test_a_model_and_its_counterpart_are_divided() -> None:
    """Memory as reference over subject (how many times less), time as subject over reference (how much longer)."""
    (found,) = with_counterparts([REVERSIBLE, PLAIN], {"rev": "plain"})
    assert (found.subject, found.reference) == (REVERSIBLE, PLAIN)
    assert (found.activation_peak_ratio, found.forward_end_ratio, found.step_peak_ratio) == (3.0, 5.0, 1.5)
    assert found.step_time_ratio == 1.5


@pytest.mark.parametrize("change", [{"timesteps": 8}, {"batch_size": 4}, {"depth": 3}, {"dtype": "bfloat16"}])
def test_only_cases_equal_in_all_else_are_compared(change: dict[str, object]) -> None:
    """Another T, batch, depth or precision makes no pair."""
    other = replace(PLAIN, case=replace(PLAIN.case, **change))  # type: ignore[arg-type]
    assert with_counterparts([REVERSIBLE, other], {"rev": "plain"}) == []


def test_what_was_not_measured_has_no_ratio() -> None:
    """A missing time or a failed memory pass leaves that ratio out, not the others."""
    (found,) = with_counterparts([replace(REVERSIBLE, step_s=None), PLAIN], {"rev": "plain"})
    assert found.step_time_ratio is None
    assert found.activation_peak_ratio == 3.0


def test_recomputed_is_compared_with_stored_activations_of_the_same_model() -> None:
    """The pair that shows the price of recomputation; a model's own way is no pair."""
    recomputed = replace(REVERSIBLE, case=replace(REVERSIBLE.case, activations="recomputed"))
    stored = replace(PLAIN, case=replace(REVERSIBLE.case, activations="stored"))
    (found,) = with_stored([stored, recomputed])
    assert (found.subject, found.reference) == (recomputed, stored)
    assert with_stored([REVERSIBLE, stored]) == []


def test_stored_activations_are_not_compared_with_the_counterpart() -> None:
    """The counterpart is compared with the reversible way alone."""
    stored = replace(REVERSIBLE, case=replace(REVERSIBLE.case, activations="stored"))
    assert with_counterparts([stored, PLAIN], {"rev": "plain"}) == []


def closing(row: CaseRow, status: Status) -> CaseRow:
    """The row with the closing record of a memory pass."""
    record = closings.closing(row.case, "memory", status)
    return replace(row, closings=(record,))


@pytest.mark.parametrize(("status", "rule"), [("unsupported", "bptt"), ("oom", "sltt"), ("ok", "sltt")])
def test_a_counterpart_that_a_rule_does_not_apply_to_counts_with_bptt(status: Status, rule: str) -> None:
    """Only then: one that failed in another way is what it is."""
    subject = replace(REVERSIBLE, case=replace(REVERSIBLE.case, rule="sltt"))
    refused = closing(replace(PLAIN, case=replace(PLAIN.case, rule="sltt")), status)
    (found,) = with_counterparts([subject, refused, PLAIN], {"rev": "plain"})
    assert found.reference.case.rule == rule


def test_a_counterpart_without_bptt_stays_unsupported() -> None:
    """Where its row with BPTT is missing, the refusal is what is compared with."""
    subject = replace(REVERSIBLE, case=replace(REVERSIBLE.case, rule="sltt"))
    refused = closing(CaseRow(case=replace(PLAIN.case, rule="sltt")), "unsupported")
    (found,) = with_counterparts([subject, refused], {"rev": "plain"})
    assert found.activation_peak_ratio is None
