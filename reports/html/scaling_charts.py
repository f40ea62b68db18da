"""How costs grow along depth or timesteps: measured points, the fitted curve, failures and published points.

A case that failed is an open marker above all points: what it needed was not measured. A published point is a diamond,
open where it does not compare with what was measured.
"""

from collections.abc import Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis
from revbench.reports.drawing import AXIS_LABELS
from revbench.reports.growth_lines import growth_lines
from revbench.reports.html.chart import Chart, Trace, axes_layout, line_style, shown
from revbench.reports.html.published_series import PublishedSeries, published_series
from revbench.reports.html.scaling_lines import QUANTITIES, Quantity, ScalingLine, scaling_line, scaling_table
from revbench.reports.units import significant_text
from revbench.reports.wording import field_header

ABOVE_ALL = 1.08
BETWEEN_FAILURES = 0.07
"""Share of the highest point between the failures of one line and of the next."""
PUBLISHED_COLOUR = "#808080"
NOTE = "Diamonds are published numbers; those that do not compare with ours are open, and say why."


def scaling_charts(
    rows: Sequence[CaseRow], axis: Axis, gpu: str | None = None, name: str = "", title: str = ""
) -> list[Chart]:
    """A chart of each quantity that was looked at in these rows, all of which have a place on the axis.

    Args:
        rows: the cases.
        axis: along which they grow.
        gpu: name of the device that measured; None for a CPU.
        name: begins the names of the charts, to tell them from others along the same axis.
        title: begins their titles.
    """
    charts = []
    lines = growth_lines(rows, axis)
    for quantity in QUANTITIES:
        found = [scaling_line(line, quantity) for line in lines]
        if any(point.value is not None or point.status for line in found for point in line.points):
            published = published_series(rows, quantity.metric, axis, gpu)
            charts.append(_chart(found, published, quantity, axis, (name, title)))
    return charts


def _chart(
    lines: Sequence[ScalingLine],
    published: Sequence[PublishedSeries],
    quantity: Quantity,
    axis: Axis,
    named: tuple[str, str],
) -> Chart:
    name, title = named
    values = [point.value for line in lines for point in line.points if point.value is not None]
    values += [point.value for series in published for point in series.points]
    highest = max(values, default=quantity.base_units)
    traces: list[Trace] = []
    num_failing = 0
    for each in lines:
        traces += _measured_traces(each, quantity, axis)
        if any(point.status for point in each.points):
            height = (ABOVE_ALL + BETWEEN_FAILURES * num_failing) * highest
            traces.append(_failures_trace(each, quantity, axis, height))
            num_failing += 1
    traces += [_published_trace(series, quantity, axis) for series in published]
    places = sorted({point.x for line in lines for point in line.points} | _published_places(published))
    layout = axes_layout(
        AXIS_LABELS[axis],
        f"{quantity.title.lower()} ({quantity.unit})",
        xaxis={"tickvals": places, "ticktext": [str(place) for place in places]},
    )
    told = [(each.line.name, each.curve) for each in lines if each.curve]
    fits = [
        f"{line}: {curve.divided(quantity.base_units).told(field_header(axis))} ({quantity.unit})."
        for line, curve in told
    ]
    sources = [f"{series.name}, {series.source}." for series in published]
    return Chart(
        name="-".join(filter(None, (name, quantity.metric, axis))),
        table=scaling_table(lines, published, quantity, axis, title, NOTE if published else ""),
        traces=traces,
        layout=layout,
        remarks=(*fits, *sources),
        remarks_title="Curves and sources" if sources else "Curves",
        can_be_logarithmic=True,
    )


def _measured_traces(line: ScalingLine, quantity: Quantity, axis: Axis) -> list[Trace]:
    """The points that have a number, and the curve through them."""
    style, name = line_style(line.line.look), shown(line.line.name)
    measured = [(point, point.value) for point in line.points if point.value is not None]
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "markers" if line.curve else "lines+markers",
            "name": name,
            "legendgroup": name,
            "x": [point.x for point, _ in measured],
            "y": [value / quantity.base_units for _, value in measured],
            "customdata": [
                [name, told_value(value, quantity), f", {point.layers} layers" if point.layers else ""]
                for point, value in measured
            ],
            "hovertemplate": f"%{{customdata[0]}}<br>{field_header(axis)} %{{x}}%{{customdata[2]}}: "
            "%{customdata[1]}<extra></extra>",
            **style,
        }
    ]
    if line.curve:
        curve = line.curve.divided(quantity.base_units)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{name}, fit",
                "legendgroup": name,
                "showlegend": False,
                "x": curve.places(),
                "y": [curve.at(x) for x in curve.places()],
                "line": {**style["line"], "width": 1.5},
                "text": f"{name}: {shown(curve.told(field_header(axis)))} ({quantity.unit})",
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _failures_trace(line: ScalingLine, quantity: Quantity, axis: Axis, height: float) -> Trace:
    """Open markers at one height, the last with the word that says why."""
    style, name = line_style(line.line.look), shown(line.line.name)
    failed = [point for point in line.points if point.status]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "legendgroup": name,
        "showlegend": len(failed) == len(line.points),
        "x": [point.x for point in failed],
        "y": [height / quantity.base_units] * len(failed),
        "marker": {**style["marker"], "symbol": f"{style['marker']['symbol']}-open"},
        "text": [*[""] * (len(failed) - 1), failed[-1].status],
        "textposition": "middle left",
        "customdata": [[name, point.status, shown(point.detail)] for point in failed],
        "hovertemplate": f"%{{customdata[0]}}<br>{field_header(axis)} %{{x}}: %{{customdata[1]}}, not measured"
        "<br>%{customdata[2]}<extra></extra>",
    }


def _published_places(published: Sequence[PublishedSeries]) -> set[int]:
    return {point.x for series in published for point in series.points if point.x is not None}


def _published_trace(series: PublishedSeries, quantity: Quantity, axis: Axis) -> Trace:
    """Diamonds in the order of the axis: filled where the number compares with ours."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": shown(series.name),
        "x": [point.x for point in series.points],
        "y": [point.value / quantity.base_units for point in series.points],
        "line": {"color": PUBLISHED_COLOUR, "dash": "dot", "width": 1},
        **diamonds(series, quantity),
        "hovertemplate": f"published, %{{customdata[0]}}<br>{field_header(axis)} %{{x}}: %{{customdata[1]}}"
        "%{customdata[2]}<extra></extra>",
    }


def diamonds(series: PublishedSeries, quantity: Quantity) -> Trace:
    """Marks and texts of published points: name, number, and why it does not compare, which leaves the mark open."""
    return {
        "marker": {
            "symbol": ["diamond-open" if point.reasons else "diamond" for point in series.points],
            "color": PUBLISHED_COLOUR,
            "size": 9,
        },
        "customdata": [
            [
                shown(f"{series.name}, {point.method}" if point.x is None else series.name),
                told_value(point.value, quantity),
                f"<br>not comparable: {shown('; '.join(point.reasons))}" if point.reasons else "",
            ]
            for point in series.points
        ],
    }


def told_value(value: float, quantity: Quantity) -> str:
    """A number of base units, with the unit that is read."""
    return f"{significant_text(value / quantity.base_units, 4)} {quantity.unit}"
