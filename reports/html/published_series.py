"""Published numbers as points of a chart, each with what keeps it from being compared with what was measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.bench.cases import Case
from revbench.reports.published import PublishedNumber, published_numbers
from revbench.reports.published.compare import compare, is_about
from revbench.reports.published.numbers import UNITS, Quantity
from revbench.reports.published_table import IN_PLACE_OF

QUANTITIES: dict[str, tuple[Quantity, ...]] = {
    "activation_peak_bytes_per_image": ("activation_memory_per_image",),
    "peak_bytes_per_image": ("memory_per_image", "memory"),
    "step_s": ("step_time",),
}
"""What papers call the columns of our cases."""
WIDTH_UNKNOWN = "width not told"


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One number.

    Attributes:
        x: depth or timesteps; None where the chart has no such axis.
        value: in bytes of an image, or seconds.
        method: as the source calls it.
        row: the case that it stands beside.
        reasons: why the two do not compare; none if they do.
    """

    x: int | None
    value: float
    method: str
    row: CaseRow
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedSeries:
    """Numbers of one place in a paper: of one method along an axis, or of several methods."""

    name: str
    source: str
    points: tuple[PublishedPoint, ...]


def published_series(
    rows: Sequence[CaseRow], metric: str, axis: Axis | None, gpu: str | None = None
) -> list[PublishedSeries]:
    """The published numbers of the measured models in the order of the files.

    A family of networks is told by the name of the method where that is the family's (`MS-ResNet` is `msresnet`).

    Args:
        rows: the cases of the chart.
        metric: a key of `QUANTITIES`; of any other there is nothing.
        axis: along which the chart goes; numbers that do not tell their place on it are left out.
        gpu: name of the device that measured; None for a CPU.
    """
    with_number = [row for row in rows if getattr(row, metric) is not None]
    found: dict[tuple[object, ...], list[tuple[PublishedNumber, PublishedPoint]]] = {}
    for number in published_numbers():
        if number.quantity in QUANTITIES.get(metric, ()) and (point := _point(number, with_number, axis, gpu)):
            along_axis = replace(number, value=0, depth=None, timesteps=None).identity
            series = along_axis if axis else (number.paper, number.place)
            found.setdefault(series, []).append((number, point))
    names = [_name(members[0][0], axis) for members in found.values()]
    return [
        PublishedSeries(
            name=name if names.count(name) == 1 else f"{name} ({members[0][0].place})",
            source=f"{members[0][0].place}, {members[0][0].provenance}: {members[0][0].source}",
            points=tuple(sorted((point for _, point in members), key=lambda point: point.x or 0)),
        )
        for name, members in zip(names, found.values(), strict=True)
    ]


def _point(
    number: PublishedNumber, rows: Sequence[CaseRow], axis: Axis | None, gpu: str | None
) -> PublishedPoint | None:
    x = getattr(number, axis) if axis else None
    value = _in_base_unit(number)
    if value is None or (axis and x is None):
        return None
    compared = []
    for row in rows:
        is_family = _is_family(number, row)
        if (is_family or is_about(number, row)) and _is_in_range(number, row.case, axis):
            beside = replace(row, case=_at(row.case, axis, x)) if axis and x else row
            reasons = (*compare(number, beside, gpu).reasons, *([WIDTH_UNKNOWN] if is_family else []))
            compared.append(PublishedPoint(x, value, number.method, row, reasons))
    return min(compared, key=lambda point: len(point.reasons), default=None)


def _is_in_range(number: PublishedNumber, case: Case, axis: Axis | None) -> bool:
    """Whether depth and T, as far as they are told and do not vary along the axis, are those of the case."""
    told = {"depth": number.depth, "timesteps": number.timesteps}
    return all(name == axis or value in (None, getattr(case, name)) for name, value in told.items())


def _at(case: Case, axis: Axis, x: int) -> Case:
    return replace(case, depth=x) if axis == "depth" else replace(case, timesteps=x)


def _is_family(number: PublishedNumber, row: CaseRow) -> bool:
    case = row.case
    named = re.sub(r"[^a-z0-9]", "", number.method.lower())
    is_its_own_way = case.activations not in ("stored", "checkpointed") and case.rule == (number.rule or "bptt")
    return number.model is None and case.depth is not None and named == case.model and is_its_own_way


def _in_base_unit(number: PublishedNumber) -> float | None:
    """The value, of memory for one image; of a unit that may be decimal or binary, the binary one is taken."""
    factor = UNITS[number.quantity][IN_PLACE_OF.get(number.unit, number.unit)]
    assert factor is not None
    if number.quantity != "memory":
        return number.value * factor
    return number.value * factor / number.batch_size if number.batch_size else None


def _name(number: PublishedNumber, axis: Axis | None) -> str:
    if axis is None:
        return f"{number.paper}: {number.place}"
    rule = number.rule if number.rule and number.rule not in number.method.lower() else ""
    return f"{number.paper}: {', '.join(filter(None, (number.method, rule, number.condition)))}"
