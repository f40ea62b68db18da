"""The cost of an inference against the timesteps, in words and as a figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.inference_cost import CostGrowth, CostMetric, cost_growth
from revbench.bench.analysis.row_groups import grouped, of_first_seed, varying_fields
from revbench.reports.drawing import (
    AXIS_LABELS,
    legend_below,
    legend_height_in,
    looks_of,
    mark_upwards,
    scale_by_twos,
)
from revbench.reports.style import DOUBLE_WIDTH_IN, STYLE, new_figure
from revbench.reports.units import microjoules, significant_text
from revbench.reports.wording import describe

NAMES: dict[CostMetric, str] = {"dense_macs": "dense MACs", "sops": "SOPs"}
PANEL_IN = 1.9
LEGEND_COLUMNS = 6
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class _Panel:
    """A quantity of the rows, and how its axis is called."""

    label: str
    number: Callable[[CaseRow], float | None]


PANELS = (
    _Panel("dense MACs (million)", lambda row: row.dense_macs and row.dense_macs / MILLION),
    _Panel(
        "dense MACs a parameter",
        lambda row: row.dense_macs / row.num_parameters if row.dense_macs and row.num_parameters else None,
    ),
    _Panel("SOPs (million)", lambda row: row.sops and row.sops / MILLION),
    _Panel("operations (µJ, 45 nm)", lambda row: row.operations_energy_j and microjoules(row.operations_energy_j)),
)


def cost_sentences(rows: Sequence[CaseRow]) -> list[str]:
    """One sentence a group of cases that differ in T alone: the coefficients, and the cost of a parameter."""
    told: list[str] = []
    for metric in ("dense_macs", "sops"):
        found = cost_growth(of_first_seed(rows) if metric == "dense_macs" else rows, metric)
        naming = [name for name in varying_fields([each.rows[0] for each in found]) if name != "timesteps"]
        told += [_sentence(each, describe(each.rows[0].case, dict.fromkeys(["model", *naming]))) for each in found]
    return told


def inference_cost_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """Each quantity that was counted against T, both axes logarithmic: what is proportional to T is a diagonal.

    Operations for each parameter are what an inference costs at a fixed number of parameters.
    """
    panels = [panel for panel in PANELS if any(panel.number(row) for row in rows)]
    groups = [group for group in grouped(rows, "timesteps") if len(group) > 1]
    naming = [name for name in varying_fields([group[0] for group in groups]) if name not in ("model", "timesteps")]
    lines = {describe(group[0].case, ["model", *naming]): group for group in groups}
    looks = looks_of(lines)
    with rc_context(STYLE):
        height_in = PANEL_IN + legend_height_in(len(lines), LEGEND_COLUMNS)
        figure = new_figure(rows, suite_title, height_in, DOUBLE_WIDTH_IN, leaving_out=("seed", "timesteps"))
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for name, group in lines.items():
                found = [(row.case.timesteps, value) for row in group if (value := panel.number(row))]
                if found:
                    axes.plot(*zip(*found, strict=True), **looks[name].line())
            scale_by_twos(axes, sorted({row.case.timesteps for row in rows}))
            axes.set_yscale("log")
            mark_upwards(axes)
            axes.set_title(panel.label, loc="left")
            axes.set_xlabel(AXIS_LABELS["timesteps"])
        legend_below(figure, looks, LEGEND_COLUMNS)
    return figure


def _sentence(found: CostGrowth, name: str) -> str:
    growth, unit = found.growth, NAMES[found.metric]
    first, last = growth.points[0][0], growth.points[-1][0]
    span, line = f"T={first} to {last}", _line_text(int(growth.intercept), int(growth.slope))
    if growth.law == "flat" and not growth.num_skipped:
        law = f"flat in T: {growth.points[0][1]:,} at each of {len(growth.points)} points, {span}"
    elif growth.law == "affine" and growth.is_tested:
        on = f" from T={growth.points[1][0]} on" if growth.num_skipped else ""
        law = f"{line}{on}, exact over {span} ({len(growth.points) - growth.num_skipped} points)"
    else:
        slopes = f"{round(min(growth.local_slopes)):,} to {round(max(growth.local_slopes)):,}"
        law = f"{line} by least squares over {span} ({len(growth.points)} points; {slopes} between neighbours)"
    told = f"{name}: {unit} of an inference {law}"
    if per_parameter := found.per_parameter:
        (_, begin), (_, end) = per_parameter[0], per_parameter[-1]
        told += f"; {significant_text(begin)} a parameter at T={first}, {significant_text(end)} at T={last}"
    return f"{told}."


def _line_text(intercept: int, slope: int) -> str:
    return f"{intercept:,} {'-' if slope < 0 else '+'} {abs(slope):,} per timestep"
