"""All that `revbench predict` finds about a case."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from revbench.bench.analysis.growth import Growth
from revbench.bench.memory.allocator import SEGMENT_ROUNDING_BYTES, rounded_up
from revbench.bench.memory.as_cuda import Difference
from revbench.bench.memory.capacity import Axis, Reach
from revbench.bench.memory.cards import Card, Workspace
from revbench.bench.memory.history import Held
from revbench.bench.memory.predict import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """What was found along one axis; without numbers where traces failed, for the reason told."""

    growth: Growth | None
    reach: Reach | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A prediction with all that follows from it.

    Attributes:
        prediction: the traced step.
        differences: what each difference of CUDA adds to the peak of the requested bytes.
        bare: what the allocator holds without workspaces.
        held: the same with those that are known.
        workspace: of one handle of cuBLAS.
        unknown: what libraries take besides.
        card: that the case is to fit into, if any.
        along: by axis.
        torch_version: that traced.
    """

    prediction: Prediction
    differences: Mapping[Difference, int]
    bare: Held
    held: Held
    workspace: Workspace
    unknown: tuple[Workspace, ...]
    card: Card | None
    along: Mapping[Axis, Along]
    torch_version: str

    @property
    def num_handles(self) -> int:
        """How many handles of cuBLAS are asked."""
        return len(self.prediction.history.first_products)

    @property
    def least_reserved_bytes(self) -> int:
        """What the allocator holds at the least: what is allocated, in whole segments."""
        return rounded_up(self.held.allocated_bytes, SEGMENT_ROUNDING_BYTES)

    @property
    def rounding_bytes(self) -> int:
        """What rounding to blocks of 512 bytes adds to the peak."""
        return self.bare.rounded_bytes - self.bare.requested_bytes

    @property
    def unsplit_bytes(self) -> int:
        """What remainders of blocks that are not split off add to the peak."""
        return self.bare.allocated_bytes - self.bare.rounded_bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON: bytes, and null for what is not known."""
        workspaces = (self.workspace, *self.unknown)
        return {
            "case_id": self.prediction.case.id,
            "case": self.prediction.case.as_dict(),
            "input_shape": self.prediction.input_shape,
            "num_parameters": self.prediction.num_parameters,
            "torch": self.torch_version,
            "peak_by_kind_bytes": self.prediction.peak.by_kind,
            "tensors_bytes": self.prediction.peak.total_bytes,
            "requested_bytes": self.held.requested_bytes,
            "allocated_bytes": self.held.allocated_bytes,
            "reserved_bytes": {"least": self.least_reserved_bytes, "simulated": self.held.reserved_bytes},
            "differences_bytes": {
                **self.differences,
                "rounding": self.rounding_bytes,
                "unsplit": self.unsplit_bytes,
            },
            "workspaces": [asdict(workspace) for workspace in workspaces],
            "num_cublas_handles": self.num_handles,
            "card": self.card and asdict(self.card),
            "along": {axis: _along_as_dict(along) for axis, along in self.along.items()},
        }


def _along_as_dict(along: Along) -> dict[str, Any]:
    law, reach = along.growth, along.reach
    return {
        "law": law and law.law,
        "points_bytes": law and [list(point) for point in law.points],
        "bytes_per_step": law and float(law.slope),
        "largest": reach and reach.largest,
        "search_ended": reach and reach.end,
        "reason": along.reason or None,
    }
