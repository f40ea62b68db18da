from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record
from revbench.reports.learning_figure import learning_figure
from revbench.reports.report import figures

MEBIBYTE = 2**20
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows(
    record_memory: Callable[[Case, int, int], list[Record]], record_pass: Callable[..., list[Record]]
) -> list[CaseRow]:
    """Two models, two rules, two seeds; one pair is at chance, one rule diverges."""
    records = []
    for model, accuracy in (("msresnet", 0.95), ("vggsws", 0.1)):
        for rule in ("bptt", "sltt"):
            for seed in (0, 1):
                case = Case(model=model, rule=rule, depth=1, batch_size=2, seed=seed)
                if (model, rule) == ("vggsws", "sltt"):
                    records += record_pass(
                        case, "learning", status="error", detail="the loss is nan at training step 3"
                    )
                    continue
                records += record_memory(case, 10, 4 * MEBIBYTE)
                found = {"test_accuracy": (accuracy + 0.01 * seed, "1"), "train_s": (7.0 + seed, "s")}
                records += record_pass(
                    case, "learning", [Measurement(metric=m, value=v, unit=u) for m, (v, u) in found.items()]
                )
    return case_rows(records)


def marks(axes: Axes) -> list[list[float]]:
    """The filled marks in order of drawing."""
    drawn = [line for line in axes.lines if line.get_marker() != "None" and line.get_markerfacecolor() != "white"]
    return [np.asarray(line.get_xydata()).tolist()[0] for line in drawn]


def test_every_seed_is_a_mark_in_the_band_of_its_model(rows: list[CaseRow]) -> None:
    """Accuracy in percent, memory in MiB per image, time in seconds, all on the same line."""
    accuracy, memory, time = learning_figure(rows, "Digits").axes
    assert [mark[0] for mark in marks(accuracy)] == pytest.approx([95, 96, 95, 96, 50, 50])
    assert [mark[0] for mark in marks(memory)] == pytest.approx([2] * 6)
    assert [mark[0] for mark in marks(time)] == pytest.approx([7, 8] * 3)
    lines = [mark[1] for mark in marks(accuracy)]
    assert lines == [mark[1] for mark in marks(time)]
    assert lines[0] == lines[1] < lines[2] == lines[3] < lines[4] == lines[5]
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["msresnet", "vggsws"]


def test_what_did_not_learn_says_why(rows: list[CaseRow]) -> None:
    """An open marker and the status for each seed."""
    accuracy = learning_figure(rows, "Digits").axes[0]
    assert len([line for line in accuracy.lines if line.get_markerfacecolor() == "white"]) == 2
    assert [text.get_text() for text in accuracy.texts] == ["error", "error"]


def test_learning_has_a_figure_beside_that_of_memory(rows: list[CaseRow]) -> None:
    """In the report of a suite."""
    assert list(figures(rows, "learning", "Digits")) == ["learning", "learning-accuracy"]
    assert [len(figure.axes) for figure in figures(rows, "learning", "Digits").values()] == [1, 3]


def test_peaks_near_to_each_other_stand_on_a_linear_axis(rows: list[CaseRow]) -> None:
    """From 0 on; others on a logarithmic one."""
    memory = learning_figure(rows, "Digits").axes[1]
    assert (memory.get_xscale(), memory.get_xlim()[0]) == ("linear", 0)
    apart = [replace(row, activation_peak_bytes=(i + 1) * MEBIBYTE) for i, row in enumerate(rows)]
    assert learning_figure(apart, "Digits").axes[1].get_xscale() == "log"


def test_without_memory_accuracy_and_time_stand_alone(rows: list[CaseRow]) -> None:
    """No empty column, and the same marks in the others."""
    learnt = [replace(row, activation_peak_bytes=None) for row in rows]
    panels = learning_figure(learnt, "Digits").axes
    assert [axes.get_xlabel() for axes in panels] == ["test accuracy (%)", "training (s)"]
    complete = learning_figure(rows, "Digits").axes
    assert [marks(axes) for axes in panels] == [marks(complete[0]), marks(complete[2])]
