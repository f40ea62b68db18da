"""Memory saved against operations paid: the activation peak of a training step beside its multiply-accumulates.

What the backward pass evaluates once more is the line below a mark: without it, the step would cost what its foot
says, and need more memory. A case of which one of both is not known has no mark.
"""

from collections.abc import Sequence
from itertools import cycle

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import energies_by_model
from revbench.reports.drawing import Look
from revbench.reports.energy_wording import naming_fields
from revbench.reports.style import COLOURS, GREY, LEGEND_ROW_IN, MARKERS, STYLE, new_figure
from revbench.reports.units import mebibytes
from revbench.reports.wording import describe

RECOMPUTED = "recomputed"
MOST_LETTERS_BY_COLUMNS = {3: 13, 2: 26}


def price_figure(rows: Sequence[CaseRow], suite_title: str) -> Figure:
    """The figure that the module describes, both axes logarithmic; one mark for all seeds, which cost the same."""
    models = energies_by_model(rows)
    naming = naming_fields(models)
    with rc_context(STYLE):
        names = [describe(model.rows[0].case, naming) for model in models]
        fitting = (n for n, letters in MOST_LETTERS_BY_COLUMNS.items() if max(map(len, names)) <= letters)
        columns = next(fitting, 1)
        legend_in = LEGEND_ROW_IN * -(-(len(models) + 1) // columns)
        figure = new_figure([row for model in models for row in model.rows], suite_title, 2.2 + legend_in)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        handles = []
        for model, name, colour, marker in zip(models, names, cycle(COLOURS), cycle(MARKERS), strict=False):
            look = Look(colour, marker, "none")
            handles.append(Line2D([], [], label=name, **look.line()))
            for row in model.counted[:1]:
                if row.activation_peak_bytes_per_image and row.training_macs:
                    memory, paid = mebibytes(row.activation_peak_bytes_per_image), row.training_macs / 1e6
                    without = paid - (row.recomputed_macs or 0) / 1e6
                    if without < paid:
                        axes.plot([memory, memory], [without, paid], color=colour, linewidth=1.2)
                        axes.plot([memory], [without], color=colour, marker="_", linestyle="none")
                    axes.plot([memory], [paid], zorder=3, **look.line())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        axes.margins(0.12)
        axes.set_xlabel("activation peak (MiB per image)")
        axes.set_ylabel("training (million MACs per image)")
        if any(row.recomputed_macs for model in models for row in model.counted):
            handles.append(Line2D([], [], color=GREY, marker="_", label=RECOMPUTED))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    return figure
