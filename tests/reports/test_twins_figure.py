"""The figure of twins in training."""

from dataclasses import replace

from revbench.bench.benchmarks.twins import Twins
from revbench.bench.cases import Case
from revbench.bench.learning.measure import Epoch
from revbench.reports.twins_figure import SMALLEST, twins_figure


def twins(model: str, *, dtype: str = "float32", recomputed: tuple[float, ...] = (2.0, 1.0)) -> Twins:
    """Twins of two steps, the stored one with losses 2 and 1."""
    mine, other = ((Epoch(losses=losses, test_accuracy=0.5, train_s=1.0),) for losses in (recomputed, (2.0, 1.0)))
    case = Case(model=model, depth=1, activations="recomputed")
    return Twins(case=replace(case, dtype=dtype), recomputed=mine, stored=other)  # type: ignore[arg-type]


def points(line: object) -> list[tuple[float, float]]:
    """The points of a line."""
    return [(float(x), float(y)) for x, y in line.get_xydata()]  # type: ignore[attr-defined]


def test_losses_above_and_differences_below() -> None:
    """Golden points: a column for each network, both twins above, a line for each precision below."""
    pairs = [
        twins("revsresnet", recomputed=(2.0, 1.5)),
        twins("revsresnet", dtype="float64"),
        twins("trevsnn", recomputed=(2.5, 1.0)),
    ]
    first_losses, second_losses, first, second = twins_figure(pairs, "Twins").axes
    assert [points(line) for line in first_losses.lines] == [[(1, 2), (2, 1)], [(1, 2), (2, 1.5)]]
    assert [points(line) for line in second_losses.lines] == [[(1, 2), (2, 1)], [(1, 2.5), (2, 1)]]
    assert [points(line) for line in first.lines] == [[(1, SMALLEST), (2, 0.5)], [(1, SMALLEST), (2, SMALLEST)]]
    assert [points(line) for line in second.lines] == [[(1, 0.25), (2, SMALLEST)]]
    assert (first.get_yscale(), first.get_yticklabels()[0].get_text()) == ("log", "0")


def test_lines_are_named() -> None:
    """The twins and the precisions in legends, the networks above their columns."""
    figure = twins_figure([twins("revsresnet"), twins("revsresnet", dtype="float64"), twins("trevsnn")], "Twins")
    losses, _, differences, _ = figure.axes
    named = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (losses, differences)]  # type: ignore[union-attr]
    assert named == [["stored", "recomputed"], ["float32", "float64"]]
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["revsresnet, T=4", "trevsnn, T=4"]
    assert losses.get_ylabel() == "loss (float32)"


def test_each_network_has_its_scale_of_losses_from_zero_and_all_one_of_differences() -> None:
    """Losses of different networks are not compared, differences are."""
    first, second, *lower = twins_figure([twins("revsresnet"), twins("trevsnn", recomputed=(9.0, 1.0))], "Twins").axes
    assert (first.get_ylim()[0], second.get_ylim()[0]) == (0, 0)
    assert first.get_ylim()[1] < 4
    assert second.get_ylim()[1] > 9
    assert len({axes.get_ylim() for axes in lower}) == 1
