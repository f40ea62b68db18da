"""How a cost grows with the timesteps for every training rule: a panel for each model, a line for each rule.

A case that failed is an open marker at the upper edge; where a rule does not apply to a model, it has no line there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.row_groups import grouped, varying_fields
from revbench.bench.records import PassName
from revbench.reports.drawing import (
    AXIS_LABELS,
    Look,
    draw_line,
    draw_open_markers,
    legend_below,
    legend_height_in,
    looks_of,
    mark_upwards,
    scale_by_twos,
)
from revbench.reports.style import DOUBLE_WIDTH_IN, STYLE, new_figure
from revbench.reports.units import BYTES_PER_MEBIBYTE, MILLISECONDS_PER_SECOND
from revbench.reports.wording import describe

PANELS_IN_A_ROW = 4
PANEL_IN = 1.35
LEGEND_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class Cost:
    """What the panels show.

    Attributes:
        metric: the attribute of the rows.
        pass_name: the pass that measures it.
        label: of the vertical axis.
        unit: what the metric is divided by.
    """

    metric: str
    pass_name: PassName
    label: str
    unit: float


MEMORY = Cost("activation_peak_bytes_per_image", "memory", "MiB per image", BYTES_PER_MEBIBYTE)
TIME = Cost("step_s", "time", "step (ms)", 1 / MILLISECONDS_PER_SECOND)


def rules_figure(rows: Sequence[CaseRow], suite_title: str, cost: Cost) -> Figure:
    """The cost against the timesteps, both axes logarithmic, so that proportional growth is a diagonal."""
    models = list(dict.fromkeys(row.case.model for row in rows))
    naming = ["rule", *(name for name in varying_fields(rows) if name not in ("model", "rule", "timesteps", "seed"))]
    looks = looks_of(describe(row.case, naming) for row in rows)
    num_rows = -(-len(models) // PANELS_IN_A_ROW)
    legend_in = legend_height_in(len(looks), LEGEND_COLUMNS)
    with rc_context(STYLE):
        figure = new_figure(rows, suite_title, PANEL_IN * num_rows + 0.3 + legend_in, DOUBLE_WIDTH_IN)
        columns = min(PANELS_IN_A_ROW, len(models))
        panels = figure.subplots(num_rows, columns, squeeze=False, sharex=True)
        for index, axes in enumerate(panels.flat):
            if index >= len(models):
                axes.set_axis_off()
                continue
            _draw_panel(axes, [row for row in rows if row.case.model == models[index]], cost, looks, naming)
            axes.set_title(models[index], loc="left")
            if index % columns == 0:
                axes.set_ylabel(cost.label)
            if index + columns >= len(models):
                axes.set_xlabel(AXIS_LABELS["timesteps"])
                axes.tick_params(labelbottom=True)
        legend_below(figure, looks, LEGEND_COLUMNS)
    return figure


def _draw_panel(
    axes: Axes, rows: Sequence[CaseRow], cost: Cost, looks: Mapping[str, Look], naming: Sequence[str]
) -> None:
    scale_by_twos(axes, sorted({row.case.timesteps for row in rows}))
    axes.set_yscale("log")
    failed: list[tuple[Look, float]] = []
    for group in grouped(rows, "timesteps"):
        look = looks[describe(group[0].case, naming)]
        found = [(row.case.timesteps, value / cost.unit) for row in group if (value := getattr(row, cost.metric))]
        draw_line(axes, look, found)
        failed += [
            (look, row.case.timesteps)
            for row in group
            if row.pass_status(cost.pass_name) not in ("ok", "unsupported", NOT_MEASURED)
        ]
    draw_open_markers(axes, failed, edge=1)
    mark_upwards(axes)
