from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from revbench.bench.cases import Case
from revbench.bench.memory.places import Attribution, Place
from revbench.bench.memory.timeline import KINDS, Mark, StorageKind, Timeline
from revbench.reports.live_bytes import LOOKS, NUM_POINTS, Step
from revbench.reports.live_bytes_figure import kinds_figure, overlay_figure

MEBIBYTE = 2**20
pytestmark = pytest.mark.filterwarnings("error")
CASE = Case(model="msresnet34", batch_size=2, device="fake")


def step(
    changes: Sequence[tuple[int, int]], kinds: Sequence[StorageKind], marks: Sequence[Mark], **case: object
) -> Step:
    """A step from (storage, MiB) pairs; the first storage exists before, all others are born in the first phase."""
    table = np.array(changes, dtype=np.int64)
    timeline = Timeline(
        storage_of=table[:, 0],
        delta_bytes=table[:, 1] * MEBIBYTE,
        kind_of=np.array([KINDS.index(kind) for kind in kinds]),
        phase_ends=tuple(marks),
    )
    born = (Place("a", "all", "before"), Place("a", "all", marks[0].phase))
    places = np.array([0] + [1] * (len(kinds) - 1))
    attribution = Attribution(timeline=timeline, place_of=places, places=born)
    return Step(case=replace(CASE, **case), attribution=attribution)  # type: ignore[arg-type]


MARKS = [
    Mark(phase="forward", num_changes=4),
    Mark(phase="backward", num_changes=8),
    Mark(phase="optimizer", num_changes=8),
]
STORED = step(
    [(0, 10), (1, 20), (2, 30), (3, 5), (3, -5), (2, -30), (4, 7), (1, -20)],
    ["parameters", "saved", "saved", "temporaries", "gradients"],
    MARKS,
)
REVERSIBLE = step(
    [(0, 12), (1, 8), (2, 4), (2, -4), (3, 9), (3, -9), (4, 7), (1, -8)],
    ["parameters", "saved", "temporaries", "recomputation", "gradients"],
    MARKS,
    model="revsresnet37",
)
STEPWISE = step(
    [(0, 10), (1, 6), (1, -6), (2, 6), (2, -6)],
    ["parameters", "saved", "saved"],
    [
        Mark(phase="forward", num_changes=1),
        Mark(phase="forward", num_changes=2),
        Mark(phase="backward", num_changes=3),
        Mark(phase="forward", num_changes=4),
        Mark(phase="backward", num_changes=5),
        Mark(phase="optimizer", num_changes=5),
    ],
    rule="sltt",
)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def titles(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def heights(axes: Axes, index: int) -> list[float]:
    """The line of a case in the overlay, MiB."""
    found: list[float] = np.asarray(axes.lines[2 * index].get_ydata()).tolist()
    return found


def test_each_kind_has_a_look_of_its_own() -> None:
    """No two kinds share both colour and hatch."""
    assert set(LOOKS) == set(KINDS)
    assert len({(look.colour, look.hatch) for look in LOOKS.values()}) == len(KINDS)


def test_the_stack_is_the_timeline() -> None:
    """From the beginning of the forward pass; the top of the stack is the sum of all kinds, in MiB."""
    axes = kinds_figure([STORED]).axes[0]
    tops = [collection.get_paths()[0].vertices for collection in axes.collections]
    assert max(np.asarray(top)[:, 1].max() for top in tops) == 65
    assert "peak 65.00 MiB" in texts(axes)
    assert ticks(axes) == ["forward", "backward", "optimizer"]
    assert axes.get_ylabel() == "live bytes (MiB)"
    assert axes.get_ylim()[0] == 0


def test_kinds_that_do_not_occur_are_not_named() -> None:
    """The legend has what is drawn, from the top of the stack to its bottom."""
    figure = kinds_figure([STORED, REVERSIBLE])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["temporaries", "recomputation", "saved for backward", "gradients", "parameters"]


def test_panels_share_the_axis_of_bytes_and_are_named() -> None:
    """Two cases side by side."""
    figure = kinds_figure([STORED, REVERSIBLE])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["msresnet34", "revsresnet37"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert titles(figure)[0] == "Live bytes in a training step: msresnet34 and revsresnet37"
    assert "batch 2" in titles(figure)[1]


def test_the_overlay_has_both_lines() -> None:
    """What exists before is at the beginning, phases end with what is left, and nothing happens after the last."""
    figure = overlay_figure([STORED, REVERSIBLE])
    axes = figure.axes[0]
    assert axes.get_ylabel() == "live bytes (MiB)"
    assert heights(axes, 0) == [10, 30, 60, 65, 65, 60, 30, 37, 17, 17, 17]
    assert heights(axes, 1) == [12, 20, 24, 20, 20, 29, 20, 27, 19, 19, 19]
    assert [text for text in texts(axes) if text] == ["peak 65.00 MiB", "peak 29.00 MiB"]
    assert ticks(axes) == ["forward", "backward", "optimizer"]
    places = [np.asarray(axes.lines[2 * index].get_xdata()) for index in range(2)]
    assert np.array_equal(*places)
    assert all(np.all(np.diff(place) > 0) and place[0] == 0 and place[-1] == 1 for place in places)


def test_phases_of_rules_that_go_step_by_step() -> None:
    """Many phases have lines and no names; phases that follow on one of the same name are one."""
    assert STEPWISE.phases == ["forward", "backward", "forward", "backward", "optimizer"]
    assert STEPWISE.borders.tolist() == [1, 2, 3, 4, 5, 5]
    axes = kinds_figure([STEPWISE]).axes[0]
    assert axes.get_xlabel() == "5 phases of forward, backward and optimizer"
    assert ticks(axes) == []


def test_cases_with_other_phases_share_no_phases() -> None:
    """Each runs from its beginning to its end; the title names the model that both have."""
    figure = overlay_figure([STORED, STEPWISE])
    axes = figure.axes[0]
    assert ticks(axes) == []
    assert axes.get_xlabel() == "training step, from its first operator to its last"
    assert titles(figure)[0].replace("\n", " ") == "Live bytes in a training step of msresnet34: bptt against sltt"


def test_a_long_step_keeps_its_peak() -> None:
    """Many instants are drawn as few, the largest of each."""
    changes = [(0, 1), *((1 + i // 2, 1 if i % 2 == 0 else -1) for i in range(20_000))]
    changes[9_999] = (changes[9_999][0], 1000)
    changes[10_000] = (changes[10_000][0], -1000)
    kinds: list[StorageKind] = ["parameters", *(["saved"] * 10_000)]
    long = step(changes, kinds, [Mark(phase="forward", num_changes=len(changes))])
    line = heights(overlay_figure([long, long]).axes[0], 0)
    assert max(line) == 1001
    assert len(line) <= NUM_POINTS + 2
