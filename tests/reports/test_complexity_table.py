"""The complexity table: claims matched to methods, coefficients, verdicts, and what it prints."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case
from revbench.reports.complexity import complexity_rows, complexity_table, verdict_sentences
from revbench.reports.table_formats import csv_text

DEPTHS, LENGTHS = (1, 2, 4, 8, 16), (2, 4, 8, 16, 32)
Law = Callable[[int, int], int]


def method(memory: Law, *, own_parameters: bool = False, **fields: Any) -> list[CaseRow]:
    """Rows of a method; one whose timesteps have parameters of their own has T times as many."""
    return [
        CaseRow(
            case=Case(depth=depth, timesteps=timesteps, batch_size=8, device="fake", **{"model": "msresnet", **fields}),
            activation_peak_bytes=memory(depth, timesteps),
            training_macs=300.0 * depth * timesteps,
            dense_macs=100.0 * depth * timesteps,
            num_parameters=50 * depth * (timesteps if own_parameters else 1),
            recomputed_macs=0.0,
        )
        for depth, timesteps in product(DEPTHS, LENGTHS)
    ]


def suite() -> list[CaseRow]:
    """The six methods of the paper's table as it says that they are, but for a T-RevSNN that keeps some states."""
    return [
        *method(lambda depth, timesteps: 1000 + 64 * depth * timesteps),
        *method(lambda depth, _: 1000 + 64 * depth, rule="ottt_a"),
        *method(lambda depth, _: 1000 + 64 * depth, rule="sltt"),
        *method(lambda depth, _: 1000 + 64 * depth, rule="sltt-1"),
        *method(lambda _, timesteps: 1000 + 64 * timesteps, model="revsresnet", activations="recomputed"),
        *method(
            lambda depth, timesteps: 100_000 + 6400 * depth + 100 * timesteps,
            own_parameters=True,
            model="trevsnn",
            activations="recomputed",
            states="inverted",
        ),
    ]


def of(rows: Sequence[CaseRow], cost: str) -> list[tuple[str, str, str | None, str]]:
    """Paper's method, claimed and fitted class, and judgement, of one cost."""
    found = (row for row in complexity_rows(rows) if row.measure.header.startswith(cost))
    return [
        (row.claim.method, row.claim.growth, row.fitted, row.verdict.judgement)
        for row in found
        if row.claim is not None and row.verdict is not None
    ]


def test_each_method_meets_its_claims() -> None:
    """Rule and way of recomputing choose the row of the paper's table; K stands for a number."""
    assert of(suite(), "memory") == [
        ("STBP", "O(LT)", "O(LT)", "consistent"),
        ("OTTT", "O(L)", "O(L)", "consistent"),
        ("SLTT", "O(L)", "O(L)", "consistent"),
        ("SLTT-K", "O(L)", "O(L)", "consistent"),
        ("RevSNN", "O(T)", "O(T)", "consistent"),
        ("T-RevSNN", "O(L)", "O(L+T)", "inconsistent"),
    ]
    assert {found[1:] for found in of(suite(), "training")} == {("O(LT)", "O(LT)", "consistent")}
    assert of(suite(), "inference") == [
        *((name, "O(T)", "O(T)", "consistent") for name in ("STBP", "OTTT", "SLTT", "SLTT-K", "RevSNN")),
        ("T-RevSNN", "O(1)", "O(1)", "consistent"),
    ]


def test_a_method_that_no_paper_names_has_no_verdict() -> None:
    """Its growth is told all the same."""
    rows = method(lambda _, timesteps: 9 + timesteps, model="revsresnet", activations="recomputed", rule="sltt")
    (memory, *_) = complexity_rows(rows)
    assert (memory.claim, memory.verdict, memory.fitted) == (None, None, "O(T)")


def test_the_csv_holds_the_exact_numbers() -> None:
    """Bytes for each block and timestep as they are, with the claim, where it was read, and the reason."""
    table = complexity_table(suite())
    assert table is not None
    lines = csv_text(table).splitlines()
    assert lines[0] == (
        "method,cost,unit,claimed,claim_method,claim_provenance,fitted,per_block,per_timestep,per_block_and_timestep,"
        "log_log_slope_in_depth,log_log_slope_in_timesteps,verdict,reason"
    )
    assert lines[1].startswith(
        '"msresnet, bptt","memory, B",B,O(LT),STBP,"trevsnn, table 1: second-hand",O(LT),0,0,64,'
    )
    *_, in_depth, in_timesteps, judgement, reason = lines[1].split(",")
    assert (judgement, reason) == ("consistent", "grows with depth times timesteps")
    # The constant makes what is linear look less.
    assert all(0.86 < float(slope) < 0.88 for slope in (in_depth, in_timesteps))
    last = (
        '"trevsnn, bptt, recomputed activations, inverted states","memory, B",B,O(L),T-RevSNN,'
        '"trevsnn, table 1: paper",O(L+T)'
    )
    assert lines[-3].startswith(last)
    assert table.note == "batch 8, float32, sgd, predicted, seed 0"


def test_what_was_not_read_in_the_paper_is_marked() -> None:
    """A star at each cell that follows from the method alone."""
    table = complexity_table(suite())
    assert table is not None
    claimed = {row[0].text: row[3].text for row in table.rows if row[1].text == "memory, B"}
    assert claimed["msresnet, ottt_a"] == "O(L) *"
    assert claimed["msresnet, bptt"] == "O(LT)"


def test_sentences_give_the_reasons() -> None:
    """One for each verdict."""
    told = verdict_sentences(suite())
    assert len(told) == 18
    assert told[0] == "msresnet, bptt, memory: grows with depth times timesteps; consistent with O(LT) of STBP."
    assert (
        "trevsnn, bptt, recomputed activations, inverted states, memory: grows with the depth and with the timesteps, "
        "which O(L) does not allow (at most 3% of what was measured); inconsistent with O(L) of T-RevSNN."
    ) in told


def test_a_narrow_grid_decides_nothing() -> None:
    """The sentence says how much it takes."""
    rows = [row for row in method(lambda depth, timesteps: 9 + depth * timesteps) if row.case.timesteps < 32]
    assert verdict_sentences(rows)[0] == (
        "msresnet, bptt, memory: 4 simulation lengths that the fit meets, where a class takes 5; "
        "undecided on O(LT) of STBP."
    )


@pytest.mark.parametrize("rows", [[], method(lambda depth, _: depth)[:5]])
def test_no_grid_no_table(rows: list[CaseRow]) -> None:
    """A suite along one axis has none."""
    assert complexity_table(rows) is None
    assert verdict_sentences(rows) == []
