"""Images per second against batch size, T and depth: training, inference, and the share that recomputation takes.

A panel for each axis that varies, at the values of the other two that most cases share. An inference is the same under
every rule and way of keeping activations, so one line stands for all of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.row_groups import grouped, varying_fields
from revbench.bench.cases import CASE_FIELDS
from revbench.bench.records import PassName
from revbench.reports import drawing
from revbench.reports.drawing import (
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
from revbench.reports.wording import describe

AXIS_LABELS = {
    "batch_size": "batch size",
    "timesteps": drawing.AXIS_LABELS["timesteps"],
    "depth": drawing.AXIS_LABELS["depth"],
}
SAME_INFERENCE = ("rule", "loss", "activations", "states", "optimizer")
"""Case fields that an inference does not depend on."""
PANEL_IN = 1.45
LEGEND_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a row of panels shows.

    Attributes:
        label: of the vertical axis.
        metric: the attribute of the rows.
        pass_name: the pass whose failures are open markers, if any.
        factor: from the attribute to what is drawn.
        logarithmic: whether the vertical axis is, beside the horizontal one.
        unmoved_by: case fields that it does not depend on.
    """

    label: str
    metric: str
    pass_name: PassName | None
    factor: float = 1
    logarithmic: bool = True
    unmoved_by: tuple[str, ...] = ()

    def of(self, row: CaseRow) -> float | None:
        """The number that is drawn; None where there is none."""
        value = getattr(row, self.metric)
        return None if value is None else self.factor * value


QUANTITIES = (
    Quantity("training\n(images/s)", "images_per_s", "time"),
    Quantity("inference\n(images/s)", "inference_images_per_s", "inference_time", unmoved_by=SAME_INFERENCE),
    Quantity("recomputation\n(% of the step)", "recomputation_share", None, factor=100, logarithmic=False),
)


def throughput_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure | None:
    """The figure; None where none of the three axes varies or nothing was timed."""
    axes_shown = [axis for axis in AXIS_LABELS if len({getattr(row.case, axis) for row in rows} - {None}) > 1]
    shown = [quantity for quantity in QUANTITIES if any(quantity.of(row) is not None for row in rows)]
    if not axes_shown or not shown:
        return None
    naming = ["model", *(name for name in varying_fields(rows) if name not in ("model", *AXIS_LABELS, "seed"))]
    looks = looks_of(describe(row.case, naming) for row in rows)
    with rc_context(STYLE):
        legend_in = legend_height_in(len(looks), LEGEND_COLUMNS)
        figure = new_figure(rows, suite_title, PANEL_IN * len(shown) + 0.3 + legend_in, DOUBLE_WIDTH_IN)
        panels = figure.subplots(len(shown), len(axes_shown), squeeze=False, sharex="col", sharey="row")
        for quantity, line_of_panels in zip(shown, panels, strict=True):
            for axis, axes in zip(axes_shown, line_of_panels, strict=True):
                _draw_panel(axes, at_base(rows, axis), axis, quantity, looks, naming)
            line_of_panels[0].set_ylabel(quantity.label)
        for axis, top, bottom in zip(axes_shown, panels[0], panels[-1], strict=True):
            top.set_title(describe(at_base(rows, axis)[0].case, [name for name in AXIS_LABELS if name != axis]))
            bottom.set_xlabel(AXIS_LABELS[axis])
        legend_below(figure, looks, LEGEND_COLUMNS)
    return figure


def at_base(rows: Sequence[CaseRow], axis: str) -> list[CaseRow]:
    """The rows along the axis, at the values of the other axes that most rows share."""
    for other in AXIS_LABELS:
        if other != axis:
            ((base, _),) = Counter(getattr(row.case, other) for row in rows).most_common(1)
            rows = [row for row in rows if getattr(row.case, other) == base]
    return list(rows)


def groups_along(rows: Sequence[CaseRow], axis: str, quantity: Quantity) -> list[list[CaseRow]]:
    """Rows that differ on the axis alone; of groups between which the quantity does not differ, the first."""
    moving = [field for field in CASE_FIELDS if field not in (axis, *quantity.unmoved_by)]
    groups: dict[tuple[object, ...], list[CaseRow]] = {}
    for group in grouped(rows, axis):
        groups.setdefault(tuple(getattr(group[0].case, field) for field in moving), group)
    return list(groups.values())


def _draw_panel(
    axes: Axes,
    rows: Sequence[CaseRow],
    axis: str,
    quantity: Quantity,
    looks: Mapping[str, Look],
    naming: Sequence[str],
) -> None:
    scale_by_twos(axes, sorted({getattr(row.case, axis) for row in rows} - {None}))
    if quantity.logarithmic:
        axes.set_yscale("log")
    failed: list[tuple[Look, float]] = []
    for group in groups_along(rows, axis, quantity):
        look = looks[describe(group[0].case, naming)]
        found = [(getattr(row.case, axis), value) for row in group if (value := quantity.of(row)) is not None]
        draw_line(axes, look, found)
        failed += [
            (look, getattr(row.case, axis))
            for row in group
            if quantity.pass_name and row.pass_status(quantity.pass_name) not in ("ok", "unsupported", NOT_MEASURED)
        ]
    draw_open_markers(axes, failed, edge=0)
    if quantity.logarithmic:
        mark_upwards(axes)
