"""What models of their own size cost, as bars: a group a model, a bar a variant, published numbers as diamonds."""

from collections.abc import Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import varying_fields
from revbench.reports.html.chart import Chart, Trace, axes_layout, shown, tidy_table
from revbench.reports.html.published_series import PublishedSeries, published_series
from revbench.reports.html.scaling_charts import NOTE, diamonds
from revbench.reports.html.scaling_lines import QUANTITIES, Quantity, value_cell
from revbench.reports.style import COLOURS
from revbench.reports.table_data import Cell, text_cell
from revbench.reports.units import significant_text
from revbench.reports.wording import describe

BAR_PIXELS = 22
FRAME_PIXELS = 120
MEASURED = "measured"
HATCHES = ("", "/", ".", "x")
NUM_COLOURS = 6


def model_charts(rows: Sequence[CaseRow], gpu: str | None = None) -> list[Chart]:
    """A chart of each quantity that was looked at in these rows.

    Args:
        rows: the cases.
        gpu: name of the device that measured; None for a CPU.
    """
    return [
        _chart(rows, quantity, published_series(rows, quantity.metric, None, gpu))
        for quantity in QUANTITIES
        if any(getattr(row, quantity.metric) is not None or row.failed(quantity.pass_name) for row in rows)
    ]


def _chart(rows: Sequence[CaseRow], quantity: Quantity, published: Sequence[PublishedSeries]) -> Chart:
    naming = [name for name in varying_fields(rows) if name != "model"]
    models = list(dict.fromkeys(row.case.model for row in rows))
    variants = list(dict.fromkeys(describe(row.case, naming) for row in rows))
    traces = [
        _bars([row for row in rows if describe(row.case, naming) == variant], variant, index, quantity)
        for index, variant in enumerate(variants)
    ]
    traces += [_words(rows, naming, quantity), *(_diamonds(series, quantity) for series in published)]
    title = f"{quantity.title} by model"
    num_bars = len(models) * max(1, len(variants))
    layout = axes_layout(
        f"{quantity.title.lower()} ({quantity.unit})",
        "",
        yaxis={"type": "category", "autorange": "reversed", "categoryarray": [shown(model) for model in models]},
    )
    layout |= {
        "barmode": "group",
        "showlegend": len(variants) > 1 or bool(published),
        "height": FRAME_PIXELS + BAR_PIXELS * num_bars,
    }
    return Chart(
        name=f"models-{quantity.metric}",
        table=tidy_table(
            title, _rows(rows, naming, published, quantity), {quantity.metric: quantity.unit}, NOTE if published else ""
        ),
        traces=traces,
        layout=layout,
        remarks=[f"{series.name}, {series.source}." for series in published],
        remarks_title="Sources",
    )


def _bars(rows: Sequence[CaseRow], variant: str, index: int, quantity: Quantity) -> Trace:
    """A bar for each case that has a number."""
    measured = [(row.case.model, value) for row in rows if (value := getattr(row, quantity.metric)) is not None]
    return {
        "type": "bar",
        "orientation": "h",
        "name": shown(variant or MEASURED),
        "x": [value / quantity.base_units for _, value in measured],
        "y": [shown(model) for model, _ in measured],
        "text": [significant_text(value / quantity.base_units, 4) for _, value in measured],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {
            "color": COLOURS[index % NUM_COLOURS],
            "pattern": {"shape": HATCHES[index // NUM_COLOURS % len(HATCHES)]},
        },
        "customdata": [[shown(variant)] for _ in measured],
        "hovertemplate": f"%{{y}} %{{customdata[0]}}: %{{text}} {quantity.unit}<extra></extra>",
    }


def _words(rows: Sequence[CaseRow], naming: Sequence[str], quantity: Quantity) -> Trace:
    """In place of bars that are missing, why."""
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row.failed(quantity.pass_name) and getattr(row, quantity.metric) is None:
            told = (describe(row.case, naming), row.pass_status(quantity.pass_name))
            failed.setdefault(row.case.model, []).append(" ".join(filter(None, told)))
    return {
        "type": "scatter",
        "mode": "text",
        "showlegend": False,
        "x": [0] * len(failed),
        "y": [shown(model) for model in failed],
        "text": [shown("; ".join(words)) for words in failed.values()],
        "textposition": "middle right",
        "hoverinfo": "skip",
    }


def _diamonds(series: PublishedSeries, quantity: Quantity) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": shown(series.name),
        "x": [point.value / quantity.base_units for point in series.points],
        "y": [shown(point.row.case.model) for point in series.points],
        **diamonds(series, quantity),
        "hovertemplate": "published, %{customdata[0]}: %{customdata[1]}%{customdata[2]}<extra></extra>",
    }


def _rows(
    rows: Sequence[CaseRow], naming: Sequence[str], published: Sequence[PublishedSeries], quantity: Quantity
) -> list[dict[str, Cell]]:
    told = [
        {
            "model": text_cell(row.case.model),
            "variant": text_cell(describe(row.case, naming) or None),
            "source": text_cell(MEASURED),
            quantity.metric: value_cell(
                getattr(row, quantity.metric),
                row.pass_status(quantity.pass_name) if row.failed(quantity.pass_name) else "",
                quantity,
            ),
            "remark": text_cell(row.detail or None),
        }
        for row in rows
    ]
    return told + [
        {
            "model": text_cell(point.row.case.model),
            "variant": text_cell(f"{series.name}, {point.method}"),
            "source": text_cell("published"),
            quantity.metric: value_cell(point.value, "", quantity),
            "remark": text_cell(f"not comparable: {'; '.join(point.reasons)}" if point.reasons else None),
        }
        for series in published
        for point in series.points
    ]
