"""The figure of the similarity pass: points, lines, and cases without numbers."""

import closings
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case
from revbench.bench.records import Status
from revbench.bench.similarity.metric import KEPT, Kept, SimilarityMetric
from revbench.reports.similarity_figure import LABELS, LOOKS, nines, of_nines, similarity_figure

Values = dict[tuple[Kept, int, int | None], float | None]
VALUES: Values = {
    ("stage_ends", 1, None): 0.75,
    ("stage_ends", 0, None): 0.5,
    ("elsewhere", 0, None): 0.25,
    ("elsewhere", 1, None): None,
    ("nowhere", 0, None): -0.5,
    ("nowhere", 1, None): 0.0,
    ("stage_ends", 0, 1): 0.125,
    ("stage_ends", 1, 2): 1.0,
    ("stage_ends", 1, 1): 0.625,
    ("elsewhere", 1, 1): None,
    ("elsewhere", 1, 2): 0.875,
    ("nowhere", 1, 1): 0.375,
    ("nowhere", 1, 2): 0.5,
}


def row(values: Values, model: str = "msresnet", status: Status = "ok", seed: int = 0) -> CaseRow:
    """A row of a pass that ended so."""
    case = Case(model=model, depth=1, seed=seed)
    closing = closings.closing(case, "similarity", status)
    similarities = tuple((SimilarityMetric(*key), value) for key, value in values.items())
    return CaseRow(case=case, closings=(closing,), similarities=similarities)


def lines(axes: Axes) -> list[list[tuple[float, float]]]:
    """The points of each line, in the order of `KEPT`."""
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata()).tolist()] for line in axes.lines]


def titles(figure: Figure) -> list[str]:
    """What names the rows of panels."""
    return [title for axes in figure.axes if (title := axes.get_title(loc="left"))]


def test_all_parameters_over_the_epochs_and_layers_at_the_end() -> None:
    """Golden points, in order of epoch or layer; what is no number is no point."""
    epochs, layers = similarity_figure([row(VALUES)], "").axes
    assert lines(epochs) == [[(0, 0.5), (1, 0.75)], [(0, 0.25)], [(0, -0.5), (1, 0)]]
    assert lines(layers) == [[(1, 0.625), (2, 1)], [(2, 0.875)], [(1, 0.375), (2, 0.5)]]


def test_lines_differ_without_colour_and_the_legend_names_them() -> None:
    """Each line looks as the legend says."""
    figure = similarity_figure([row(VALUES)], "")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [LABELS[kept] for kept in KEPT]
    for axes in figure.axes:
        for line, kept, handle in zip(axes.lines, KEPT, legend.legend_handles, strict=True):
            assert (line.get_color(), line.get_marker()) == (LOOKS[kept].colour, LOOKS[kept].marker)
            assert line.get_linestyle() == LOOKS[kept].line_style
            assert handle is not None
            assert handle.get_color() == line.get_color()  # type: ignore[attr-defined]
    assert len({look.marker for look in LOOKS.values()}) == 3


def test_cases_are_rows_on_one_scale() -> None:
    """Named by model and what else varies; the scale holds the lowest of all points that are drawn."""
    high: Values = dict.fromkeys(VALUES, 0.99)
    figure = similarity_figure([row(high), row(high, seed=1), row(VALUES, model="vggbn")], "")
    assert titles(figure) == ["msresnet, mean of 2 seeds", "vggbn, seed 0"]
    ((low, top),) = {axes.get_ylim() for axes in figure.axes}
    assert low < -0.5
    assert 0.9999 < top < 1


def test_seeds_are_one_line_and_a_band() -> None:
    """The line is their mean at each place, the band goes from lowest to highest, and a failed seed is named."""
    other = {key: None if value is None else value - 0.5 for key, value in VALUES.items()}
    other["nowhere", 1, None] = None
    figure = similarity_figure([row(VALUES), row(other, seed=1), row({}, status="timeout", seed=2)], "")
    epochs, _ = figure.axes
    assert titles(figure) == ["msresnet, mean of 2 seeds, seed 2: timeout"]
    assert lines(epochs) == [[(0, 0.25), (1, 0.5)], [(0, 0)], [(0, -0.75), (1, 0)]]
    corners = [{(float(x), float(y)) for x, y in band.get_paths()[0].vertices.tolist()} for band in epochs.collections]
    assert corners == [{(0, 0), (0, 0.5), (1, 0.25), (1, 0.75)}, {(0, -0.25), (0, 0.25)}, {(0, -1), (0, -0.5), (1, 0)}]


def test_seeds_without_any_numbers_have_no_mean() -> None:
    """The panel says what became of them."""
    figure = similarity_figure([row({}, status="timeout"), row({}, status="timeout", seed=1)], "")
    assert titles(figure) == ["msresnet"]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["timeout"], ["timeout"]]


def test_one_seed_has_no_band() -> None:
    """Nor have models of one seed each."""
    figure = similarity_figure([row(VALUES), row(VALUES, model="vggbn")], "")
    assert not any(axes.collections for axes in figure.axes)


def test_the_scale_counts_nines() -> None:
    """Equal distances for 0.9, 0.99 and 0.999; what is nearer to 1 than 0.9999 stands with 1; and back."""
    cosines = np.array([-1, 0, 0.9, 0.99, 0.999, 0.9999, 1, 1 + 1e-7])
    assert nines(cosines) == pytest.approx([-0.30103, 0, 1, 2, 3, 4, 4, 4])
    assert of_nines(nines(cosines[:6])) == pytest.approx(cosines[:6])
    (axes, _) = similarity_figure([row(VALUES)], "").axes
    heights = axes.transData.transform([(0, cosine) for cosine in (0, 0.9, 0.99, 0.999)])[:, 1]
    assert np.diff(heights) == pytest.approx(np.diff(heights)[0])


def test_what_is_not_drawn_does_not_stretch_the_scale() -> None:
    """A low cosine of a layer before the last epoch."""
    figure = similarity_figure([row(VALUES | {("nowhere", 0, 1): -0.99})], "")
    assert -0.6 < figure.axes[0].get_ylim()[0] < -0.5


@pytest.mark.parametrize("status", ["unsupported", "timeout"])
def test_a_case_without_numbers_says_why(status: Status) -> None:
    """In both of its panels, and in no other."""
    figure = similarity_figure([row(VALUES), row({}, model="revsresnet", status=status)], "")
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [[], [], [status], [status]]
    assert titles(figure) == ["msresnet", "revsresnet"]


def test_panels_without_lines_do_not_ruin_the_layout() -> None:
    """All panels of a column are of one size, and fill most of the figure."""
    figure = similarity_figure([row(VALUES), row({}, model="revsresnet", status="timeout")], "Title")
    figure.draw_without_rendering()
    heights = [axes.get_position().height for axes in figure.axes]
    assert max(heights) - min(heights) < 0.01
    assert sum(heights[::2]) > 0.3
