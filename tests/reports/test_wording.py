from typing import Any

import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.reports.wording import common_description, field_phrase, growth_sentences

EXPECTED_OF_DEPTH = [
    "msresnet (T=4, batch 2): activation peak 12,582,912 B + 7,340,032 B per block in each stage, constant to the byte "
    "over depth 1 to 4 (3 points; 3.50 MiB per image and block in each stage); 1 case failed and is not in the fit "
    "(depth 8: oom).",
    "revsresnet (T=4, batch 2): activation peak flat in depth: 27,262,976 B (13.00 MiB per image) at each of 4 points, "
    "depth 1 to 8.",
]


def rows_of(values: dict[int, int | None], **fields: Any) -> list[CaseRow]:
    """Rows of one model, with the activation peak at each depth."""
    cases = {depth: Case(model="msresnet", depth=depth, **fields) for depth in values}
    return [CaseRow(case=case, activation_peak_bytes=values[depth]) for depth, case in cases.items()]


def test_sentences_of_an_affine_and_a_flat_model(depth_records: list[Record]) -> None:
    """Each group has its law, in bytes and per image, and names the case that failed."""
    assert growth_sentences(case_rows(depth_records)) == EXPECTED_OF_DEPTH


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {1: 99, 2: 24, 4: 44, 8: 84},
            "activation peak 4 B + 10 B per block in each stage from depth 2 on, constant to the byte over depth 2 to "
            "8 (3 points; 0.00 MiB per image and block in each stage); at depth 1 it is 99 B.",
        ),
        (
            {1: 9, 2: 2**20, 4: 2**20, 8: 2**20},
            "activation peak flat in depth from depth 2 on: 1,048,576 B (1.00 MiB per image) at each of 3 points, "
            "depth 2 to 8; at depth 1 it is 9 B.",
        ),
        (
            {1: 0, 2: 2**20},
            "activation peak grows by 1,048,576 B per block in each stage over depth 1 to 2 (2 points, too few to test "
            "a law; 1.00 MiB per image and block in each stage).",
        ),
        (
            {1: 3 * 2**20, 2: 2**20},
            "activation peak falls by 2,097,152 B per block in each stage over depth 1 to 2 (2 points, too few to test "
            "a law; 2.00 MiB per image and block in each stage).",
        ),
        (
            {1: 30, 2: 20, 3: 10},
            "activation peak 40 B - 10 B per block in each stage, constant to the byte over depth 1 to 3 (3 points; "
            "0.00 MiB per image and block in each stage).",
        ),
        (
            {0: 9, 1: 4, 2: 3},
            "activation peak not exactly affine in depth: -5 B to -1 B per block in each stage over depth 0 to 2 "
            "(3 points; least squares 8.33 B - 3 B per block in each stage, 0.00 MiB per image and block in each "
            "stage).",
        ),
        (
            {0: 0, 1: 1, 2: 4},
            "activation peak not exactly affine in depth: 1 B to 3 B per block in each stage over depth 0 to 2 "
            "(3 points; least squares -0.33 B + 2 B per block in each stage, 0.00 MiB per image and block in each "
            "stage).",
        ),
        (
            {1: 5, 2: None, 4: None},
            "activation peak 5 B at depth 1 (1 point, no slope); 2 cases have no number and are not in the fit "
            "(depth 2: not measured, depth 4: not measured).",
        ),
    ],
    ids=[
        "affine from depth 2 on",
        "flat from depth 2 on",
        "two points",
        "falling",
        "falling on a line",
        "falling irregularly",
        "irregular",
        "one point",
    ],
)
def test_sentence_of_each_law(values: dict[int, int | None], expected: str) -> None:
    """What each law, and what is no law, sounds like."""
    assert growth_sentences(rows_of(values)) == [f"msresnet (T=4, batch 1): {expected}"]


def test_groups_are_named_by_what_tells_them_apart() -> None:
    """A field that differs between the groups, or that was chosen, is told; the other defaults are not."""
    rows = rows_of({1: 5, 2: 5}, activations="stored", dtype="bfloat16", seed=0)
    rows += rows_of({1: 4, 2: 4}, activations="recomputed", dtype="bfloat16", seed=0)
    first, second = growth_sentences(rows)
    assert first.startswith("msresnet (stored activations, T=4, batch 1, bfloat16): ")
    assert second.startswith("msresnet (recomputed activations, T=4, batch 1, bfloat16): ")


def test_predictions_grow_along_timesteps(models_records: list[Record]) -> None:
    """The axis can be T, and numbers from tensors without data are called predicted."""
    assert growth_sentences(case_rows(models_records), "timesteps")[1] == (
        "revsresnet21 (batch 4, predicted): activation peak grows by 8,388,608 B per timestep over T=4 to 8 "
        "(2 points, too few to test a law; 2.00 MiB per image and timestep)."
    )


def test_no_sentence_without_a_memory_pass() -> None:
    """Where memory was not measured at all there is nothing to say of it."""
    assert growth_sentences(rows_of({1: None, 2: None})) == []


def test_a_group_that_failed_throughout_is_told(depth_records: list[Record]) -> None:
    """A group without any number still has a sentence that names its failures."""
    failed = [record for record in depth_records if record.case.model == "msresnet" and record.status == "oom"]
    rows = [*case_rows(failed), *rows_of({4: None}, batch_size=2)]
    assert growth_sentences(rows) == [
        "msresnet (T=4, batch 2): no activation peak; 2 cases have no number and are not in the "
        "fit (depth 4: not measured, depth 8: oom)."
    ]


def test_common_description(depth_records: list[Record]) -> None:
    """What all cases share is said once, without what is not set."""
    assert common_description(case_rows(depth_records)) == "bptt, T=4, batch 2, float32, sgd, cpu, seed 0"
    assert field_phrase("device", "fake") == "predicted"
    assert field_phrase("width", 64) == "width 64"
    assert field_phrase("states", "coded") == "coded states"
