"""The lines of a scaling chart: points, failures and the curve through them; and the same as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.bench.records import PassName
from revbench.reports.drawing import AXIS_LABELS
from revbench.reports.growth_lines import GrowthLine
from revbench.reports.html.chart import tidy_table
from revbench.reports.html.fitted import FittedCurve, fitted_curve
from revbench.reports.html.published_series import PublishedSeries
from revbench.reports.table_data import Cell, TableData, number_cell, status_cell, text_cell
from revbench.reports.units import BYTES_PER_MEBIBYTE, MILLISECONDS_PER_SECOND, significant_text
from revbench.reports.wording import field_header

IQR_IN_STANDARD_DEVIATIONS = 1.349


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a chart shows.

    Attributes:
        metric: the attribute of the rows, in base units.
        fitted: the attribute that a curve is fitted to, whole numbers where there are such.
        pass_name: the pass that measures it.
        title: of the chart.
        unit: that is read.
        base_units: how many base units it is.
    """

    metric: str
    fitted: str
    pass_name: PassName
    title: str
    unit: str
    base_units: float

    def share(self, row: CaseRow) -> int:
        """How many parts the fitted number is divided among, to give the metric."""
        return row.case.batch_size if self.metric != self.fitted else 1


QUANTITIES = (
    Quantity(
        "activation_peak_bytes_per_image",
        "activation_peak_bytes",
        "memory",
        "Activation peak",
        "MiB per image",
        BYTES_PER_MEBIBYTE,
    ),
    Quantity(
        "peak_bytes_per_image", "peak_bytes", "memory", "Peak of the whole step", "MiB per image", BYTES_PER_MEBIBYTE
    ),
    Quantity("step_s", "step_s", "time", "Step time", "ms", 1 / MILLISECONDS_PER_SECOND),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A case on a line: its place, and the number or the word that says why there is none."""

    x: int
    layers: int | None
    value: float | None
    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class ScalingLine:
    """The points of a line and the curve through them, in base units."""

    line: GrowthLine
    points: tuple[Point, ...]
    curve: FittedCurve | None


def scaling_line(line: GrowthLine, quantity: Quantity) -> ScalingLine:
    """The points of one quantity, and the curve through those that have a number."""
    points = tuple(_point(line, row, quantity) for row in line.rows)
    measured = [(line.place(row), value) for row in line.rows if (value := getattr(row, quantity.fitted)) is not None]
    out_of_memory = [line.place(row) for row in line.rows if row.pass_status(quantity.pass_name) == "oom"]
    censored = out_of_memory if quantity.pass_name == "memory" else ()
    curve = fitted_curve(measured, noise=_noise(line.rows, quantity), censored=censored)
    return ScalingLine(line, points, curve.divided(quantity.share(line.rows[0])) if curve else None)


def _point(line: GrowthLine, row: CaseRow, quantity: Quantity) -> Point:
    closing = next((each for each in row.closings if each.pass_name == quantity.pass_name), None)
    failed = closing is not None and closing.status != "ok"
    return Point(
        x=line.place(row),
        layers=row.num_layers,
        value=getattr(row, quantity.metric),
        status=closing.status if closing and failed else "",
        detail=closing.detail if closing and failed else "",
    )


def _noise(rows: Sequence[CaseRow], quantity: Quantity) -> float:
    """Of times, the largest relative spread of one of them; bytes have none."""
    if quantity.metric != "step_s":
        return 0.0
    return max(
        (
            row.step_spread_s / IQR_IN_STANDARD_DEVIATIONS / row.step_s
            for row in rows
            if row.step_s and row.step_spread_s is not None
        ),
        default=0.0,
    )


def scaling_table(
    lines: Sequence[ScalingLine],
    published: Sequence[PublishedSeries],
    quantity: Quantity,
    axis: Axis,
    title: str,
    note: str,
) -> TableData:
    """A row a point, measured ones first, with the fitted value and the law beside each that has them."""
    rows: list[dict[str, Cell]] = []
    for line in lines:
        law = line.curve.divided(quantity.base_units).told(field_header(axis)) if line.curve else None
        for point in line.points:
            is_fitted = line.curve is not None and line.curve.first <= point.x <= line.curve.last
            rows.append(
                {
                    "line": text_cell(line.line.name),
                    "source": text_cell("measured"),
                    axis: number_cell(point.x, str),
                    "layers": number_cell(point.layers, str),
                    quantity.metric: value_cell(point.value, point.status, quantity),
                    f"fitted_{quantity.metric}": value_cell(
                        line.curve.at(point.x) if line.curve and is_fitted else None, "", quantity
                    ),
                    "remark": text_cell(point.detail or law),
                }
            )
    for series in published:
        rows += [
            {
                "line": text_cell(series.name),
                "source": text_cell("published"),
                axis: number_cell(number.x, str),
                "layers": text_cell(None),
                quantity.metric: value_cell(number.value, "", quantity),
                f"fitted_{quantity.metric}": text_cell(None),
                "remark": text_cell(f"not comparable: {'; '.join(number.reasons)}" if number.reasons else None),
            }
            for number in series.points
        ]
    headers = {
        axis: field_header(axis),
        quantity.metric: f"{quantity.title.lower()}\n{quantity.unit}",
        f"fitted_{quantity.metric}": f"fitted\n{quantity.unit}",
    }
    full = f"{quantity.title} against {AXIS_LABELS[axis]}"
    return tidy_table(f"{title}: {full[0].lower()}{full[1:]}" if title else full, rows, headers, note)


def value_cell(value: float | None, status: str, quantity: Quantity) -> Cell:
    """A number of base units, or the status that stands for it."""
    if value is None and status:
        return status_cell(status)
    return number_cell(value, lambda number: significant_text(number / quantity.base_units, 4))
