"""Comparisons in words: what a reversible model saves against its counterpart, and what recomputation costs."""

from collections.abc import Mapping, Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.ratios import Comparison, with_counterparts, with_stored
from revbench.reports.published import PublishedNumber, Quantity, published_numbers
from revbench.reports.units import mebibytes_text
from revbench.reports.wording import describe

MOST_TIMESTEPS = 2
DEFINITIONS = (
    "Activation peak: the largest sum of live bytes at any instant of a training step in steady state, without "
    "parameters, gradients, optimizer state, buffers and input. End of forward: the same sum when the backward pass "
    "begins."
)
PAPER = "revsnn"
_TOLD = ("depth", "width", "states", "timesteps", "batch_size", "dtype")


def comparison_sentences(rows: Sequence[CaseRow], counterparts: Mapping[str, str]) -> list[str]:
    """One sentence a pair, and the definitions where there is one.

    Of several depths the greatest alone, and of more than `MOST_TIMESTEPS` simulation lengths the longest.
    """
    pairs = [
        (comparison, comparison.reference.case.model) for comparison in _largest(with_counterparts(rows, counterparts))
    ]
    pairs += [(comparison, "the same weights with stored activations") for comparison in _largest(with_stored(rows))]
    sentences = [_sentence(comparison, name) for comparison, name in pairs]
    if not any(comparison.activation_peak_ratio for comparison, _ in pairs):
        return sentences
    return [*sentences, f"{DEFINITIONS} {published_sentence(published_numbers())}".rstrip()]


def published_sentence(numbers: Sequence[PublishedNumber]) -> str:
    """What kind of ratio RevSNN prints, judged by its code, traced; empty where one of the two is not known."""
    of_paper = [number for number in numbers if number.paper == PAPER]

    def ratios(quantity: Quantity, methods: Sequence[str]) -> list[str]:
        found = {number.method: f"{number.value:.2f}" for number in of_paper if number.quantity == quantity}
        return [found[method] for method in methods if method in found]

    methods = [number.method for number in of_paper if number.quantity == "memory_ratio"]
    quantities: tuple[Quantity, ...] = ("memory_ratio", "forward_end_memory_ratio", "activation_memory_ratio")
    printed, at_end, at_peak = (ratios(quantity, methods) for quantity in quantities)
    if not methods or not len(methods) == len(at_end) == len(at_peak):
        return ""
    return (
        f"RevSNN's printed ratios ({', '.join(printed)}) seem to be of this kind: its code, traced, gives "
        f"{' and '.join(at_end)} at the end of forward, and {' and '.join(at_peak)} at the peak."
    )


def _largest(comparisons: Sequence[Comparison]) -> list[Comparison]:
    depth = max((comparison.subject.case.depth or 0 for comparison in comparisons), default=0)
    deepest = [comparison for comparison in comparisons if (comparison.subject.case.depth or 0) == depth]
    timesteps = {comparison.subject.case.timesteps for comparison in deepest}
    shown = timesteps if len(timesteps) <= MOST_TIMESTEPS else {max(timesteps)}
    return [comparison for comparison in deepest if comparison.subject.case.timesteps in shown]


def _sentence(comparison: Comparison, reference_name: str) -> str:
    subject, reference = comparison.subject, comparison.reference
    clauses = []
    for name, below, above, ratio in (
        (
            "activation peak",
            subject.activation_peak_bytes_per_image,
            reference.activation_peak_bytes_per_image,
            comparison.activation_peak_ratio,
        ),
        (
            "end of forward",
            subject.forward_end_activation_bytes_per_image,
            reference.forward_end_activation_bytes_per_image,
            comparison.forward_end_ratio,
        ),
    ):
        if ratio is not None:
            amounts = f"{mebibytes_text(below)} against {mebibytes_text(above)} MiB per image"
            clauses.append(f"{name} {amounts}{_saving(ratio)}")
    if comparison.step_time_ratio is not None:
        clauses.append(f"step time {comparison.step_time_ratio:.2f} times as long")
    if reference.case.rule != subject.case.rule:
        reference_name = f"{reference_name} with {reference.case.rule}"
    told = describe(subject.case, _TOLD if subject.case.rule == "bptt" else ("rule", *_TOLD))
    return f"{subject.case.model} against {reference_name} ({told}): {'; '.join(clauses) or 'not measured'}."


def _saving(ratio: float) -> str:
    """Reference over subject in words: `, 3.50 times less`, `, 5.56 times as much`; nothing if the reference is 0."""
    if not ratio:
        return ""
    if round(ratio, 2) == 1:
        return ", about as much"
    return f", {ratio:.2f} times less" if ratio > 1 else f", {1 / ratio:.2f} times as much"
