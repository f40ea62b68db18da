from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.records import Record
from revbench.reports.growth_figure import growth_figure
from revbench.reports.models_figure import models_figure
from revbench.reports.style import save_figure, spread

pytestmark = pytest.mark.filterwarnings("error")


def test_the_figure_is_a_column_wide(depth_records: list[Record], models_records: list[Record]) -> None:
    """Whatever it shows, a figure is as wide as a column, and its header says what all cases share."""
    for figure in (
        growth_figure(case_rows(depth_records), "A title " * 12, "depth"),
        models_figure(case_rows(models_records), "Models"),
    ):
        assert figure.get_figwidth() == 3.4
        assert any("batch" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_rows_give_the_same_bytes(depth_records: list[Record], tmp_path: Path, suffix: str) -> None:
    """A figure that is drawn again is the same file, without a date."""
    paths = [tmp_path / f"{index}.{suffix}" for index in range(2)]
    for path in paths:
        save_figure(growth_figure(case_rows(depth_records), "Memory against depth", "depth"), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"CreationDate" not in first
    assert b"<dc:date>" not in first


def test_text_stays_text(depth_records: list[Record], tmp_path: Path) -> None:
    """The words of an SVG can be searched and edited."""
    save_figure(growth_figure(case_rows(depth_records), "Memory against depth", "depth"), tmp_path / "figure.svg")
    assert "depth (blocks per stage)</text>" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


@given(st.lists(st.floats(-1000, 1000), max_size=8), st.floats(0.1, 50))
def test_spread_keeps_gap_and_order(positions: list[float], gap: float) -> None:
    """Spread positions are a gap apart in the order in which they were; those that were apart have not moved."""
    moved = spread(positions, gap)
    order = sorted(range(len(positions)), key=positions.__getitem__)
    in_order = [moved[index] for index in order]
    assert all(high - low >= gap - 1e-6 for low, high in pairwise(in_order))
    ascending = sorted(positions)
    if all(high - low >= gap for low, high in pairwise(ascending)):
        assert moved == pytest.approx(positions)
