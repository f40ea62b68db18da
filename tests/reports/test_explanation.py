import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from revbench.bench.cases import Case
from revbench.bench.memory.explain import Explanation
from revbench.bench.memory.places import Attribution, Place, cells_at_peak
from revbench.bench.memory.timeline import KINDS, Mark, StorageKind, Timeline
from revbench.reports.explanation import print_explanations, write_explanations
from revbench.reports.wording import distinguishing_names

MEBIBYTE = 2**20
CASE = Case(model="msresnet34", batch_size=2, device="fake")
OTHER = replace(CASE, model="revsresnet37")
Row = tuple[StorageKind, str, str, str, int]
ROWS: list[Row] = [
    ("parameters", "a.0", "all", "before", 2 * MEBIBYTE),
    ("saved", "a.0.conv", "1", "forward", 3 * MEBIBYTE),
    ("saved", "a.0.norm", "1", "forward", MEBIBYTE),
    ("neuron_state", "a.1", "2", "forward", MEBIBYTE // 2),
]


def explanation(case: Case, rows: Sequence[Row], phase: str = "forward") -> Explanation:
    """All storages are alive at the end of the phase; layers are shown by the first two parts of their path."""
    timeline = Timeline(
        storage_of=np.arange(len(rows)),
        delta_bytes=np.array([row[-1] for row in rows]),
        kind_of=np.array([KINDS.index(row[0]) for row in rows]),
        phase_ends=(Mark(phase=phase, num_changes=len(rows)),),
    )
    places = tuple(Place(*row[1:4]) for row in rows)
    found = Attribution(timeline=timeline, place_of=np.arange(len(rows)), places=places)
    layers = {row[1]: ".".join(row[1].split(".")[:2]) for row in rows}
    return Explanation(case=case, attribution=found, cells=cells_at_peak(found), layers=layers)


ONE = explanation(CASE, ROWS)
TWO = explanation(OTHER, [*ROWS[:1], ("saved", "a.0", "1", "forward", MEBIBYTE), ROWS[3]], "optimizer")


def printed(explanations: Sequence[Explanation], num_rows: int = 20) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=120)
    print_explanations(explanations, console, num_rows=num_rows)
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_the_tables_of_one_case() -> None:
    """Blocks put together, the largest first, shares of the peak, and the peak itself in both tables."""
    lines = printed([ONE])
    assert " ".join(lines[0]).startswith(
        "msresnet34: peak 6,815,744 B = 6.50 MiB, 3.25 per image, in the forward pass (bptt, T=4, batch 2"
    )
    assert ["saved", "4.00", "61.54", "%"] in lines
    assert ["a.0", "1", "saved", "forward", "4.00", "61.54", "%"] in lines
    assert ["a.1", "2", "neuron", "state", "forward", "0.50", "7.69", "%"] in lines
    assert lines.count(["peak", "6.50", "100.00", "%"]) == 2
    assert lines.index(["a.0", "1", "saved", "forward", "4.00", "61.54", "%"]) < lines.index(
        ["a.0", "all", "parameters", "before", "2.00", "30.77", "%"]
    )


def test_the_tables_of_two_cases() -> None:
    """The largest difference comes first; what one of them lacks has no number."""
    lines = printed([ONE, TWO])
    assert " ".join(lines[1]).startswith(
        "revsresnet37: peak 3,670,016 B = 3.50 MiB, 1.75 per image, in the optimizer's"
    )
    assert ["saved", "4.00", "1.00", "-3.00"] in lines
    assert ["parameters", "2.00", "2.00", "0"] in lines
    assert lines.count(["peak", "6.50", "3.50", "-3.00"]) == 2
    first = next(index for index, line in enumerate(lines) if line[:2] == ["layer", "timestep"])
    assert lines[first + 2] == ["a.0", "1", "saved", "forward", "4.00", "1.00", "-3.00"]
    turned = printed([explanation(OTHER, ROWS[:1]), ONE])
    assert turned[first + 2] == ["a.0", "1", "saved", "forward", "-", "4.00", "+4.00"]
    lacking = printed([ONE, explanation(OTHER, ROWS[:1])])
    assert ["a.1", "2", "neuron", "state", "forward", "0.50", "-", "-0.50"] in lacking


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_rows_that_are_left_out_are_one(num_rows: int) -> None:
    """So that every table adds up."""
    lines = printed([ONE], num_rows)
    rest = [line for line in lines if line[1:3] == ["rows", "more"]]
    if num_rows == 3:
        assert not rest
    else:
        assert rest[0][:4] == [str(3 - num_rows), "rows", "more", {1: "2.50", 2: "0.50"}[num_rows]]


def test_a_table_that_does_not_add_up_is_noticed() -> None:
    """Cells and peak are compared whenever a table is printed."""

    class Wrong(Explanation):
        @property
        def peak_bytes(self) -> int:
            return super().peak_bytes + 1

    wrong = Wrong(case=CASE, attribution=ONE.attribution, cells=ONE.cells, layers=ONE.layers)
    with pytest.raises(AssertionError):
        printed([wrong])


def test_files(tmp_path: Path) -> None:
    """Every cell with its own layer and its block, in bytes; figures in the formats asked for."""
    written = write_explanations([ONE, TWO], tmp_path, ["png", "pdf"])
    assert [path.name for path in written] == [
        "peak-cells.csv",
        "live-bytes.png",
        "live-bytes.pdf",
        "overlay.png",
        "overlay.pdf",
    ]
    assert all(path.stat().st_size for path in written)
    with written[0].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "case_id": CASE.id,
        "case": "msresnet34 T=4 batch=2",
        "layer": "a.0.conv",
        "block": "a.0",
        "timesteps": "1",
        "kind": "saved",
        "phase": "forward",
        "bytes": str(3 * MEBIBYTE),
    }
    assert len(rows) == len(ONE.cells) + len(TWO.cells)


def test_names_that_tell_cases_apart() -> None:
    """The model where it is the only difference or one of several; else what differs."""
    assert distinguishing_names([CASE]) == ["msresnet34"]
    assert distinguishing_names([CASE, OTHER]) == ["msresnet34", "revsresnet37"]
    assert distinguishing_names([CASE, replace(CASE, rule="sltt")]) == ["bptt", "sltt"]
    assert distinguishing_names([CASE, replace(OTHER, timesteps=8)]) == ["msresnet34, T=4", "revsresnet37, T=8"]
    assert distinguishing_names([CASE, replace(CASE, activations="checkpointed")]) == [
        "msresnet34",
        "msresnet34, checkpointed activations",
    ]
