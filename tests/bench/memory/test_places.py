"""Cells of a timeline that was added up by hand."""

from dataclasses import replace

import numpy as np
import pytest

from revbench.bench.memory import places
from revbench.bench.memory.places import Attribution, Cell, Place, cells_at, cells_at_peak, folded
from revbench.bench.memory.timeline import KINDS, StorageKind, Timeline

KINDS_OF: list[StorageKind] = ["parameters", "saved", "saved", "temporaries", "saved"]
HERE, THERE, OWN = Place("a.0", "1", "forward"), Place("a.1", "all", "forward"), Place("a.0", "all", "before")
EXAMPLE = Attribution(
    timeline=Timeline(
        storage_of=np.array([0, 1, 2, 3, 3, 4, 2, 1]),
        delta_bytes=np.array([100, 10, 20, 5, -5, 40, -8, -10]),
        kind_of=np.array([KINDS.index(kind) for kind in KINDS_OF]),
        phase_ends=(),
    ),
    place_of=np.array([2, 0, 0, 0, 1]),
    places=(HERE, THERE, OWN),
)
AT_PEAK = (Cell("parameters", OWN, 100), Cell("saved", THERE, 40), Cell("saved", HERE, 30))


def test_cells_at_the_peak_by_hand() -> None:
    """Storages of one kind and place are one cell, the largest comes first, the dead have none."""
    assert cells_at_peak(EXAMPLE) == AT_PEAK


def test_cells_at_another_instant() -> None:
    """A storage that was resized counts with its size at that time."""
    assert cells_at(EXAMPLE, 4)[-1] == Cell("temporaries", HERE, 5)
    assert cells_at(EXAMPLE, 8) == (AT_PEAK[0], AT_PEAK[1], Cell("saved", HERE, 12))


def test_folded_cells_keep_all_else() -> None:
    """Layers under one name add up where kind, timesteps and phase are the same."""
    one = folded(AT_PEAK, {"a.0": "a", "a.1": "a"})
    assert one == tuple(replace(cell, place=replace(cell.place, layer="a")) for cell in AT_PEAK)
    same_time = tuple(replace(cell, place=replace(cell.place, timesteps="all")) for cell in AT_PEAK)
    assert folded(same_time, {"a.0": "a", "a.1": "a"})[1] == Cell("saved", Place("a", "all", "forward"), 70)


def test_cells_that_do_not_add_up_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity of cells and peak is asserted on every use."""
    monkeypatch.setattr(places, "cells_at", lambda *_: AT_PEAK[1:])
    with pytest.raises(AssertionError):
        cells_at_peak(EXAMPLE)
