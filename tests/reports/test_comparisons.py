from dataclasses import replace
from typing import Any

import closings
import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case
from revbench.reports.comparisons import DEFINITIONS, comparison_sentences, published_sentence
from revbench.reports.published import PublishedNumber, published_numbers

MEBIBYTE = 2**20


def row(model: str, depth: int | None, activation_peak_bytes: int | None, step_s: float | None = None) -> CaseRow:
    """A row of batch 2."""
    return CaseRow(
        case=Case(model=model, depth=depth, batch_size=2),
        activation_peak_bytes=activation_peak_bytes,
        forward_end_activation_bytes=activation_peak_bytes and activation_peak_bytes // 2,
        step_s=step_s,
    )


def test_a_pair_is_told_with_both_numbers_per_image_and_the_ratios() -> None:
    """Golden sentence of a pair, followed by the definitions."""
    rows = [row("rev", None, 20 * MEBIBYTE, 0.3), row("plain", None, 70 * MEBIBYTE, 0.2)]
    assert comparison_sentences(rows, {"rev": "plain"}) == [
        "rev against plain (T=4, batch 2, float32): "
        "activation peak 10.00 against 35.00 MiB per image, 3.50 times less; "
        "end of forward 5.00 against 17.50 MiB per image, 3.50 times less; step time 1.50 times as long.",
        f"{DEFINITIONS} RevSNN's printed ratios (3.79, 3.00) seem to be of this kind: its code, traced, gives 3.78 and "
        "3.00 at the end of forward, and 3.17 and 1.84 at the peak.",
    ]


def test_of_several_depths_the_greatest_is_told() -> None:
    """One sentence a pair of models, at the depth where it matters most."""
    rows = [row(model, depth, 2 * MEBIBYTE * depth) for depth in (1, 4, 2) for model in ("rev", "plain")]
    sentences = comparison_sentences(rows, {"rev": "plain"})
    assert len(sentences) == 2
    assert "(depth 4, " in sentences[0]


def test_a_pair_with_stored_activations_is_told() -> None:
    """The same weights with ordinary autograd are named as such."""
    base = row("rev", None, 2 * MEBIBYTE, 0.14)
    rows = [
        replace(base, case=replace(base.case, activations="recomputed")),
        replace(base, case=replace(base.case, activations="stored"), step_s=0.1),
    ]
    assert comparison_sentences(rows, {})[0].startswith("rev against the same weights with stored activations (T=4")
    assert "step time 1.40 times as long" in comparison_sentences(rows, {})[0]


@pytest.mark.parametrize(
    ("subject_bytes", "reference_bytes", "told"),
    [
        (50 * MEBIBYTE, 9 * MEBIBYTE, "25.00 against 4.50 MiB per image, 5.56 times as much;"),
        (9 * MEBIBYTE, 50 * MEBIBYTE, "4.50 against 25.00 MiB per image, 5.56 times less;"),
        (1000 * MEBIBYTE, 1004 * MEBIBYTE, "500.00 against 502.00 MiB per image, about as much;"),
        (1004 * MEBIBYTE, 1000 * MEBIBYTE, "502.00 against 500.00 MiB per image, about as much;"),
        (2 * MEBIBYTE, 0, "1.00 against 0.00 MiB per image;"),
    ],
    ids=["more", "less", "a little less", "a little more", "a reference of nothing"],
)
def test_what_a_model_needs_more_is_told_as_more(subject_bytes: int, reference_bytes: int, told: str) -> None:
    """Less and more have each their words, whichever of the two models is the reversible one."""
    rows = [row("rev", None, subject_bytes), row("plain", None, reference_bytes)]
    assert f"activation peak {told}" in comparison_sentences(rows, {"rev": "plain"})[0]


def test_the_way_of_keeping_states_is_told() -> None:
    """Pairs that differ in nothing else have different sentences."""
    base = row("rev", None, 2 * MEBIBYTE)
    rows = [replace(base, case=replace(base.case, activations="stored"))]
    rows += [
        replace(base, case=replace(base.case, activations="recomputed", states=way)) for way in ("coded", "inverted")
    ]
    coded, inverted, _ = comparison_sentences(rows, {})
    assert "(coded states, T=4, batch 2, float32)" in coded
    assert "(inverted states, T=4, batch 2, float32)" in inverted


def test_another_rule_than_bptt_is_told() -> None:
    """Of the pair, and of the counterpart where it is compared with BPTT instead."""
    subject, reference = row("rev", None, 4 * MEBIBYTE), row("plain", None, 2 * MEBIBYTE)
    subject, online = (replace(each, case=replace(each.case, rule="sltt")) for each in (subject, reference))
    assert comparison_sentences([subject, online], {"rev": "plain"})[0].startswith("rev against plain (sltt, T=4, ")
    closing = closings.closing(online.case, "memory", "unsupported")
    refused = replace(online, closings=(closing,))
    told = comparison_sentences([subject, refused, reference], {"rev": "plain"})[0]
    assert told.startswith("rev against plain with bptt (sltt, T=4, ")


def test_nothing_is_told_where_nothing_was_measured() -> None:
    """A pair without numbers says so and is not followed by definitions; no pair, no sentence."""
    rows = [row("rev", None, None), row("plain", None, None)]
    assert comparison_sentences(rows, {"rev": "plain"}) == ["rev against plain (T=4, batch 2, float32): not measured."]
    assert comparison_sentences(rows[:1], {"rev": "plain"}) == []


def test_of_many_simulation_lengths_the_longest_is_told() -> None:
    """Two are told both."""
    rows = [
        replace(each, case=replace(each.case, timesteps=timesteps))
        for timesteps in (4, 8, 16)
        for each in (row("rev", None, 2 * MEBIBYTE), row("plain", None, 4 * MEBIBYTE))
    ]
    told = [sentence for sentence in comparison_sentences(rows, {"rev": "plain"}) if sentence.startswith("rev")]
    assert ["T=16" in sentence for sentence in told] == [True]
    told = [sentence for sentence in comparison_sentences(rows[:4], {"rev": "plain"}) if sentence.startswith("rev")]
    assert ["T=4" in sentence for sentence in told] == [True, False]


def test_published_ratios_are_read_from_the_published_numbers() -> None:
    """Other numbers give another sentence; where one is not known, nothing is said."""

    def number(quantity: Any, value: float, method: str = "RevNet") -> PublishedNumber:
        return replace(next(iter(published_numbers())), paper="revsnn", method=method, quantity=quantity, value=value)

    numbers = [
        number("memory_ratio", 5),
        number("activation_memory_ratio", 2.5),
        number("forward_end_memory_ratio", 4.996),
        number("forward_end_memory_ratio", 7, method="another"),
        replace(number("memory_ratio", 9), paper="another"),
    ]
    assert published_sentence(numbers) == (
        "RevSNN's printed ratios (5.00) seem to be of this kind: its code, traced, gives 5.00 at the end of forward, "
        "and 2.50 at the peak."
    )
    assert published_sentence(numbers[1:]) == published_sentence(numbers[:2]) == published_sentence([]) == ""
