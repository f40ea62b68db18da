import numpy as np
import pytest

from revbench.bench.memory.timeline import (
    KINDS,
    Mark,
    StorageKind,
    Timeline,
    activation_peak_bytes,
    peak,
    phase_end_splits,
)


def timeline(changes: list[tuple[int, int]], kinds: list[StorageKind], marks: list[Mark] | None = None) -> Timeline:
    """A timeline from (storage, delta) pairs."""
    table = np.array(changes, dtype=np.int64)
    return Timeline(
        storage_of=table[:, 0],
        delta_bytes=table[:, 1],
        kind_of=np.array([KINDS.index(kind) for kind in kinds]),
        phase_ends=tuple(marks or ()),
    )


EXAMPLE = timeline(
    [(0, 100), (1, 10), (2, 40), (1, -10), (3, 25), (2, -40), (4, 90)],
    ["parameters", "temporaries", "saved", "recomputation", "gradients"],
    [Mark(phase="forward", num_changes=3), Mark(phase="backward", num_changes=7)],
)


def test_the_peak_is_the_largest_sum_and_its_parts_add_up_to_it() -> None:
    """Peak and parts of a timeline that was added up by hand."""
    found = peak(EXAMPLE)
    assert found.total_bytes == 100 + 25 + 90
    assert {kind: num_bytes for kind, num_bytes in found.by_kind.items() if num_bytes} == {
        "parameters": 100,
        "recomputation": 25,
        "gradients": 90,
    }
    assert sum(found.by_kind.values()) == found.total_bytes


def test_the_activation_peak_is_at_an_instant_of_its_own() -> None:
    """The largest sum of the activation kinds need not fall on the peak of the whole step."""
    assert activation_peak_bytes(EXAMPLE) == 40 + 25


def test_the_split_at_the_end_of_a_phase() -> None:
    """Live bytes by kind where a phase ends."""
    splits = phase_end_splits(EXAMPLE)
    assert list(splits) == ["forward", "backward"]
    present = {kind: num_bytes for kind, num_bytes in splits["forward"].items() if num_bytes}
    assert present == {"parameters": 100, "temporaries": 10, "saved": 40}


def test_parts_that_do_not_add_up_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity of peak and parts is asserted on every use."""
    monkeypatch.setattr(Timeline, "split_at", lambda self, num_changes: {"parameters": 1})
    with pytest.raises(AssertionError):
        peak(EXAMPLE)
