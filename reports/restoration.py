"""What the reversibility pass says of a case, with the engine's protections and without: a number, or why none."""

from typing import Literal

from revbench.bench.analysis.case_row import CaseRow

Metric = Literal["gradient_cosine", "gradient_error", "flipped_spike_share"]
OUT_OF_RANGE = "out of range"


def restored(row: CaseRow, metric: Metric, *, protected: bool = True) -> float | str | None:
    """The number; where there is none, the word that says why; None where nothing was asked.

    A gradient that left the range of the precision, so that it is all zeros or not finite, has neither error nor
    cosine. A pass that failed is told once, with the protections; nothing is asked where they change nothing.
    """
    prefix = "" if protected else "unprotected_"
    value: float | None = getattr(row, prefix + metric)
    if value is not None:
        return value
    if row.failed("reversibility"):
        return row.pass_status("reversibility") if protected else None
    # The share of flipped spikes is always a number, so it tells whether the step was run.
    was_run = getattr(row, f"{prefix}flipped_spike_share") is not None
    return OUT_OF_RANGE if was_run else None
