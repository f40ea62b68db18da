"""What was learnt and what it cost: accuracy, memory and time side by side, a band a model, a mark a rule.

Every seed has its mark; those of a rule lie on one line of the band. A case without an accuracy is an open marker at
the left edge with the word that says why. Where no memory was measured, accuracy and time stand alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.row_groups import varying_fields
from revbench.reports.drawing import Look, legend_below, legend_height_in, looks_of, write
from revbench.reports.style import DOUBLE_WIDTH_IN, GREY, STYLE, new_figure
from revbench.reports.units import BYTES_PER_MEBIBYTE
from revbench.reports.wording import describe

LINE_IN = 0.085
BAND_GAP = 1.5
LEGEND_COLUMNS = 6
WORST_SHOWN = 50.0
NARROW_SPAN = 3
"""Peaks nearer to each other stand on a linear axis: a logarithmic one would have no round number between them."""


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A column of the figure: an attribute of the rows in a unit."""

    metric: str
    label: str
    unit: float


ACCURACY = _Quantity("test_accuracy", "test accuracy (%)", 0.01)
MEMORY = _Quantity("activation_peak_bytes_per_image", "activation peak (MiB per image)", BYTES_PER_MEBIBYTE)
TIME = _Quantity("train_s", "training (s)", 1)


def learning_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The figure that the module describes; accuracies below 50 % stand at the left edge."""
    naming = ["rule", *(name for name in varying_fields(rows) if name not in ("model", "rule", "seed"))]
    models = list(dict.fromkeys(row.case.model for row in rows))
    variants = list(dict.fromkeys(describe(row.case, naming) for row in rows))
    looks = {name: replace(look, line_style="none") for name, look in looks_of(variants).items()}
    band = len(variants) + BAND_GAP
    with rc_context(STYLE):
        legend_in = legend_height_in(len(variants), LEGEND_COLUMNS)
        figure = new_figure(rows, suite_title, LINE_IN * band * len(models) + 0.45 + legend_in, DOUBLE_WIDTH_IN)
        peaks = [peak for row in rows if (peak := row.activation_peak_bytes_per_image)]
        quantities = (ACCURACY, MEMORY, TIME) if peaks else (ACCURACY, TIME)
        panels = figure.subplots(1, len(quantities), sharey=True)
        for axes, quantity in zip(panels, quantities, strict=True):
            for row in rows:
                name = describe(row.case, naming)
                line = models.index(row.case.model) * band + variants.index(name)
                _mark(axes, row, quantity, line, looks[name])
            axes.set_xlabel(quantity.label)
            axes.grid(visible=False, axis="y")
        panels[0].set_xlim(right=100.5)
        if peaks:
            _scale_memory(panels[1], peaks)
        panels[-1].set_xlim(left=0)
        panels[0].set_yticks([(len(variants) - 1) / 2 + band * i for i in range(len(models))], models)
        panels[0].set_ylim(band * len(models) - BAND_GAP, -BAND_GAP)
        for axes in panels:
            axes.tick_params(axis="y", length=0)
            for i in range(1, len(models)):
                axes.axhline(i * band - (1 + BAND_GAP) / 2, color="0.9", linewidth=0.5)
        legend_below(figure, looks, LEGEND_COLUMNS)
    return figure


def _scale_memory(axes: Axes, peaks: Sequence[float]) -> None:
    if max(peaks) < NARROW_SPAN * min(peaks):
        axes.set_xlim(0, 1.1 * max(peaks) / BYTES_PER_MEBIBYTE)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _mark(axes: Axes, row: CaseRow, quantity: _Quantity, line: float, look: Look) -> None:
    value = getattr(row, quantity.metric)
    if value is not None:
        shown = value / quantity.unit
        if quantity is ACCURACY:
            shown = max(shown, WORST_SHOWN)
        axes.plot([shown], [line], alpha=0.8, markersize=3, markeredgewidth=0, clip_on=False, **look.line())
    elif quantity is ACCURACY and row.failed("learning"):
        axes.plot([0], [line], transform=axes.get_yaxis_transform(), markersize=3, clip_on=False, **look.open_marker())
        write(axes, row.pass_status("learning"), (0, line), (4, 0), GREY, xycoords=axes.get_yaxis_transform())
