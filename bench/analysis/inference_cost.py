"""How the cost of an inference grows with the timesteps: at a fixed width, and at a fixed number of parameters.

Dense operations are integers, so a law is tested as an equality (`growth`). Synaptic operations are those of networks
that were trained at each T by itself, and scatter: their line of least squares is a description.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Growth, growth_along
from revbench.bench.analysis.row_groups import grouped

CostMetric = Literal["dense_macs", "sops"]


@dataclass(frozen=True, slots=True)
class CostGrowth:
    """A cost of one inference along T in cases that differ in T alone.

    Attributes:
        metric: dense or synaptic operations.
        rows: those with a number, ascending in T; two or more.
        growth: of the number, rounded to a whole one.
    """

    metric: CostMetric
    rows: tuple[CaseRow, ...]
    growth: Growth

    @property
    def per_parameter(self) -> list[tuple[int, float]]:
        """(T, operations for each parameter): what an inference costs if the number of parameters is fixed."""
        return [
            (row.case.timesteps, getattr(row, self.metric) / row.num_parameters)
            for row in self.rows
            if row.num_parameters
        ]


def cost_growth(rows: Sequence[CaseRow], metric: CostMetric) -> list[CostGrowth]:
    """One for each group of cases that differ in T alone and of which two or more were counted."""
    found = []
    for group in grouped(rows, "timesteps"):
        counted = tuple(row for row in group if getattr(row, metric) is not None)
        if len(counted) > 1:
            points = [(row.case.timesteps, round(getattr(row, metric))) for row in counted]
            found.append(CostGrowth(metric, counted, growth_along(points)))
    return found
