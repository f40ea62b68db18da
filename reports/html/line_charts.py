"""Lines through measured points, whatever they are about; a point without a number is told by its word."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from revbench.reports.drawing import Look
from revbench.reports.html.chart import Chart, Trace, axes_layout, line_style, shown, tidy_table
from revbench.reports.table_data import number_cell, status_cell, text_cell
from revbench.reports.units import significant_text

DIGITS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A line.

    Attributes:
        name: tells it from the others.
        points: (x, value in base units), or (x, word) where a word says why there is no value.
        look: colour, marker and line style.
    """

    name: str
    points: Sequence[tuple[float, float | str]]
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis.

    Attributes:
        column: of the values, with their unit, as in CSV.
        label: of the axis, with the unit that is read.
        base_units: what one of that unit is.
        layout: of the axis, for plotly, beside the label.
    """

    column: str
    label: str
    base_units: float = 1
    layout: dict[str, Any] = field(default_factory=dict)


def line_chart(name: str, title: str, across: Scale, upwards: Scale, lines: Sequence[Line]) -> Chart:
    """The lines over each other, those without any point in the table alone."""
    traces = [_trace(line, across, upwards) for line in lines]
    cells = [
        {
            "line": text_cell(line.name),
            across.column: number_cell(x, lambda value: f"{value:g}"),
            upwards.column: status_cell(value)
            if isinstance(value, str)
            else number_cell(value, lambda value: significant_text(value / upwards.base_units, DIGITS)),
        }
        for line in lines
        for x, value in line.points
    ]
    headers = {upwards.column: upwards.label}
    layout = axes_layout(across.label, upwards.label, xaxis=across.layout, yaxis=upwards.layout)
    return Chart(name=name, table=tidy_table(title, cells, headers), traces=traces, layout=layout)


def _trace(line: Line, across: Scale, upwards: Scale) -> Trace:
    found = [(x, value) for x, value in line.points if not isinstance(value, str)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": shown(line.name),
        "x": [x for x, _ in found],
        "y": [value / upwards.base_units for _, value in found],
        "customdata": [[shown(line.name), significant_text(value / upwards.base_units, DIGITS)] for _, value in found],
        "hovertemplate": f"%{{customdata[0]}}<br>{across.label} %{{x}}: %{{customdata[1]}}<extra></extra>",
        **line_style(line.look),
    }
