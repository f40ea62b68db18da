"""Published numbers beside what was measured, each with the ratio or the reasons why there is none."""

from collections.abc import Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import varying_fields
from revbench.reports.published import PublishedNumber, published_numbers
from revbench.reports.published.compare import Comparison, comparisons
from revbench.reports.published.numbers import UNITS
from revbench.reports.table_data import Cell, Column, TableData, number_cell, text_cell
from revbench.reports.units import significant_text
from revbench.reports.wording import describe

TITLE = "Published beside measured"
NOTE = (
    "Ratio: measured over published, where unit, T, precision, counter and, of times, batch and GPU are known to be "
    "the same"
)
DIGITS = 4
IN_PLACE_OF = {"MB or MiB": "MiB", "GB or GiB": "GiB"}
"""The unit of the measured number where that of the published one leaves it open."""


def published_table(rows: Sequence[CaseRow], gpu: str | None = None) -> TableData | None:
    """The table of every published number of the measured models and rules; None where there is none.

    Args:
        rows: the cases.
        gpu: name of the device that measured them; None for a CPU.
    """
    found = comparisons(rows, published_numbers(), gpu)
    if not found:
        return None
    numbers = [each.number for each in found]
    naming = ["model", *(name for name in varying_fields(rows) if name != "model")]
    columns = (
        Column("paper", "paper", tuple(text_cell(number.paper) for number in numbers), "left"),
        Column("place", "place", tuple(text_cell(number.place) for number in numbers), "left"),
        Column("provenance", "read in", tuple(text_cell(number.provenance) for number in numbers), "left"),
        Column("method", "method", tuple(text_cell(_method(number)) for number in numbers), "left"),
        Column("case", "case", tuple(text_cell(_case(each, naming)) for each in found), "left"),
        Column(
            "quantity", "quantity", tuple(text_cell(number.quantity.replace("_", " ")) for number in numbers), "left"
        ),
        Column("published", "published", tuple(_published(number) for number in numbers)),
        Column("unit", "unit", tuple(text_cell(number.unit) for number in numbers), "left"),
        Column("measured", "measured", tuple(_measured(each) for each in found)),
        Column("ratio", "ratio", tuple(number_cell(each.ratio, lambda ratio: f"{ratio:.3f}") for each in found)),
        Column("reasons", "why no ratio", tuple(text_cell("; ".join(each.reasons) or None) for each in found), "left"),
    )
    return TableData(TITLE, NOTE, columns)


def _method(number: PublishedNumber) -> str:
    return ", ".join(part for part in (number.method, number.condition) if part)


def _case(comparison: Comparison, naming: Sequence[str]) -> str:
    told = describe(comparison.row.case, naming)
    return told if comparison.reference is None else f"{told} against {comparison.reference.case.model}"


def _published(number: PublishedNumber) -> Cell:
    return Cell(f"{number.value:,}".removesuffix(".0"), number.value, "number")


def _measured(comparison: Comparison) -> Cell:
    """In the unit of the published number."""
    if comparison.measured is None:
        return number_cell(None, str)
    number = comparison.number
    unit = IN_PLACE_OF.get(number.unit, number.unit)
    factor = UNITS[number.quantity][unit]
    assert factor is not None
    value = comparison.measured / factor
    exact = unit in ("1", "B") and value == int(value)
    told = f"{int(value):,}" if exact else significant_text(value, DIGITS)
    return Cell(f"{told} {unit}" if unit != number.unit else told, value, "number")
