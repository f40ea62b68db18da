"""What an image costs in models of their own size, as bars."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import of_first_seed, varying_fields
from revbench.reports.drawing import write
from revbench.reports.style import COLOURS, GREY, HATCHES, LEGEND_ROW_IN, STYLE, new_figure
from revbench.reports.units import mebibytes, mebibytes_text
from revbench.reports.wording import describe


def models_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The activation peak per image as bars, grouped by model: one for each variant of the case, seeds apart."""
    rows = of_first_seed(rows)
    naming = [name for name in varying_fields(rows) if name != "model"]
    models = list(dict.fromkeys(row.case.model for row in rows))
    variants = list(dict.fromkeys(describe(row.case, naming) for row in rows))
    has_legend = len(variants) > 1
    with rc_context(STYLE):
        height_in = 0.5 + len(models) * max(0.24, 0.15 * len(variants)) + LEGEND_ROW_IN * has_legend
        figure = new_figure(rows, suite_title, height_in)
        axes = figure.subplots()
        for index, variant in enumerate(variants):
            cases = [row for row in rows if describe(row.case, naming) == variant]
            _draw_bars(axes, cases, variant, models, index=index, thickness=0.8 / len(variants))
        axes.set_xlim(0, 1.2 * axes.dataLim.x1 if any(row.activation_peak_bytes for row in rows) else 1)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_yticks(range(len(models)), models)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("activation peak (MiB per image)")
        if has_legend:
            figure.legend(loc="outside lower center", ncols=min(3, len(variants)), frameon=False)
    return figure


def _draw_bars(
    axes: Axes, rows: Sequence[CaseRow], variant: str, models: Sequence[str], *, index: int, thickness: float
) -> None:
    """Draws the bars of one variant, each with its number, or its status where there is no number."""
    look: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "hatch": HATCHES[index % len(HATCHES)]}
    places = [models.index(row.case.model) - 0.4 + thickness * (index + 0.5) for row in rows]
    measured = [
        (place, row.activation_peak_bytes_per_image)
        for place, row in zip(places, rows, strict=True)
        if row.activation_peak_bytes_per_image is not None
    ]
    axes.barh(
        [place for place, _ in measured],
        [mebibytes(value) for _, value in measured],
        height=thickness,
        edgecolor="white",
        linewidth=0.5,
        label=variant,
        **look,
    )
    for place, value in measured:
        write(axes, mebibytes_text(value), (mebibytes(value), place), (3, 0), "0")
    for place, row in zip(places, rows, strict=True):
        if row.failed("memory"):
            write(axes, row.pass_status("memory"), (0, place), (3, 0), GREY)
