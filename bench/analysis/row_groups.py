"""Which rows belong together, and what differs between them."""

from collections.abc import Sequence
from dataclasses import replace

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import CASE_FIELDS, Case


def varying_fields(rows: Sequence[CaseRow]) -> tuple[str, ...]:
    """The case fields that differ between the rows, in the order of the case."""
    return tuple(name for name in CASE_FIELDS if len({getattr(row.case, name) for row in rows}) > 1)


def depths_of(rows: Sequence[CaseRow]) -> list[int]:
    """The depths that occur, ascending."""
    return sorted({row.case.depth for row in rows if row.case.depth is not None})


def of_all_seeds(rows: Sequence[CaseRow]) -> list[list[CaseRow]]:
    """The rows in groups that differ in the seed alone, in order of appearance."""
    groups: dict[Case, list[CaseRow]] = {}
    for row in rows:
        groups.setdefault(replace(row.case, seed=0), []).append(row)
    return list(groups.values())


def of_first_seed(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Of rows that differ in the seed alone the first: neither bytes nor dense operations depend on it."""
    return [group[0] for group in of_all_seeds(rows)]


def grouped(rows: Sequence[CaseRow], axis: str) -> list[list[CaseRow]]:
    """The rows in groups that differ in one case field alone, each in ascending order of that field.

    Rows that have no value on the axis are in no group.
    """
    groups: dict[tuple[object, ...], list[CaseRow]] = {}
    for row in rows:
        if getattr(row.case, axis) is not None:
            others = tuple(getattr(row.case, name) for name in CASE_FIELDS if name != axis)
            groups.setdefault(others, []).append(row)
    return [sorted(group, key=lambda row: getattr(row.case, axis)) for group in groups.values()]
