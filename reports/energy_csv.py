"""Energies and firing rates as tidy tables: a row a part and cost model, and a row a layer and timestep."""

from collections.abc import Iterable
from pathlib import Path

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import CASE_FIELDS
from revbench.reports.tables import write_csv

ENERGY_FIELDS = ("cost_model", "hierarchy", "part", "energy_j", "verified")
FIRING_FIELDS = ("layer", "name", "timestep", "firing_rate")


def write_energy_csv(rows: Iterable[CaseRow], path: Path) -> None:
    """Writes the joules of every part of an inference under every cost model.

    The dense twin is a part of its own, which belongs to no sum: with a hierarchy it holds operations and memory.
    """
    lines = (
        (
            row.case.id,
            *row.case.as_dict().values(),
            part.metric.model,
            part.metric.hierarchy,
            part.metric.part,
            part.joules,
            str(part.is_verified).lower(),
        )
        for row in rows
        for part in row.energy.parts
    )
    write_csv(path, ("case_id", *CASE_FIELDS, *ENERGY_FIELDS), lines)


def write_firing_csv(rows: Iterable[CaseRow], path: Path) -> None:
    """Writes the firing rate of every layer of neurons in every timestep."""
    lines = (
        (row.case.id, *row.case.as_dict().values(), rate.layer, rate.name, rate.timestep, rate.rate)
        for row in rows
        for rate in row.energy.rates
    )
    write_csv(path, ("case_id", *CASE_FIELDS, *FIRING_FIELDS), lines)
