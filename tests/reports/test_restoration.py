from collections.abc import Callable
from typing import get_args

import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record, Status
from revbench.reports.restoration import Metric, restored

RecordPass = Callable[..., list[Record]]
METRICS: tuple[Metric, ...] = get_args(Metric)


def row_of(record_pass: RecordPass, status: Status = "ok", **values: float | None) -> CaseRow:
    """The row of a case of which the reversibility pass found these values."""
    found = [Measurement(metric=metric, value=value, unit="1") for metric, value in values.items()]
    (row,) = case_rows(record_pass(Case(model="rev"), "reversibility", found, status))
    return row


def test_a_number_is_given_as_it_is(record_pass: RecordPass) -> None:
    """With the protections and without; zero is a number."""
    row = row_of(record_pass, gradient_cosine=0.0, flipped_spike_share=0.0, unprotected_gradient_cosine=-0.5)
    assert restored(row, "gradient_cosine") == 0
    assert restored(row, "flipped_spike_share") == 0
    assert restored(row, "gradient_cosine", protected=False) == -0.5


@pytest.mark.parametrize("metric", ["gradient_cosine", "gradient_error"])
def test_a_gradient_without_a_number_was_out_of_range(record_pass: RecordPass, metric: Metric) -> None:
    """The step was run, as its flipped spikes tell, with the protections alone or without them too."""
    row = row_of(record_pass, flipped_spike_share=0.0, gradient_cosine=None, gradient_error=None)
    assert restored(row, metric) == "out of range"
    assert restored(row, metric, protected=False) is None
    row = row_of(record_pass, flipped_spike_share=0.0, unprotected_flipped_spike_share=0.1, **{metric: 1.0})
    assert restored(row, metric) == 1
    assert restored(row, metric, protected=False) == "out of range"


def test_a_pass_that_failed_is_told_once(record_pass: RecordPass) -> None:
    """Its status stands where the numbers with protections would be."""
    row = row_of(record_pass, "timeout")
    assert {restored(row, metric) for metric in METRICS} == {"timeout"}
    assert {restored(row, metric, protected=False) for metric in METRICS} == {None}


def test_nothing_is_said_of_a_pass_that_was_not_run() -> None:
    """A case that was measured in another way has no number and no word."""
    row = CaseRow(case=Case(model="rev"), peak_bytes=1)
    assert {restored(row, metric, protected=way) for metric in METRICS for way in (True, False)} == {None}
