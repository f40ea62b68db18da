from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.records import Record
from revbench.reports.models_figure import models_figure

pytestmark = pytest.mark.filterwarnings("error")


def texts(figure: Figure) -> list[str]:
    """All that is written into the axes."""
    return [text.get_text() for text in figure.axes[0].texts]


def bar_widths(figure: Figure) -> list[float]:
    """The lengths of all bars, in order of drawing."""
    patches = [patch for container in figure.axes[0].containers for patch in container]
    return [patch.get_width() for patch in patches if isinstance(patch, Rectangle)]


def test_bars_are_the_rows(models_records: list[Record]) -> None:
    """One bar a measured case, in MiB per image, with its number, and the status of the case that failed."""
    figure = models_figure(case_rows(models_records), "Models")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "activation peak (MiB per image)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["msresnet18", "revsresnet21"]
    assert bar_widths(figure) == [12, 8, 16]
    assert sorted(texts(figure)) == ["12.00", "16.00", "8.00", "error"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["T=4", "T=8"]


def test_one_variant_needs_no_legend(models_records: list[Record]) -> None:
    """Where only the model varies the bars have one colour and no legend."""
    figure = models_figure(case_rows(models_records)[:2], "Models")
    assert figure.legends == []
    assert bar_widths(figure) == [12, 8]


def test_seeds_share_a_bar(models_records: list[Record]) -> None:
    """Bytes do not depend on the seed."""
    rows = case_rows(models_records)
    again = [replace(row, case=replace(row.case, seed=1)) for row in rows]
    first, both = (models_figure(each, "Sizes").axes[0] for each in (rows, [*rows, *again]))
    assert [bar.get_bbox().bounds for bar in both.patches] == [bar.get_bbox().bounds for bar in first.patches]
    assert len(first.patches) > 1
