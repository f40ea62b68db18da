"""Energies of an inference by model: sums of parts under each cost model, and their spread over seeds.

A level says what is counted: `operations` (accumulations and multiply-accumulates), `neurons` (these, neuron updates
and everything element by element), or the name of a hierarchy (all of that, and the bits that it moves).
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.row_groups import grouped
from revbench.bench.energy.metric import HIERARCHIES, OPERATIONS, STREAMS, EnergyMetric, Part
from revbench.bench.records import PassName

PAPERS_MODEL = "fp32_45nm"
LEVELS = ("operations", "neurons", *HIERARCHIES)
_OPERATIONS_ALONE: tuple[Part, ...] = ("acs", "macs")


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds, the standard deviation of a single seed from it, and how many there are."""

    mean: float
    deviation: float
    num: int


@dataclass(frozen=True, slots=True)
class ModelEnergy:
    """The cases of one model that differ in the seed alone.

    Attributes:
        rows: all of them.
        pass_name: the pass that is looked at.
    """

    rows: tuple[CaseRow, ...]
    pass_name: PassName = "energy"

    @property
    def counted(self) -> tuple[CaseRow, ...]:
        """Those of which the pass went well."""
        return tuple(row for row in self.rows if row.pass_status(self.pass_name) == "ok")

    @property
    def failure(self) -> str:
        """Why none went well: the status of the first."""
        return self.rows[0].pass_status(self.pass_name)

    def spread(self, number: Callable[[CaseRow], float | None]) -> Spread | None:
        """A number over all seeds that have it; None where none has."""
        return spread(number(row) for row in self.counted)

    def of(self, metric: str) -> Spread | None:
        """A column of the wide row over all seeds."""
        return self.spread(lambda row: getattr(row, metric))

    def energy(self, model: str, level: str) -> Spread | None:
        """Joules of an inference."""
        return self.spread(lambda row: energy_j(row, model, level))

    def ratio_to_dense(self, model: str, level: str) -> Spread | None:
        """The same over the dense twin's, the same layers once without time."""
        return self.spread(lambda row: _ratio(energy_j(row, model, level), dense_j(row, model, level)))

    def named(self, flag: str) -> dict[str, int]:
        """Layers or operators of a flag of `EnergyDetails`, and of how many seeds."""
        found: dict[str, int] = {}
        for row in self.counted:
            for name in getattr(row.energy, flag):
                found[name] = found.get(name, 0) + 1
        return found


def energies_by_model(rows: Sequence[CaseRow], pass_name: PassName = "energy") -> list[ModelEnergy]:
    """One for each group of cases that differ in the seed alone, of those that the pass looked at."""
    with_pass = [row for row in rows if row.pass_status(pass_name) != NOT_MEASURED]
    return [ModelEnergy(tuple(group), pass_name) for group in grouped(with_pass, "seed")]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of those values that are there."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    return Spread(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else 0.0, len(found))


def parts_j(row: CaseRow, model: str, level: str) -> dict[Part, float]:
    """Joules of each part that the level counts; empty where the cost model does not price it."""
    found = {part.metric: part.joules for part in row.energy.parts}
    told: dict[Part, float] = {}
    operations: tuple[Part, ...] = _OPERATIONS_ALONE if level == "operations" else OPERATIONS
    for metric in (
        *(EnergyMetric(part, model) for part in operations),
        *(EnergyMetric(part, model, level) for part in STREAMS if level in HIERARCHIES),
    ):
        if metric in found:
            told[metric.part] = found[metric]
    return told


def energy_j(row: CaseRow, model: str, level: str) -> float | None:
    """The sum of these parts."""
    return sum(parts.values()) if (parts := parts_j(row, model, level)) else None


def dense_j(row: CaseRow, model: str, level: str) -> float | None:
    """The dense twin's energy, with the bits that it moves where the level is a hierarchy."""
    metric = EnergyMetric("dense", model, level if level in HIERARCHIES else None)
    return next((part.joules for part in row.energy.parts if part.metric == metric), None)


def cost_models(rows: Iterable[CaseRow]) -> tuple[list[str], list[str]]:
    """The arithmetics and the chips that price the rows, in the order of the records."""
    arithmetics: dict[str, None] = {}
    chips: dict[str, None] = {}
    for row in rows:
        multiplying = {part.metric.model for part in row.energy.parts if part.metric.part == "macs"}
        for part in row.energy.parts:
            (arithmetics if part.metric.model in multiplying else chips)[part.metric.model] = None
    return list(arithmetics), list(chips)


def is_verified(rows: Iterable[CaseRow], model: str) -> bool:
    """Whether all constants of a cost model have been compared with their publications."""
    return all(part.is_verified for row in rows for part in row.energy.parts if part.metric.model == model)


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
