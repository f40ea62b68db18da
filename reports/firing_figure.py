"""Firing rates as heat maps: a panel a model, a row a layer of neurons, a column a timestep; the mean over seeds.

A cell in which nothing fires is crossed. A layer that has a timestep of its own, or none, fills its row. A model that
was not counted is a panel with the word that says why.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import ModelEnergy, energies_by_model
from revbench.reports.drawing import write
from revbench.reports.energy_wording import naming_fields
from revbench.reports.style import DOUBLE_WIDTH_IN, GREY, STYLE, new_figure
from revbench.reports.wording import describe

PANELS_IN_A_ROW = 5
LAYER_IN = 0.075
FRAME_IN = 0.62
LEAST_PANEL_IN = 0.7
COLOURS_OF_RATES = "Blues"
CROSS: dict[str, Any] = {"marker": "x", "color": GREY, "markersize": 2.5, "markeredgewidth": 0.6, "linestyle": "none"}


def firing_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The figure that the module describes; all panels share the scale of colours, from 0 to the largest rate."""
    models = energies_by_model(rows)
    naming = naming_fields(models)
    maps = [firing_map(model) for model in models]
    largest = max((float(np.nanmax(found)) for found in maps if found.size), default=1.0)
    columns = min(PANELS_IN_A_ROW, len(models))
    lines = [maps[i : i + columns] for i in range(0, len(maps), columns)]
    heights = [max(LEAST_PANEL_IN, LAYER_IN * max(len(found) for found in line)) + FRAME_IN for line in lines]
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new_figure([row for model in models for row in model.rows], suite_title, sum(heights), DOUBLE_WIDTH_IN)
        panels = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
        images = []
        for index, axes in enumerate(panels.flat):
            if index >= len(models):
                axes.set_axis_off()
                continue
            axes.set_title(describe(models[index].rows[0].case, naming).replace(", ", "\n"), loc="left")
            images += _draw(axes, maps[index], models[index], largest)
            if index % columns == 0:
                axes.set_ylabel("layer of neurons")
            axes.set_xlabel("timestep")
        if images:
            bar = figure.colorbar(images[0], ax=list(panels.flat), pad=0.01, aspect=30)
            bar.set_label("firing rate (spikes a neuron and timestep)")
            bar.outline.set_visible(False)
    return figure


def firing_map(model: ModelEnergy) -> np.ndarray:
    """Mean rates over seeds, `[layers, T]`; NaN where nothing was counted."""
    counted = model.counted
    num_layers = max((rate.layer for row in counted for rate in row.energy.rates), default=0)
    timesteps = model.rows[0].case.timesteps
    sums, counts = np.zeros((num_layers, timesteps)), np.zeros((num_layers, timesteps))
    for row in counted:
        for rate in row.energy.rates:
            where = (rate.layer - 1, slice(None) if rate.timestep is None else rate.timestep - 1)
            sums[where] += rate.rate
            counts[where] += 1
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _draw(axes: Axes, found: np.ndarray, model: ModelEnergy, largest: float) -> list[AxesImage]:
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if not found.size:
        axes.set_xticks([])
        axes.set_yticks([])
        word = model.failure
        write(axes, word, (0.5, 0.5), (0, 0), GREY, ha="center", xycoords="axes fraction")
        return []
    num_layers, timesteps = found.shape
    extent = (0.5, timesteps + 0.5, num_layers + 0.5, 0.5)
    image = axes.imshow(
        found, cmap=COLOURS_OF_RATES, vmin=0, vmax=largest, aspect="auto", extent=extent, interpolation="nearest"
    )
    layers, steps = np.nonzero(found == 0)
    axes.plot(steps + 1, layers + 1, **CROSS)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    return [image]
