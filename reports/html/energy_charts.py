"""Firing rates as heat maps, and where the energy of an inference goes."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import ModelEnergy, cost_models, energies_by_model, is_verified
from revbench.bench.energy.metric import HIERARCHIES
from revbench.reports.energy_table import cost_model_label
from revbench.reports.energy_wording import MARK, naming_fields
from revbench.reports.firing_figure import COLOURS_OF_RATES, firing_map
from revbench.reports.html.chart import Chart, Trace, axes_layout, hexadecimal, shown, tidy_table
from revbench.reports.parts_figure import LABELS, LEFT_OUT, LOOKS, TITLES, mean_parts_j
from revbench.reports.table_data import number_cell, text_cell
from revbench.reports.units import microjoules, share_text, significant_text
from revbench.reports.wording import describe

NOTHING_FIRES = "\N{MULTIPLICATION SIGN}"
LAYER_PIXELS = 14
NUM_SHADES = 8
BAR_PIXELS = 26
FRAME_PIXELS = 120
LEAST_PIXELS = 260


def firing_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """A heat map a model: a row a layer of neurons, a column a timestep, the mean over seeds; one scale for all.

    A cell in which nothing fires is crossed. Models that were not counted have no map.
    """
    models = energies_by_model(rows)
    naming = naming_fields(models)
    maps = [(model, found) for model in models if (found := firing_map(model)).size]
    largest = max((float(np.nanmax(found)) for _, found in maps), default=0.0)
    return [
        _firing_chart(index, describe(model.rows[0].case, naming), model, found, largest)
        for index, (model, found) in enumerate(maps, start=1)
    ]


def _firing_chart(index: int, name: str, model: ModelEnergy, found: np.ndarray, largest: float) -> Chart:
    names = {rate.layer: rate.name for row in model.counted for rate in row.energy.rates}
    num_layers, timesteps = found.shape
    layers, steps = range(1, num_layers + 1), range(1, timesteps + 1)
    rates = [[None if np.isnan(rate) else float(rate) for rate in line] for line in found]
    trace: Trace = {
        "type": "heatmap",
        "x": list(steps),
        "y": list(layers),
        "z": rates,
        "zmin": 0,
        "zmax": largest or 1,
        "colorscale": _shades(),
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "spikes a neuron<br>and timestep", "side": "right"}, "thickness": 12},
        "text": [[NOTHING_FIRES if rate == 0 else "" for rate in line] for line in rates],
        "texttemplate": "%{text}",
        "customdata": [
            [[shown(names.get(layer, "")), "" if rate is None else share_text(rate)] for rate in line]
            for layer, line in zip(layers, rates, strict=True)
        ],
        "hovertemplate": "layer %{y}, %{customdata[0]}<br>timestep %{x}: %{customdata[1]}<extra></extra>",
    }
    cells = [
        {
            "model": text_cell(name),
            "layer": number_cell(layer, str),
            "name": text_cell(names.get(layer)),
            "timestep": number_cell(step, str),
            "firing_rate": number_cell(rate, share_text),
        }
        for layer, line in zip(layers, rates, strict=True)
        for step, rate in zip(steps, line, strict=True)
    ]
    layout = axes_layout(
        "timestep",
        "layer of neurons",
        xaxis={"dtick": max(1, timesteps // 8), "rangemode": "normal"},
        yaxis={"autorange": "reversed", "rangemode": "normal", "dtick": max(1, num_layers // 12)},
    )
    layout["height"] = max(LEAST_PIXELS, FRAME_PIXELS + LAYER_PIXELS * num_layers)
    table = tidy_table(f"Firing rates of {name}", cells)
    return Chart(name=f"firing-{index}", table=table, traces=[trace], layout=layout)


def _shades() -> list[list[float | str]]:
    """The colours of the figure, from 0 to 1."""
    shades = colormaps[COLOURS_OF_RATES]
    return [[step / NUM_SHADES, str(to_hex(shades(step / NUM_SHADES)))] for step in range(NUM_SHADES + 1)]


def parts_charts(rows: Sequence[CaseRow]) -> list[Chart]:
    """The energy of an inference by its parts, stacked; a chart for each arithmetic with each memory hierarchy."""
    models = energies_by_model(rows)
    counted = [row for model in models for row in model.counted]
    arithmetics, _ = cost_models(counted)
    return [
        _parts_chart(models, arithmetic, hierarchy, is_verified(counted, arithmetic))
        for arithmetic in arithmetics
        if not arithmetic.startswith(LEFT_OUT)
        for hierarchy in HIERARCHIES
        if any(mean_parts_j(model, arithmetic, hierarchy) for model in models)
    ]


def _parts_chart(models: Sequence[ModelEnergy], arithmetic: str, hierarchy: str, verified: bool) -> Chart:
    naming = naming_fields(models)
    names = [describe(model.rows[0].case, naming) for model in models]
    parts = [mean_parts_j(model, arithmetic, hierarchy) for model in models]
    traces: list[Trace] = []
    for part, (colour, _) in LOOKS.items():
        found = [(name, each[part]) for name, each in zip(names, parts, strict=True) if part in each]
        if found:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": LABELS[part],
                    "x": [microjoules(joules) for _, joules in found],
                    "y": [shown(name) for name, _ in found],
                    "marker": {"color": hexadecimal(colour)},
                    "customdata": [significant_text(microjoules(joules)) for _, joules in found],
                    "hovertemplate": f"%{{y}}<br>{LABELS[part]}: %{{customdata}} µJ<extra></extra>",
                }
            )
    cells = [
        {
            "model": text_cell(name),
            "part": text_cell(part),
            "energy_j": number_cell(joules, lambda value: significant_text(microjoules(value))),
        }
        for name, each in zip(names, parts, strict=True)
        for part, joules in each.items()
    ]
    mark = "" if verified else f" {MARK}"
    title = f"Energy of an inference: {cost_model_label(arithmetic)}{mark}, {TITLES[hierarchy]}"
    layout = axes_layout(
        "energy (µJ)",
        "",
        yaxis={"type": "category", "categoryarray": [shown(name) for name in names], "autorange": "reversed"},
    )
    layout |= {"barmode": "stack", "height": max(LEAST_PIXELS, FRAME_PIXELS + BAR_PIXELS * len(models))}
    return Chart(
        name=f"energy-{arithmetic}-{hierarchy}",
        table=tidy_table(title, cells, {"energy_j": "µJ"}),
        traces=traces,
        layout=layout,
    )
