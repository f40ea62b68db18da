"""The complexity table: how the costs of each method grow with depth and timesteps.

A method is a network under a rule: the cases that differ in depth and timesteps alone. Its memory is the activation
peak, its time the step time or, where that was not measured, the multiply-accumulates of a training step. The cost of
an inference is that of a network of a given size: multiply-accumulates for each parameter, along T, at the greatest
depth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import MIN_POINTS_OF_A_TEST, Axis
from revbench.bench.analysis.scaling import Scaling, scaling_along
from revbench.bench.analysis.surface import Surface, surface_over
from revbench.bench.cases import CASE_FIELDS

Reversible = Literal["depth", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """How one method grows; None where too little was measured.

    Attributes:
        rows: its cases.
        memory: of the activation peak, in bytes.
        time: of the step time, in seconds.
        operations: of the multiply-accumulates of a training step, for one image.
        inference: of the multiply-accumulates of an inference for each parameter, along T.
    """

    rows: tuple[CaseRow, ...]
    memory: Surface | None
    time: Surface | None
    operations: Surface | None
    inference: Scaling | None

    @property
    def reversible(self) -> Reversible | None:
        """Along which axis the network recomputes instead of storing."""
        if self.rows[0].case.states is not None:
            return "time"
        return "depth" if self._recomputes else None

    @property
    def is_known(self) -> bool:
        """Whether the records tell if the network recomputes."""
        return self._recomputes is not None

    @property
    def _recomputes(self) -> bool | None:
        """As the cases choose it, else as the operations tell."""
        if (chosen := self.rows[0].case.activations) is not None:
            return chosen == "recomputed"
        counted = [row.recomputed_macs for row in self.rows if row.recomputed_macs is not None]
        return any(counted) if counted else None


def complexities(rows: Sequence[CaseRow]) -> list[Complexity]:
    """One for each method of which three depths and three simulation lengths or more were measured."""
    groups: dict[tuple[object, ...], list[CaseRow]] = {}
    for row in rows:
        if row.case.depth is not None:
            others = tuple(getattr(row.case, name) for name in CASE_FIELDS if name not in ("depth", "timesteps"))
            groups.setdefault(others, []).append(row)
    return [_complexity(group) for group in groups.values() if _is_grid(group)]


def on_edge(rows: Sequence[CaseRow], axis: Axis) -> list[CaseRow]:
    """Of methods over depth and T the cases along one axis, at the greatest place on the other; and all other rows."""
    inner = {
        row.case
        for method in complexities(rows)
        for row in method.rows
        if _across(row, axis) < max(_across(other, axis) for other in method.rows)
    }
    return [row for row in rows if row.case not in inner]


def outside_grids(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows of no method over depth and T."""
    inside = {row.case for method in complexities(rows) for row in method.rows}
    return [row for row in rows if row.case not in inside]


def _across(row: CaseRow, axis: Axis) -> int:
    """The place on the other axis."""
    depth, timesteps = _place(row)
    return timesteps if axis == "depth" else depth


def _is_grid(rows: Sequence[CaseRow]) -> bool:
    return all(
        len({getattr(row.case, axis) for row in rows}) >= MIN_POINTS_OF_A_TEST for axis in ("depth", "timesteps")
    )


def _complexity(rows: Sequence[CaseRow]) -> Complexity:
    out_of_memory = [_place(row) for row in rows if row.pass_status("memory") == "oom"]
    return Complexity(
        rows=tuple(rows),
        memory=_surface(rows, lambda row: row.activation_peak_bytes, out_of_memory),
        time=_surface(rows, lambda row: row.step_s, ()),
        operations=_surface(rows, lambda row: _whole(row.training_macs), ()),
        inference=_inference(rows),
    )


def _surface(
    rows: Sequence[CaseRow], cost: Callable[[CaseRow], float | None], censored: Sequence[tuple[int, int]]
) -> Surface | None:
    points = {_place(row): value for row in rows if (value := cost(row)) is not None and value > 0}
    return surface_over(points, censored=censored)


def _inference(rows: Sequence[CaseRow]) -> Scaling | None:
    deepest = max(row.case.depth or 0 for row in rows)
    points = [
        (row.case.timesteps, Fraction(row.dense_macs) / row.num_parameters)
        for row in rows
        if row.case.depth == deepest and row.dense_macs is not None and row.num_parameters
    ]
    return scaling_along(points) if points else None


def _place(row: CaseRow) -> tuple[int, int]:
    assert row.case.depth is not None
    return row.case.depth, row.case.timesteps


def _whole(count: float | None) -> float | None:
    """A count as the integer that it is."""
    return int(count) if count is not None and count == int(count) else count
