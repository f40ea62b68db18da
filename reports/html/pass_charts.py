"""Charts of the other passes: restored gradients, gradients without some paths, accuracies, and costs along T."""

from collections.abc import Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import energies_by_model
from revbench.bench.analysis.row_groups import grouped, varying_fields
from revbench.bench.similarity.metric import KEPT
from revbench.reports.drawing import AXIS_LABELS, Look, looks
from revbench.reports.energy_wording import naming_fields
from revbench.reports.findings import growth_axis
from revbench.reports.html.chart import Chart, axes_layout, line_style, shown, tidy_table
from revbench.reports.html.line_charts import Line, Scale, line_chart
from revbench.reports.inference_cost import PANELS
from revbench.reports.restoration import Metric, restored
from revbench.reports.similarity_figure import LABELS, LOOKS, Points, over_epochs, over_layers
from revbench.reports.style import COLOURS, MARKERS
from revbench.reports.table_data import number_cell, status_cell, text_cell
from revbench.reports.throughput_figure import AXIS_LABELS as THROUGHPUT_AXES
from revbench.reports.throughput_figure import QUANTITIES as THROUGHPUT
from revbench.reports.throughput_figure import Quantity, at_base, groups_along
from revbench.reports.units import BYTES_PER_MEBIBYTE, mebibytes, mebibytes_text, share_text
from revbench.reports.wording import describe

PERCENT = 0.01
COSINE = Scale(column="gradient_cosine", label="gradient cosine", layout={"range": [-0.05, 1.05]})
FLIPPED = Scale(column="flipped_spike_share", label="flipped spikes (%)", base_units=PERCENT)
SIMILAR = Scale(column="gradient_cosine", label="gradient cosine", layout={"rangemode": "normal"})


def reversibility_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """Gradient cosine and flipped spikes along depth or T, a line for each way and precision."""
    axis = growth_axis(rows) or "timesteps"
    naming = ["model", "dtype", *(name for name in varying_fields(rows) if name not in ("model", "dtype", axis))]
    across = Scale(column=axis, label=AXIS_LABELS[axis])
    quantities: tuple[tuple[Metric, Scale, str], ...] = (
        ("gradient_cosine", COSINE, "Restored gradients beside those of plain autograd"),
        ("flipped_spike_share", FLIPPED, "Spikes that flip where they are computed again"),
    )
    groups = grouped(rows, axis)
    charts = []
    for metric, upwards, title in quantities:
        lines = []
        for index, group in enumerate(groups):
            for protected, told, stroke in ((True, "", "-"), (False, ", unprotected", "--")):
                points = [
                    (getattr(row.case, axis), value)
                    for row in group
                    if (value := restored(row, metric, protected=protected)) is not None
                ]
                look = Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], stroke)
                if points:
                    lines.append(Line(f"{describe(group[0].case, naming)}{told}", points, look))
        if lines:
            charts.append(line_chart(f"reversibility-{metric}", title, across, upwards, lines))
    return charts


def similarity_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """Cosines to the full gradient over the epochs, and of each layer at the end of training."""
    naming = ["model", *(name for name in varying_fields(rows) if name != "model")]
    charts = []
    for index, row in enumerate(rows, start=1):
        name = describe(row.case, naming)
        epochs = Scale(column="epoch", label="epochs of training")
        layers = Scale(column="layer", label="convolution or linear layer, in the network's order")
        for kind, across, found, told in (
            ("epochs", epochs, over_epochs(row), "over training"),
            ("layers", layers, over_layers(row), "of each layer, at the end of training"),
        ):
            if any(found.values()):
                title = f"Cosine to the full gradient, {name}: {told}"
                charts.append(line_chart(f"similarity-{kind}-{index}", title, across, SIMILAR, _kept(found)))
    return charts


def _kept(found: Points) -> list[Line]:
    return [Line(LABELS[kept], found[kept], LOOKS[kept]) for kept in KEPT if found[kept]]


def learning_chart(rows: Sequence[CaseRow]) -> Chart:
    """The accuracy of each case against its memory."""
    naming = ["model", "rule", *(name for name in varying_fields(rows) if name not in ("model", "rule", "seed"))]
    names = list(dict.fromkeys(describe(row.case, naming) for row in rows))
    traces = []
    for name, look in zip(names, looks(), strict=False):
        found = [
            (row.activation_peak_bytes_per_image, row.test_accuracy, row.case.seed)
            for row in rows
            if describe(row.case, naming) == name
            and row.activation_peak_bytes_per_image is not None
            and row.test_accuracy is not None
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": shown(name),
                "x": [mebibytes(num_bytes) for num_bytes, _, _ in found],
                "y": [accuracy / PERCENT for _, accuracy, _ in found],
                "customdata": [
                    [shown(name), share_text(accuracy), mebibytes_text(num_bytes), seed]
                    for num_bytes, accuracy, seed in found
                ],
                "hovertemplate": "%{customdata[0]}, seed %{customdata[3]}<br>%{customdata[1]} at %{customdata[2]} "
                "MiB per image<extra></extra>",
                "marker": line_style(look)["marker"],
            }
        )
    cells = [
        {
            "model": text_cell(describe(row.case, naming)),
            "seed": number_cell(row.case.seed, str),
            "activation_peak_bytes_per_image": number_cell(row.activation_peak_bytes_per_image, mebibytes_text),
            "test_accuracy": status_cell(row.pass_status("learning"))
            if row.failed("learning")
            else number_cell(row.test_accuracy, share_text),
        }
        for row in rows
    ]
    layout = axes_layout(
        "activation peak (MiB per image)", "test accuracy (%)", yaxis={"rangemode": "normal"}, xaxis={"type": "log"}
    )
    return Chart(name="learning", table=tidy_table("Accuracy against memory", cells), traces=traces, layout=layout)


def inference_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """The cost of an inference along T, a chart for each quantity that was counted."""
    groups = [group for group in grouped(rows, "timesteps") if len(group) > 1]
    naming = [name for name in varying_fields([group[0] for group in groups]) if name not in ("model", "timesteps")]
    across = Scale(column="timesteps", label=AXIS_LABELS["timesteps"])
    charts = []
    for index, panel in enumerate(PANELS, start=1):
        lines = [
            Line(describe(group[0].case, ["model", *naming]), points, look)
            for group, look in zip(groups, looks(), strict=False)
            if (points := [(row.case.timesteps, value) for row in group if (value := panel.number(row))])
        ]
        if lines:
            upwards = Scale(column=panel.label, label=panel.label)
            chart = line_chart(f"inference-{index}", f"Cost of an inference: {panel.label}", across, upwards, lines)
            charts.append(chart)
    return charts


def throughput_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """Images per second and the share of recomputation, a chart for each axis that varies, as in the figure."""
    naming = ["model", *(name for name in varying_fields(rows) if name not in ("model", *THROUGHPUT_AXES, "seed"))]
    charts = []
    for axis, label in THROUGHPUT_AXES.items():
        along = at_base(rows, axis)
        if len({getattr(row.case, axis) for row in along} - {None}) > 1:
            base = describe(along[0].case, [name for name in THROUGHPUT_AXES if name != axis])
            for quantity in THROUGHPUT:
                groups = groups_along(along, axis, quantity)
                lines = [
                    Line(describe(group[0].case, naming), points, look)
                    for group, look in zip(groups, looks(), strict=False)
                    if (points := _throughput_points(group, axis, quantity))
                ]
                if lines:
                    title = " ".join(quantity.label.split())
                    upwards = Scale(column=quantity.metric, label=title, base_units=1 / quantity.factor)
                    across = Scale(column=axis, label=label)
                    name = f"throughput-{quantity.metric}-{axis}"
                    charts.append(line_chart(name, f"{title}, {base}", across, upwards, lines))
    return charts


def _throughput_points(group: Sequence[CaseRow], axis: str, quantity: Quantity) -> list[tuple[float, float | str]]:
    """Numbers, and the status of the pass where it failed."""
    points: list[tuple[float, float | str]] = []
    for row in group:
        value: float | None = getattr(row, quantity.metric)
        if value is not None:
            points.append((getattr(row.case, axis), value))
        elif quantity.pass_name and row.failed(quantity.pass_name):
            points.append((getattr(row.case, axis), row.pass_status(quantity.pass_name)))
    return points


def price_chart(rows: Sequence[CaseRow]) -> Chart | None:
    """Operations of a training step against memory, one mark for all seeds; None where no case has both."""
    models = energies_by_model(rows)
    naming = naming_fields(models)
    priced = [
        (describe(row.case, naming), row.activation_peak_bytes_per_image, row.training_macs, row.recomputed_macs or 0)
        for model in models
        for row in model.counted[:1]
        if row.activation_peak_bytes_per_image is not None and row.training_macs
    ]
    if not priced:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": shown(name),
            "x": [num_bytes / BYTES_PER_MEBIBYTE],
            "y": [macs / 1e6],
            "error_y": {"type": "data", "symmetric": False, "array": [0], "arrayminus": [again / 1e6]},
            "marker": line_style(look)["marker"],
            "customdata": [[shown(name), share_text(again / macs)]],
            "hovertemplate": "%{customdata[0]}: %{x:,.3g} MiB per image, %{y:,.4g} million MACs, %{customdata[1]} of "
            "them computed again<extra></extra>",
        }
        for (name, num_bytes, macs, again), look in zip(priced, looks(), strict=False)
    ]
    cells = [
        {
            "model": text_cell(name),
            "activation_peak_bytes_per_image": number_cell(num_bytes, mebibytes_text),
            "training_macs": number_cell(macs, lambda count: f"{count:,.0f}"),
            "recomputed_macs": number_cell(again, lambda count: f"{count:,.0f}"),
        }
        for name, num_bytes, macs, again in priced
    ]
    title = "Memory against operations of a training step; below a mark, what is computed again"
    layout = axes_layout("activation peak (MiB per image)", "training (million MACs per image)")
    return Chart(
        name="price",
        table=tidy_table(title, cells),
        traces=traces,
        layout=layout,
        can_be_logarithmic=True,
    )
