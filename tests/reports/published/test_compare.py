"""Published beside measured: a ratio where both mean the same, else each reason why not."""

from dataclasses import replace
from typing import Any

import closings
import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case
from revbench.reports.published import PublishedNumber, published_numbers
from revbench.reports.published.compare import compare, comparisons, is_about

CASE = Case(model="preactresnet18", rule="sltt", timesteps=6, batch_size=128, dtype="float16", device="cuda")
ROW = CaseRow(
    case=CASE,
    num_parameters=11_176_906,
    peak_bytes=900 * 2**20,
    activation_peak_bytes=512 * 2**20,
    forward_end_activation_bytes=256 * 2**20,
    cuda_allocated_bytes=2**30,
    cuda_reserved_bytes=3 * 2**30,
    step_s=0.5,
    images_per_s=256.0,
    dense_macs=3e9,
    test_accuracy=0.9,
)
MEMORY = PublishedNumber(
    paper="sltt",
    place="table",
    method="SLTT",
    quantity="memory",
    value=1.5,
    unit="GiB",
    provenance="paper",
    source="table",
    model="preactresnet18",
    rule="sltt",
    dataset="CIFAR-10",
    timesteps=6,
    batch_size=128,
    precision="float16",
    gpu="V100",
    counter="reserved",
)
TIME = replace(MEMORY, quantity="step_time", value=250, unit="ms", counter=None)


def reasons(number: PublishedNumber, row: CaseRow = ROW, gpu: str | None = "V100") -> list[str]:
    """Why they do not compare; with a reason there is no ratio, without one there is."""
    found = compare(number, row, gpu)
    assert (found.ratio is None) == bool(found.reasons)
    return list(found.reasons)


def test_what_agrees_has_a_ratio() -> None:
    """Measured over published, in the same unit, by the published counter."""
    found = compare(MEMORY, ROW, "V100")
    assert (found.reasons, found.ratio, found.counter) == ((), 2, "reserved")
    assert compare(replace(MEMORY, counter="allocated"), ROW).ratio == pytest.approx(2 / 3)
    assert compare(TIME, ROW, "V100").ratio == 2


@pytest.mark.parametrize(("value", "unit"), [(1024, "MiB"), (1073.741824, "MB"), (1.073741824, "GB"), (2**30, "B")])
def test_units_are_converted(value: float, unit: str) -> None:
    """MB is a million bytes and MiB is 2^20, whatever they are called elsewhere."""
    assert compare(replace(MEMORY, value=value, unit=unit), ROW).ratio == 3


@pytest.mark.parametrize(
    ("quantity", "value", "ratio"),
    [
        ("memory_per_image", 9, 0.78125),
        ("activation_memory_per_image", 8, 0.5),
        ("forward_end_memory_per_image", 8, 0.25),
    ],
)
def test_memory_of_an_image(quantity: Any, value: float, ratio: float) -> None:
    """What is published for each image is compared with the share of one."""
    number = replace(MEMORY, quantity=quantity, value=value, unit="MiB", counter="traced")
    assert compare(number, ROW).ratio == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": "GB or GiB"}, ["unit: GB or GiB"]),
        ({"counter": "unknown"}, ["counter unknown"]),
        ({"timesteps": 4}, ["T: 4, not 6"]),
        ({"timesteps": None}, ["T unknown"]),
        ({"precision": "float32"}, ["precision: float32, not float16"]),
        ({"precision": None}, ["precision unknown"]),
        ({"batch_size": 256}, ["batch: 256, not 128"]),
        ({"batch_size": None}, ["batch unknown"]),
        ({"gpu": None}, []),
        (
            {"unit": "MB or MiB", "counter": "unknown", "timesteps": None},
            ["unit: MB or MiB", "counter unknown", "T unknown"],
        ),
    ],
)
def test_every_reason_of_memory(changes: dict[str, Any], expected: list[str]) -> None:
    """One thing that differs or is unknown is one reason; the GPU is of no matter to memory."""
    assert reasons(replace(MEMORY, **changes)) == expected


def test_another_counter_is_a_reason() -> None:
    """Without CUDA only the traced number is there; it is shown, and not divided."""
    row = replace(ROW, cuda_allocated_bytes=None, cuda_reserved_bytes=None)
    found = compare(MEMORY, row)
    assert (found.measured, found.counter) == (900 * 2**20, "traced")
    assert found.reasons == ("counter: reserved, not traced",)


@pytest.mark.parametrize(
    ("published", "gpu", "expected"),
    [
        (None, "V100", ["GPU unknown"]),
        ("A100", "V100", ["GPU: A100, not V100"]),
        ("A100", None, ["GPU: A100, not a CPU"]),
        ("none", None, ["on another CPU"]),
        ("none", "V100", ["on a CPU, not V100"]),
    ],
)
def test_every_reason_of_time(published: str | None, gpu: str | None, expected: list[str]) -> None:
    """Times compare on the same device alone."""
    assert reasons(replace(TIME, gpu=published), gpu=gpu) == expected
    assert reasons(replace(TIME, batch_size=None)) == ["batch unknown"]


def test_counts_depend_on_little() -> None:
    """Parameters and operations do not know batch, precision or device; operations know T."""
    parameters = replace(MEMORY, quantity="parameters", value=11_176_906, unit="1", counter=None)
    bare = replace(parameters, batch_size=None, precision=None, gpu=None, timesteps=None)
    assert compare(bare, ROW).ratio == 1
    macs = replace(bare, quantity="macs", value=3, unit="G")
    assert reasons(macs) == ["T unknown"]
    assert compare(replace(macs, timesteps=6), ROW).ratio == 1


def test_what_was_learnt_on_other_data_never_compares() -> None:
    """Accuracy, energy and firing rates are those of digits here."""
    number = replace(MEMORY, quantity="accuracy", value=94, unit="%", counter=None)
    assert reasons(number) == ["trained on digits, not on CIFAR-10"]


def test_what_was_not_measured_says_why() -> None:
    """A pass that failed gives its status, one that was not run that it was not."""
    empty = CaseRow(case=CASE)
    assert reasons(TIME, empty) == ["not measured"]
    failed = replace(empty, closings=(closings.closing(CASE, "memory", "oom", ""),))
    assert reasons(MEMORY, failed) == ["oom"]
    assert reasons(replace(MEMORY, quantity="saved_memory", counter="traced"), ROW) == [
        "nothing of the kind is measured"
    ]


def test_a_number_is_about_its_model_and_rule() -> None:
    """No rule means BPTT; counts are the same under every rule; other ways of keeping activations are no match."""
    assert is_about(MEMORY, ROW)
    assert not is_about(replace(MEMORY, rule=None), ROW)
    assert is_about(replace(MEMORY, rule=None), CaseRow(case=replace(CASE, rule="bptt")))
    assert is_about(replace(MEMORY, rule="bptt", quantity="parameters"), ROW)
    assert not is_about(replace(MEMORY, model="vgg11sws"), ROW)
    assert not is_about(MEMORY, CaseRow(case=replace(CASE, activations="checkpointed")))


def test_each_number_stands_beside_the_case_that_compares_best() -> None:
    """Of several simulation lengths that of the paper."""
    other = replace(ROW, case=replace(CASE, timesteps=4))
    (found,) = comparisons([other, ROW], [MEMORY], "V100")
    assert found.row is ROW


def test_of_several_simulation_lengths_the_measured_ones() -> None:
    """A curve against T is shown where it was measured; a number at another T alone stands with its reason."""
    curve = [replace(MEMORY, timesteps=timesteps) for timesteps in (4, 6, 8)]
    assert [each.number.timesteps for each in comparisons([ROW], curve, "V100")] == [6]
    assert [each.number.timesteps for each in comparisons([ROW], [curve[0]], "V100")] == [4]


def test_what_is_not_measured_has_no_place() -> None:
    """Neither a case without the number, nor a quantity that no case has."""
    assert comparisons([CaseRow(case=CASE)], [MEMORY]) == []
    assert comparisons([ROW], [replace(MEMORY, quantity="memory_ratio", unit="1")]) == []


def test_the_authors_code_measured_again() -> None:
    """Numbers that are shipped compare with a measurement of their settings."""
    case = Case(model="preactresnet18", rule="sltt", timesteps=4, batch_size=4)
    row = CaseRow(case=case, peak_bytes=183_100_000, num_parameters=11_176_906)
    found = {each.number.quantity: each for each in comparisons([row], published_numbers()) if each.ratio is not None}
    assert {quantity: each.ratio for quantity, each in found.items()} == pytest.approx({"memory": 1, "parameters": 1})
    assert found["memory"].number.provenance == "measured on the authors' code"


RATIO = replace(MEMORY, quantity="memory_ratio", value=2, unit="1", against="ResNet", against_model="resnet19")
REFERENCE = replace(ROW, case=replace(CASE, model="resnet19"), cuda_reserved_bytes=12 * 2**30, peak_bytes=1800 * 2**20)


@pytest.mark.parametrize(
    ("changes", "measured", "ratio"),
    [
        ({}, 4, 2),
        ({"quantity": "memory_multiple", "value": 0.5}, 0.25, 0.5),
        ({"counter": "traced"}, 2, 1),
        ({"counter": "traced", "quantity": "activation_memory_ratio"}, 3, 1.5),
        ({"counter": "traced", "quantity": "forward_end_memory_ratio"}, 4, 2),
        ({"counter": "unknown"}, 2, None),
        ({"batch_size": 4}, 4, None),
        ({"timesteps": 4}, 4, None),
        ({"precision": None}, 4, None),
    ],
)
def test_ratios_of_memory(changes: dict[str, Any], measured: float, ratio: float | None) -> None:
    """How many times less than the other model, or how many times as much; divided where all settings agree."""
    reference = replace(REFERENCE, activation_peak_bytes=1536 * 2**20, forward_end_activation_bytes=2**30)
    (found,) = comparisons([ROW, reference], [replace(RATIO, **changes)])
    assert (found.row, found.reference, found.measured) == (ROW, reference, measured)
    assert found.ratio == ratio
    assert bool(found.reasons) == (ratio is None)


def test_a_ratio_needs_both_cases() -> None:
    """Without the other model, or with one of another T, there is nothing to set beside the number."""
    other = replace(REFERENCE, case=replace(REFERENCE.case, timesteps=4))
    assert comparisons([ROW], [RATIO]) == comparisons([ROW, other], [RATIO]) == []
    assert compare(RATIO, ROW).reasons == ("not measured",)
    assert comparisons([ROW, REFERENCE], [replace(RATIO, against_model=None)]) == []


def test_a_ratio_of_a_counter_that_one_case_lacks_is_traced() -> None:
    """It is shown, and not divided."""
    (found,) = comparisons([ROW, replace(REFERENCE, cuda_reserved_bytes=None)], [RATIO])
    assert (found.measured, found.counter, found.reasons) == (2, "traced", ("counter: reserved, not traced",))
