"""Before against now: verdicts, exit codes, and whose bytes are to blame."""

from dataclasses import replace
from itertools import product

import pytest
from gate_readings import CASE, HELD, highest, reading, without_bytes
from hypothesis import given
from hypothesis import strategies as st

from revbench.bench.gate.compare import Comparison, compare, holder_growth
from revbench.bench.gate.finding import exit_code, worst_first
from revbench.bench.gate.reading import Holder, Reading
from revbench.bench.gate.tolerances import Tolerance, Tolerances

NONE = Tolerances()
SAVED = Holder("blocks.0", "2", "saved")
STATE = Holder("blocks.1", "all", "optimizer_state")
GREW = reading({**HELD, SAVED: 41})
SHRANK = reading({**HELD, SAVED: 39})
UNSUPPORTED = without_bytes("unsupported", "no such pair")
FAILED = without_bytes("failed", "no such model")


@pytest.mark.parametrize(
    ("before", "now", "verdict", "sentence"),
    [
        (reading(), reading(), "same", "the same to the byte"),
        (
            reading(),
            GREW,
            "grew",
            "peak 177 B -> 178 B (+1 B, +0.56 %), in backward; "
            "activation peak 70 B -> 71 B (+1 B, +1.43 %), in backward",
        ),
        (
            reading(),
            SHRANK,
            "shrank",
            "peak 177 B -> 176 B (-1 B, -0.56 %), in backward; "
            "activation peak 70 B -> 69 B (-1 B, -1.43 %), in backward",
        ),
        (
            reading(),
            reading({**HELD, STATE: 0, SAVED: 41}, phase="forward"),
            "grew",
            "activation peak 70 B -> 71 B (+1 B, +1.43 %), in forward, was in backward; "
            "peak 177 B -> 171 B (-6 B, -3.39 %), in forward, was in backward",
        ),
        (reading(), FAILED, "failed", "no such model"),
        (reading(), UNSUPPORTED, "failed", "is unsupported now: no such pair"),
        (UNSUPPORTED, UNSUPPORTED, "same", "the same to the byte"),
        (UNSUPPORTED, FAILED, "failed", "no such model"),
        (UNSUPPORTED, reading(), "shrank", "is supported now"),
    ],
)
def test_verdict(before: Reading, now: Reading, verdict: str, sentence: str) -> None:
    """One byte is enough; a metric that grew is no less grown because another shrank."""
    found = compare(before, now, NONE)
    assert found.verdict == verdict
    assert found.sentence() == sentence


@pytest.mark.parametrize(
    ("counter", "now", "verdict"),
    [
        ("cuda_requested", 1_000_001, "grew"),
        ("cuda_allocated", 1_020_000, "same"),
        ("cuda_allocated", 1_020_001, "grew"),
        ("cuda_reserved", 1_050_000, "same"),
        ("cuda_reserved", 1_050_001, "grew"),
        ("cuda_reserved", 999_999, "shrank"),
    ],
)
def test_each_counter_has_its_tolerance(counter: str, now: int, verdict: str) -> None:
    """To the byte: what is on the limit is allowed. An excess within it is no improvement either."""
    before, after = (reading(case=replace(CASE, device="cuda"), cuda={counter: number}) for number in (1_000_000, now))
    found = compare(before, after, NONE)
    assert found.verdict == verdict
    assert f"({counter})" in found.sentence()


def test_tolerances_are_those_given() -> None:
    """What is traced has one as well, if someone wants it."""
    assert compare(reading(), GREW, Tolerances(traced=Tolerance(num_bytes=1))).verdict == "same"


def test_blame_adds_up() -> None:
    """The largest growth first; what went elsewhere is in it, so that the rows add up to the growth of the peak."""
    new = Holder("blocks.7", "1", "temporaries")
    found = compare(reading(), reading({**HELD, STATE: 2, SAVED: 60, new: 10}), NONE)
    assert [(each.holder, each.before, each.now) for each in found.blame()] == [
        (SAVED, 40, 60),
        (new, 0, 10),
        (STATE, 7, 2),
    ]
    assert sum(each.grown_bytes for each in found.blame()) == found.grown_bytes == 25


def test_blame_is_of_the_metric_that_grew() -> None:
    """Where the whole peak is what it was, the activations' own instant tells."""
    activations = {Holder("blocks.0", "all", "temporaries"): 80}
    grown = {Holder("blocks.0", "all", "temporaries"): 85}
    found = compare(reading(activations=activations), reading(activations=grown), NONE)
    assert [(each.holder.layer, each.grown_bytes) for each in found.blame()] == [("blocks.0", 5)]
    assert found.changes[0].metric == "activation_peak_bytes"


holders = st.builds(
    Holder, st.sampled_from(["a", "b"]), st.sampled_from(["1", "all"]), st.sampled_from(["saved", "inputs"])
)
amounts = st.dictionaries(holders, st.integers(1, 100))


@given(amounts, amounts)
def test_growths_are_all_that_changed(before: dict[Holder, int], now: dict[Holder, int]) -> None:
    """Against the definition: every holder once, and the sum is the difference of the sums."""
    found = holder_growth(highest(before), highest(now))
    assert {each.holder: each.grown_bytes for each in found} == {
        holder: difference for holder in before | now if (difference := now.get(holder, 0) - before.get(holder, 0))
    }
    assert sum(each.grown_bytes for each in found) == sum(now.values()) - sum(before.values())
    assert sorted(found, key=lambda each: -each.grown_bytes) == list(found)


COMPARISONS: dict[str, Comparison] = {
    "grew": compare(reading(), GREW, NONE),
    "failed": compare(reading(), FAILED, NONE),
    "shrank": compare(reading(), SHRANK, NONE),
    "same": compare(reading(), reading(), NONE),
    "unsupported": compare(UNSUPPORTED, UNSUPPORTED, NONE),
}


@pytest.mark.parametrize(
    ("names", "code", "strict_code"),
    [
        ("same", 0, 0),
        ("shrank same", 0, 5),
        ("grew", 1, 1),
        ("same shrank failed grew", 1, 1),
        ("same shrank failed", 3, 3),
        ("failed", 3, 3),
        ("failed unsupported", 3, 3),
        ("unsupported", 4, 4),
        ("unsupported same", 0, 0),
        ("", 4, 4),
    ],
)
def test_exit_code(names: str, code: int, strict_code: int) -> None:
    """A regression is never hidden by a failed case, and nothing compared is never fine."""
    found = [COMPARISONS[name] for name in names.split()]
    assert (exit_code(found, strict=False), exit_code(found, strict=True)) == (code, strict_code)
    assert (exit_code(found[::-1], strict=False), exit_code(found[::-1], strict=True)) == (code, strict_code)


def test_worst_first() -> None:
    """Regressions by size, then what failed, then what is less."""
    larger = compare(reading(), reading({**HELD, SAVED: 400}), NONE)
    some = [*(COMPARISONS[name] for name in ("same", "shrank", "failed", "grew")), larger]
    assert [each.verdict for each in worst_first(some)] == ["grew", "grew", "failed", "shrank", "same"]
    assert worst_first(some)[0] is larger


def test_a_case_that_is_supported_now_counts_as_compared() -> None:
    """There was no number before, but there is one now, which is news."""
    found = [compare(UNSUPPORTED, reading(), NONE)]
    assert (exit_code(found, strict=False), exit_code(found, strict=True)) == (0, 5)


@pytest.mark.parametrize(("share", "before"), [*product(("0%", "2.5%", "100 %"), (0, 1, 999, 10**15 + 1))])
def test_tolerance_is_exact(share: str, before: int) -> None:
    """Against the largest integer that a share allows, found in whole numbers."""
    per_mille = {"0%": 0, "2.5%": 25, "100 %": 1000}[share]
    tolerance = Tolerances.model_validate({"traced": share}).traced
    most = before + before * per_mille // 1000
    assert tolerance.allows(before, most)
    assert not tolerance.allows(before, most + 1)
