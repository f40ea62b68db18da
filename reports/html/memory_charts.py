"""Who holds the bytes of a training step: over its course by kind, two cases over each other, and at the peak."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.colors import to_rgb

from revbench.bench.memory.explain import Explanation
from revbench.bench.memory.timeline import KINDS
from revbench.bench.records import Record
from revbench.reports.html.chart import Chart, Layout, Trace, axes_layout, hexadecimal, shown, tidy_table
from revbench.reports.live_bytes import (
    KINDS_FROM_BELOW,
    LOOKS,
    MOST_NAMED_PHASES,
    Curve,
    Step,
    live_curve,
    overlaid,
    phase_widths,
)
from revbench.reports.style import COLOURS
from revbench.reports.table_data import number_cell, text_cell
from revbench.reports.units import mebibytes, mebibytes_text, share_text

GREY = "#808080"
GROUND_OF_TREES = "#5a5a5a"
LIGHT = 0.4
"""Luminance above which black is the more legible."""
TREE_LAYOUT: Layout = {"margin": {"l": 0, "r": 0, "t": 8, "b": 8}, "height": 480}
TreePath = tuple[str, ...]


def timeline_chart(step: Step, name: str, index: int, widths: np.ndarray) -> Chart:
    """The live bytes of one case, stacked by kind; at each place along the step the instant of the most bytes."""
    curve = live_curve(step, widths)
    shown_kinds = [(kind, curve.by_kind[row]) for row, kind in enumerate(KINDS_FROM_BELOW) if curve.by_kind[row].any()]
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "kinds",
            "name": LOOKS[kind].name,
            "x": curve.places.tolist(),
            "y": [mebibytes(int(num_bytes)) for num_bytes in values],
            "line": {"shape": "hv", "width": 0, "color": hexadecimal(LOOKS[kind].colour)},
            "fillcolor": hexadecimal(LOOKS[kind].colour),
            "hovertemplate": "%{y:,.2f} MiB",
        }
        for kind, values in shown_kinds
    ]
    layout = _along_the_step(step.phases, widths)
    layout["annotations"] = [_peak(curve)]
    layout["hovermode"] = "x unified"
    layout["legend"] = {"traceorder": "reversed"}
    rows = [
        {
            "case": text_cell(name),
            "place": number_cell(float(place), str),
            **{f"{kind}_bytes": number_cell(int(values[at]), mebibytes_text) for kind, values in shown_kinds},
            "live_bytes": number_cell(int(curve.total[at]), mebibytes_text),
        }
        for at, place in enumerate(curve.places)
    ]
    table = tidy_table(f"Live bytes of {name}, by kind", rows)
    return Chart(name=f"timeline-{index}", table=table, traces=traces, layout=layout)


def timeline_charts(steps: Sequence[Step], names: Sequence[str]) -> list[Chart]:
    """A timeline for each case, the phases of one as wide as those of the other where both have the same."""
    widths = phase_widths(steps)
    return [
        timeline_chart(step, name, index, width)
        for index, (step, name, width) in enumerate(zip(steps, names, widths, strict=True), start=1)
    ]


def overlay_chart(steps: Sequence[Step], names: Sequence[str]) -> Chart:
    """The live bytes of the cases over each other; phase over phase where all have the same."""
    curves, widths = overlaid(steps)
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": shown(name),
            "x": curve.places.tolist(),
            "y": [mebibytes(int(num_bytes)) for num_bytes in curve.total],
            "line": {"shape": "hv", "width": 1.5, "color": COLOURS[index], "dash": "solid" if index == 0 else "dash"},
            "fill": "tozeroy",
            "fillcolor": f"{COLOURS[index]}26",
            "customdata": [[shown(name)] for _ in curve.places],
            "hovertemplate": "%{customdata[0]}: %{y:,.2f} MiB<extra></extra>",
        }
        for index, (name, curve) in enumerate(zip(names, curves, strict=True))
    ]
    layout = _along_the_step(steps[0].phases if widths is not None else [], widths)
    layout["annotations"] = [_peak(curve) for curve in curves]
    rows = [
        {
            "case": text_cell(name),
            "place": number_cell(float(place), str),
            "live_bytes": number_cell(int(num_bytes), mebibytes_text),
        }
        for name, curve in zip(names, curves, strict=True)
        for place, num_bytes in zip(curve.places, curve.total, strict=True)
    ]
    table = tidy_table(f"Live bytes of {' and '.join(names)}", rows)
    return Chart(name="overlay", table=table, traces=traces, layout=layout, is_wide=True)


def peak_treemap(explanation: Explanation, name: str, index: int) -> Chart:
    """Who holds the bytes at the peak: kind, within it the layer, within that the timestep; areas are bytes."""
    amounts: dict[TreePath, int] = {}
    for cell in explanation.blocks:
        path = (cell.kind, cell.place.layer, cell.place.timesteps)
        amounts[path] = amounts.get(path, 0) + cell.num_bytes
    rows = [
        {
            "kind": text_cell(path[0]),
            "layer": text_cell(path[1]),
            "timesteps": text_cell(path[2]),
            "bytes": number_cell(num_bytes, mebibytes_text),
        }
        for path, num_bytes in amounts.items()
    ]
    words = {path: f"timestep {path[2]}" if path[2] != "all" else "all timesteps" for path in amounts}
    return Chart(
        name=f"peak-{index}",
        table=tidy_table(f"The peak of {name}", rows, {"bytes": "MiB"}),
        traces=[treemap(f"peak of {name}", amounts, words)],
        layout=TREE_LAYOUT,
        is_wide=True,
    )


def treemap(whole: str, amounts: Mapping[TreePath, int], words: Mapping[TreePath, str], whole_depth: int = 0) -> Trace:
    """Areas of bytes within areas, each with its share of the area that holds it at some depth.

    Args:
        whole: what all of it is called.
        amounts: bytes by path; the first part of each is a storage kind, which tells its colour.
        words: what a path is called, where that is not its last part.
        whole_depth: of the area that shares are of; 0 is the whole.
    """
    sums: dict[TreePath, int] = {}
    for path, num_bytes in amounts.items():
        for depth in range(len(path) + 1):
            sums[path[:depth]] = sums.get(path[:depth], 0) + num_bytes
    paths = list(sums)
    number = {path: str(index) for index, path in enumerate(paths)}
    return {
        "type": "treemap",
        "branchvalues": "total",
        "ids": [number[path] for path in paths],
        "parents": [number[path[:-1]] if path else "" for path in paths],
        "labels": [_label(path, whole, words) for path in paths],
        "values": [sums[path] for path in paths],
        "text": [
            f"{mebibytes_text(sums[path])} MiB"
            + (f", {share_text(sums[path] / sums[path[:whole_depth]])}" if len(path) > whole_depth else "")
            for path in paths
        ],
        "texttemplate": "%{label}<br>%{text}",
        "hovertemplate": "%{label}: %{text}<extra></extra>",
        "marker": {"colors": [_kind_colour(path) for path in paths], "line": {"width": 1, "color": "white"}},
        "textfont": {"color": [_legible_on(_kind_colour(path)) for path in paths]},
        "tiling": {"pad": 2},
    }


def _label(path: TreePath, whole: str, words: Mapping[TreePath, str]) -> str:
    if not path:
        return shown(whole)
    if path in words:
        return shown(words[path])
    return shown(LOOKS[path[-1]].name if path[-1] in LOOKS else path[-1])


def _kind_colour(path: TreePath) -> str:
    kind = next((part for part in path if part in LOOKS), None)
    return hexadecimal(LOOKS[kind].colour) if kind else GROUND_OF_TREES


def _legible_on(ground: str) -> str:
    """Black or white, whichever stands out more."""
    red, green, blue = to_rgb(ground)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > LIGHT else "white"


def _along_the_step(phases: Sequence[str], widths: np.ndarray | None) -> Layout:
    """The axes, with dotted lines between phases and their names where they are few."""
    borders = [0.0] if widths is None else [0.0, *np.cumsum(widths).tolist()]
    layout = axes_layout(
        "training step, from its first operator to its last",
        "live bytes (MiB)",
        xaxis={"range": [0, 1], "showgrid": False, "showticklabels": False, "tickvals": []},
    )
    if 0 < len(phases) <= MOST_NAMED_PHASES:
        middles = [(left + right) / 2 for left, right in pairwise(borders)]
        layout["xaxis"] |= {"showticklabels": True, "tickvals": middles, "ticktext": [shown(name) for name in phases]}
    layout["shapes"] = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": border,
            "x1": border,
            "y0": 0,
            "y1": 1,
            "line": {"color": GREY, "width": 1, "dash": "dot"},
        }
        for border in borders[1:-1]
    ]
    return layout


def _peak(curve: Curve) -> dict[str, object]:
    instant = int(curve.total.argmax())
    return {
        "x": float(curve.places[instant]),
        "y": mebibytes(int(curve.total[instant])),
        "text": f"peak {mebibytes_text(int(curve.total[instant]))} MiB",
        "showarrow": True,
        "arrowhead": 6,
        "arrowcolor": GREY,
        "ax": 0,
        "ay": -24,
    }


def peaks_chart(records: Sequence[Record]) -> Chart | None:
    """What the peak of each case consists of, as the records have it: case, within it the kind; None without any."""
    amounts: dict[TreePath, int] = {}
    names: dict[TreePath, str] = {}
    for record in records:
        kind = record.metric.removeprefix("peak_").removesuffix("_bytes")
        if record.metric == f"peak_{kind}_bytes" and kind in KINDS and record.value:
            amounts[record.case.id, kind] = int(record.value)
            names[record.case.id,] = record.case.label()
    if not amounts:
        return None
    rows = [
        {
            "case": text_cell(names[case,]),
            "kind": text_cell(kind),
            "peak_bytes": number_cell(num_bytes, mebibytes_text),
        }
        for (case, kind), num_bytes in amounts.items()
    ]
    return Chart(
        name="peaks",
        table=tidy_table("What the peaks of the whole step consist of", rows, {"peak_bytes": "MiB"}),
        traces=[treemap("all cases", amounts, names, whole_depth=1)],
        layout=TREE_LAYOUT,
        is_wide=True,
    )
