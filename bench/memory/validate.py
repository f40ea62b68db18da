"""Predicted beside measured: the error of a prediction, and what it consists of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from revbench.bench.cases import Case
from revbench.bench.memory.history import Held
from revbench.bench.records import STATUS_METRIC, Counter, Record, Status

GOAL = 0.01
"""Of the measured allocated peak: what may stay unexplained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A case, as predicted and as measured; None where nothing was measured.

    Attributes:
        case: the case.
        tensors_bytes: the predicted peak of the bytes of tensors.
        predicted: with rounding and the workspaces that are known.
        measured: the peaks by counter.
        status: how the measurement ended.
        detail: one line on a failure.
    """

    case: Case
    tensors_bytes: int
    predicted: Held
    measured: Mapping[Counter, int]
    status: Status
    detail: str

    @property
    def rounding_bytes(self) -> int:
        """What blocks take beyond what is asked for, as predicted."""
        return self.predicted.allocated_bytes - self.predicted.requested_bytes

    @property
    def workspace_bytes(self) -> int:
        """What libraries are known to ask for beside the tensors."""
        return self.predicted.requested_bytes - self.tensors_bytes

    @property
    def unexplained_bytes(self) -> int | None:
        """What was allocated beyond tensors, rounding and known workspaces; negative where it was less."""
        allocated = self.measured.get("cuda_allocated")
        return None if allocated is None else allocated - self.predicted.allocated_bytes

    @property
    def unexplained_share(self) -> float | None:
        """Of the measured allocated peak, without sign."""
        unexplained = self.unexplained_bytes
        return None if unexplained is None else abs(unexplained) / self.measured["cuda_allocated"]


def comparison(case: Case, tensors_bytes: int, predicted: Held, records: Sequence[Record]) -> Comparison:
    """The case with what its records say.

    Args:
        case: the case.
        tensors_bytes: see `Comparison`.
        predicted: see `Comparison`.
        records: those of its memory pass.
    """
    peaks = {
        record.counter: int(record.value)
        for record in records
        if record.metric == "peak_bytes" and record.counter is not None and record.value is not None
    }
    closing = next(record for record in records if record.metric == STATUS_METRIC)
    return Comparison(
        case=case,
        tensors_bytes=tensors_bytes,
        predicted=predicted,
        measured=peaks,
        status=closing.status,
        detail=closing.detail,
    )
