"""Where the energy goes: a bar a model, its parts stacked as shares, a panel for each cost model.

Panels of one row have the arithmetic in common, those of one column the memory hierarchy. Beside each bar stands the
sum in µJ. A model that was not counted has the word that says why in place of its bars.
"""

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import ModelEnergy, cost_models, energies_by_model, is_verified, parts_j
from revbench.bench.energy.metric import HIERARCHIES, Part
from revbench.reports.drawing import write
from revbench.reports.energy_table import cost_model_label
from revbench.reports.energy_wording import MARK, naming_fields
from revbench.reports.style import COLOURS, DOUBLE_WIDTH_IN, GREY, LEGEND_ROW_IN, STYLE, new_figure
from revbench.reports.units import microjoules, significant_text
from revbench.reports.wording import describe

LABELS: dict[Part, str] = {
    "acs": "AC",
    "macs": "MAC",
    "neurons": "neurons",
    "elements": "element by element",
    "weights_once": "weights, once",
    "weights_of_operations": "weights, each operation",
    "sums": "partial sums",
    "potentials": "potentials",
    "signals": "spikes and signals",
}
LOOKS: dict[Part, tuple[str, str]] = {
    "acs": (COLOURS[0], ""),
    "macs": (COLOURS[1], "///"),
    "neurons": (COLOURS[2], ""),
    "elements": (COLOURS[3], "..."),
    "weights_once": (COLOURS[4], "xxx"),
    "weights_of_operations": (COLOURS[5], ""),
    "sums": ("0.55", "///"),
    "potentials": ("0.3", ""),
    "signals": ("0.8", "..."),
}
TITLES = {
    "on_chip": "all memory on chip",
    "sram_dram": "SRAM, weights from DRAM once",
    "no_reuse": "DRAM, no reuse",
}
LEFT_OUT = ("int32",)
"""Arithmetics that only the quantised network is compared with."""
BAR_IN = 0.15
PANEL_FRAME_IN = 0.2


def parts_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The figure that the module describes; shares are means over seeds."""
    models = energies_by_model(rows)
    naming = naming_fields(models)
    names = [describe(model.rows[0].case, naming) for model in models]
    counted = [row for model in models for row in model.counted]
    arithmetics = [name for name in cost_models(counted)[0] if not name.startswith(LEFT_OUT)] or [""]
    with rc_context(STYLE):
        height_in = len(arithmetics) * (BAR_IN * len(models) + PANEL_FRAME_IN) + 0.5 + 2 * LEGEND_ROW_IN
        figure = new_figure([row for model in models for row in model.rows], suite_title, height_in, DOUBLE_WIDTH_IN)
        grid = figure.subplots(len(arithmetics), len(HIERARCHIES), squeeze=False, sharex=True, sharey=True)
        for line, arithmetic in zip(grid, arithmetics, strict=True):
            for axes, hierarchy in zip(line, HIERARCHIES, strict=True):
                for place, model in enumerate(models):
                    _draw_bar(axes, model, arithmetic, hierarchy, place)
                axes.set_ylim(len(models) - 0.5, -0.5)
                axes.set_xlim(0, 100)
                axes.tick_params(axis="y", length=0)
                axes.grid(visible=False)
            line[0].set_yticks(range(len(models)), names)
            mark = "" if is_verified(counted, arithmetic) else MARK
            line[0].set_title(f"{cost_model_label(arithmetic)}{mark}", loc="left", fontweight="bold")
        for axes, hierarchy in zip(grid[0], HIERARCHIES, strict=True):
            at = {"xytext": (0, 18), "textcoords": "offset points", "xycoords": "axes fraction", "ha": "center"}
            axes.annotate(TITLES[hierarchy], (0.5, 1), **at)
        for axes in grid[-1]:
            axes.set_xlabel("share of the energy (%)")
        handles = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=LABELS[part])
            for part, (colour, hatch) in LOOKS.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def mean_parts_j(model: ModelEnergy, arithmetic: str, hierarchy: str) -> dict[Part, float]:
    """Joules of each part, means over seeds."""
    found = [parts_j(row, arithmetic, hierarchy) for row in model.counted]
    return {part: sum(parts[part] for parts in found) / len(found) for part in found[0]} if found else {}


def _draw_bar(axes: Axes, model: ModelEnergy, arithmetic: str, hierarchy: str, place: int) -> None:
    parts = mean_parts_j(model, arithmetic, hierarchy)
    if not parts:
        write(axes, model.failure, (0, place), (3, 0), GREY)
        return
    total, left = sum(parts.values()), 0.0
    for part, joules in parts.items():
        colour, hatch = LOOKS[part]
        share = 100 * joules / total
        axes.barh(place, share, left=left, height=0.78, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        left += share
    write(axes, f"{significant_text(microjoules(total))} µJ", (100, place), (3, 0), GREY)
