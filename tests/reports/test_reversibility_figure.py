from collections.abc import Iterable
from dataclasses import replace

import closings
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case, DType
from revbench.bench.records import Status
from revbench.reports.reversibility_figure import reversibility_figure
from revbench.reports.style import COLOURS

pytestmark = pytest.mark.filterwarnings("error")


def row(
    depth: int | None = 1,
    timesteps: int = 4,
    dtype: DType = "float32",
    *,
    model: str = "rev",
    seed: int = 0,
    status: Status = "ok",
    **values: float,
) -> CaseRow:
    """A row of which the reversibility pass was run; where it went well, spikes were compared."""
    case = Case(model=model, depth=depth, timesteps=timesteps, dtype=dtype, seed=seed)
    closing = closings.closing(case, "reversibility", status)
    spikes = {"flipped_spike_share": 0.0} if status == "ok" else {}
    return CaseRow(case=case, closings=(closing,), **(spikes | values))  # type: ignore[arg-type]


def points(line: Line2D) -> list[tuple[float, float]]:
    """The points of a line as they were given."""
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata()).tolist()]


def lines(axes: Axes) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """The points of each line that has some, by colour and line style."""
    drawn = [line for line in axes.lines if line.get_linestyle() != "None" and len(line.get_xdata()) > 0]
    return {(to_hex(line.get_color()).upper(), line.get_linestyle()): points(line) for line in drawn}


def open_markers(axes: Axes) -> list[tuple[str, float, float]]:
    """Colour, place and edge of the open markers."""
    drawn = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    return [(to_hex(line.get_color()).upper(), *points(line)[0]) for line in drawn]


def words(axes: Axes) -> list[str]:
    """All that is written into the axes."""
    return [text.get_text() for text in axes.texts]


def panel_titles(figure: Figure) -> list[str]:
    """The names of the rows of panels."""
    return [title for axes in figure.axes if (title := axes.get_title(loc="left"))]


def labels(axes: Iterable[Axes]) -> list[str]:
    """The labels across."""
    return [each.get_xlabel() for each in axes]


BOTH_AXES = [
    row(1, 4, gradient_cosine=1.0),
    row(1, 8, gradient_cosine=0.75),
    row(4, 4, gradient_cosine=0.5),
    row(4, 8, gradient_cosine=0.875, flipped_spike_share=0.25),
]


def test_a_point_is_the_worst_case_at_its_place() -> None:
    """Golden points: the lowest cosine and the highest share, along depth over all T and the other way round."""
    figure = reversibility_figure(BOTH_AXES, "")
    look = (COLOURS[1], "-")
    assert [lines(axes)[look] for axes in figure.axes] == [
        [(1, 0.75), (4, 0.5)],
        [(4, 0.5), (8, 0.75)],
        [(1, 0), (4, 25)],
        [(4, 0), (8, 25)],
    ]


def test_the_panels_say_what_they_show() -> None:
    """Quantities stand at the left, axes below, with the cases that a point is the worst of."""
    figure = reversibility_figure(BOTH_AXES, "")
    depth, timesteps = "depth (blocks per stage)\nworst of T=4, 8", "timesteps T\nworst of depth 1, 4"
    assert labels(figure.axes) == [depth, timesteps] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["gradient cosine", "", "flipped spikes (%)", ""]
    assert [list(axes.get_xticks()) for axes in figure.axes] == [[1, 4], [4, 8]] * 2
    assert figure.get_figwidth() == 7.0


def test_the_worst_is_also_over_seeds() -> None:
    """Several draws of weights and input are one point, and the label says so."""
    rows = [row(None, 4, seed=seed, gradient_cosine=cosine) for seed, cosine in enumerate((0.5, 1.0))]
    figure = reversibility_figure(rows, "")
    assert labels(figure.axes) == ["timesteps T\nworst of seed 0, 1"] * 2
    assert lines(figure.axes[0]) == {(COLOURS[1], "-"): [(4, 0.5)]}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(1, 4), row(2, 4)], ["depth (blocks per stage)"]),
        ([row(1, 4), row(1, 8)], ["timesteps T"]),
        ([row(1, 4)], ["timesteps T"]),
        ([row(1, 4), row(2, 4), row(None, 4)], ["depth (blocks per stage)", "timesteps T\nworst of depth 1, 2"]),
    ],
    ids=["depth varies", "timesteps vary", "neither varies", "a model of a fixed size among families"],
)
def test_what_varies_is_drawn(rows: list[CaseRow], expected: list[str]) -> None:
    """No column for what does not vary, and always one in which each case has a place."""
    assert labels(reversibility_figure(rows, "").axes) == expected * 2


def test_precisions_and_protections_differ_without_colour() -> None:
    """Colour and marker tell the precision, the line style whether there were protections; a legend says so."""
    dtypes: tuple[DType, ...] = ("float16", "float64", "bfloat16")
    rows = [row(1, 4, dtype, gradient_cosine=1.0, unprotected_gradient_cosine=0.25) for dtype in dtypes]
    figure = reversibility_figure(rows, "")
    drawn = lines(figure.axes[0])
    assert [style for _, style in drawn] == ["-", "--"] * 3
    assert [values for (_, style), values in drawn.items() if style == "--"] == [[(4, 0.25)]] * 3
    (legend,) = figure.legends
    named = [text.get_text().split(":")[0] for text in legend.get_texts()]
    assert named == ["float64", "bfloat16", "float16", "protected", "unprotected"]
    markers = [handle.get_marker() for handle in legend.legend_handles[:3] if isinstance(handle, Line2D)]
    assert len(set(markers)) == 3


def test_models_and_their_variants_have_panels_of_their_own() -> None:
    """What is not an axis, a precision or a seed is told apart by panels, with the same scale."""
    trevsnn = row(1, 4, model="trevsnn", gradient_cosine=-0.5)
    coded = replace(trevsnn, case=replace(trevsnn.case, states="coded"), gradient_cosine=1.0)
    inverted = replace(trevsnn, case=replace(trevsnn.case, states="inverted"))
    figure = reversibility_figure([row(1, 4, gradient_cosine=1.0), coded, inverted], "")
    assert panel_titles(figure) == ["rev", "trevsnn, coded states", "trevsnn, inverted states"]
    assert len({axes.get_ylim() for axes in figure.axes[::2]}) == 1
    assert figure.axes[0].get_ylim()[0] < -0.5


def test_a_gradient_out_of_range_is_an_open_marker_below() -> None:
    """At the worse end, in the colour of its precision, once though it failed with and without protections."""
    rows = [
        row(1, 4, "float16", gradient_cosine=1.0, unprotected_gradient_cosine=1.0, unprotected_flipped_spike_share=0.0),
        row(1, 8, "float16", unprotected_flipped_spike_share=0.5),
    ]
    cosines, flips = reversibility_figure(rows, "").axes
    assert open_markers(cosines) == [(COLOURS[3], 8, 0)]
    assert words(cosines) == ["out of range"]
    assert lines(cosines) == {(COLOURS[3], "-"): [(4, 1)], (COLOURS[3], "--"): [(4, 1)]}
    assert open_markers(flips) == []
    assert lines(flips)[COLOURS[3], "--"] == [(4, 0), (8, 50)]


def test_what_is_out_of_range_without_protections_alone_is_told_so() -> None:
    """The protected point is there, and the word says what the open marker is about."""
    cosines, _ = reversibility_figure([row(gradient_cosine=1.0, unprotected_flipped_spike_share=0.5)], "").axes
    assert words(cosines) == ["unprotected: out of range"]
    assert lines(cosines) == {(COLOURS[1], "-"): [(4, 1)]}


def test_cases_that_failed_are_open_markers_at_the_worse_end() -> None:
    """Each status has a row of markers and is written once; no case is without a point or a marker."""
    rows = [
        row(1, 4, gradient_cosine=1.0),
        row(1, 8, status="oom"),
        row(1, 16, status="oom"),
        row(1, 16, "float64", status="timeout"),
    ]
    figure = reversibility_figure(rows, "")
    for axes, edge in zip(figure.axes, (0, 1), strict=True):
        found = {(COLOURS[0], 16, edge), (COLOURS[1], 8, edge), (COLOURS[1], 16, edge)}
        assert set(open_markers(axes)) == found
        assert sorted(words(axes)) == ["oom", "timeout"]
    figure.draw_without_rendering()
    markers = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    heights = {round(float(marker.get_transform().transform(points(marker)[0])[1])) for marker in markers}
    assert len(heights) == 2


def test_no_flips_are_drawn_at_zero_beside_few_and_many() -> None:
    """The scale of shares holds zero, the smallest share and the largest."""
    shares = (0.0, 2e-7, 0.3)
    rows = [row(depth, 4, flipped_spike_share=share) for depth, share in zip((1, 2, 4), shares, strict=True)]
    _, flips = reversibility_figure(rows, "").axes
    assert lines(flips) == {(COLOURS[1], "-"): [(1, 0), (2, pytest.approx(2e-5)), (4, 30)]}
    heights = flips.transAxes.inverted().transform(flips.transData.transform([(1, 0), (1, 2e-5), (1, 30)]))[:, 1]
    assert 0 < heights[0] < heights[1] - 0.05
    assert heights[1] < heights[2] - 0.5 < 0.5
    assert [tick.get_text() for tick in flips.get_yticklabels()] == ["0", "1e-05", "0.001", "0.1", "10"]


def test_nothing_but_zero_flips_is_legible() -> None:
    """A scale without a single flipped spike has zero on it."""
    _, flips = reversibility_figure([row()], "").axes
    low, high = flips.get_ylim()
    assert low < 0 < high
