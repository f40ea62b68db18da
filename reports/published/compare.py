"""Published beside measured: their ratio where both mean the same, else every reason why they do not compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.cases import Case
from revbench.bench.records import PassName
from revbench.reports.published.numbers import PublishedCounter, PublishedNumber, Quantity

MEMORY: dict[Quantity, dict[PublishedCounter, str]] = {
    "memory": {
        "traced": "peak_bytes",
        "allocated": "cuda_allocated_bytes",
        "reserved": "cuda_reserved_bytes",
    },
    "memory_per_image": {
        "traced": "peak_bytes",
        "allocated": "cuda_allocated_bytes",
        "reserved": "cuda_reserved_bytes",
    },
    "activation_memory_per_image": {"traced": "activation_peak_bytes"},
    "forward_end_memory_per_image": {"traced": "forward_end_activation_bytes"},
}
MEMORY_RATIOS: dict[Quantity, Quantity] = {
    "memory_ratio": "memory_per_image",
    "memory_multiple": "memory_per_image",
    "activation_memory_ratio": "activation_memory_per_image",
    "forward_end_memory_ratio": "forward_end_memory_per_image",
}
"""What each is a ratio of; a multiple says how many times as much as the reference, a ratio how many times less."""
TIME: dict[Quantity, str] = {"step_time": "step_s", "throughput": "images_per_s"}
COUNTS: dict[Quantity, str] = {"parameters": "num_parameters", "macs": "dense_macs"}
LEARNT: dict[Quantity, str] = {
    "accuracy": "test_accuracy",
    "firing_rate": "firing_rate",
    "energy": "literature_energy_j",
}
SETTINGS: dict[str, str] = {"timesteps": "T", "dtype": "precision", "batch_size": "batch"}
CPU = "none"
NOT_MEASURED_HERE = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A published number and what was measured.

    Attributes:
        number: as published.
        row: the case beside it.
        reference: of a ratio, the case that the row is compared with; None where that was not run.
        measured: in bytes, seconds, joules or ones, by the published counter or, failing that, traced; None if it was
            not measured.
        counter: of memory, what produced the measured number.
        reasons: why they do not compare; none if they do.
    """

    number: PublishedNumber
    row: CaseRow
    reference: CaseRow | None
    measured: float | None
    counter: PublishedCounter | None
    reasons: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        """Measured over published; None where they do not compare."""
        published = self.number.in_base_unit
        return None if self.reasons or self.measured is None or not published else self.measured / published


def compare(
    number: PublishedNumber, row: CaseRow, gpu: str | None = None, reference: CaseRow | None = None
) -> Comparison:
    """The number beside a case of its model.

    Args:
        number: as published.
        row: a case.
        gpu: name of the device that measured it; None for a CPU.
        reference: of a ratio, the case that the row is compared with.
    """
    measured, counter = _measured(number, row, reference)
    reasons = [*_of_measuring(number, row, measured), *_of_unit(number)]
    if number.quantity in (*MEMORY, *MEMORY_RATIOS):
        reasons += _of_counter(number, counter)
    reasons += _of_settings(number, row)
    if number.quantity in TIME:
        reasons += _of_device(number, gpu)
    return Comparison(
        number=number, row=row, reference=reference, measured=measured, counter=counter, reasons=tuple(reasons)
    )


def comparisons(
    rows: Sequence[CaseRow], numbers: Sequence[PublishedNumber], gpu: str | None = None
) -> list[Comparison]:
    """Each published number of a model and rule among the rows, beside the case that compares best.

    Of numbers at several T those at the measured ones alone, if there are any.
    """
    found = []
    by_case = {row.case: row for row in rows}
    for number in numbers:
        if number.quantity in (*MEMORY, *MEMORY_RATIOS, *TIME, *COUNTS, *LEARNT):
            beside = [
                compare(number, row, gpu, by_case.get(_reference(number, row))) for row in rows if is_about(number, row)
            ]
            told = [each for each in beside if each.measured is not None]
            if told:
                found.append(min(told, key=lambda each: len(each.reasons)))
    at_measured_timesteps = {_series(each.number) for each in found if _has_timesteps(each)}
    return [each for each in found if _has_timesteps(each) or _series(each.number) not in at_measured_timesteps]


def _has_timesteps(comparison: Comparison) -> bool:
    return comparison.number.timesteps == comparison.row.case.timesteps


def _series(number: PublishedNumber) -> tuple[object, ...]:
    """What numbers that differ in T alone share."""
    return replace(number, timesteps=None, value=0).identity


def is_about(number: PublishedNumber, row: CaseRow) -> bool:
    """Whether the number is of this model, trained by this rule as the model is by itself."""
    case = row.case
    if number.model != case.model or case.activations in ("stored", "checkpointed"):
        return False
    return number.quantity in COUNTS or (number.rule or "bptt") == case.rule


def _reference(number: PublishedNumber, row: CaseRow) -> Case:
    """The case that a ratio of the row is about: that of the other model, all else equal."""
    return replace(row.case, model=number.against_model or "", activations=None, states=None)


def _measured(
    number: PublishedNumber, row: CaseRow, reference: CaseRow | None
) -> tuple[float | None, PublishedCounter | None]:
    if number.quantity in MEMORY_RATIOS:
        return _measured_ratio(number, row, reference)
    if number.quantity not in MEMORY:
        metric = (TIME | COUNTS | LEARNT).get(number.quantity)
        return (None if metric is None else getattr(row, metric)), None
    for counter in _counters(number):
        value = _bytes(number.quantity, counter, row)
        if value is not None:
            share = row.case.batch_size if number.quantity.endswith("_per_image") else 1
            return value / share, counter
    return None, None


def _measured_ratio(
    number: PublishedNumber, row: CaseRow, reference: CaseRow | None
) -> tuple[float | None, PublishedCounter | None]:
    if reference is None:
        return None, None
    for counter in _counters(number):
        own, others = (_bytes(MEMORY_RATIOS[number.quantity], counter, each) for each in (row, reference))
        if own and others:
            return (own / others if number.quantity == "memory_multiple" else others / own), counter
    return None, None


def _counters(number: PublishedNumber) -> tuple[PublishedCounter, ...]:
    """Which to look at, the published one first."""
    return number.counter or "unknown", "traced"


def _bytes(quantity: Quantity, counter: PublishedCounter, row: CaseRow) -> float | None:
    metric = MEMORY[quantity].get(counter)
    return None if metric is None else getattr(row, metric)


def _of_measuring(number: PublishedNumber, row: CaseRow, measured: float | None) -> list[str]:
    if number.quantity in LEARNT:
        return [f"trained on digits, not on {number.dataset or 'that data set'}"]
    if number.quantity not in (*MEMORY, *MEMORY_RATIOS, *TIME, *COUNTS):
        return ["nothing of the kind is measured"]
    if measured is not None:
        return []
    pass_name: PassName = "time" if number.quantity in TIME else "memory"
    status = row.pass_status(pass_name)
    return [NOT_MEASURED_HERE if status in ("ok", NOT_MEASURED) else status]


def _of_unit(number: PublishedNumber) -> list[str]:
    return [f"unit: {number.unit}"] if number.in_base_unit is None else []


def _of_counter(number: PublishedNumber, counter: PublishedCounter | None) -> list[str]:
    if number.counter == "unknown":
        return ["counter unknown"]
    if counter not in (None, number.counter):
        return [f"counter: {number.counter}, not {counter}"]
    return []


def _of_settings(number: PublishedNumber, row: CaseRow) -> list[str]:
    """What of T, precision and batch the quantity depends on, and is not known to be the same."""
    case = row.case
    published = {"timesteps": number.timesteps, "dtype": number.precision, "batch_size": number.batch_size}
    if number.quantity in COUNTS:
        del published["dtype"], published["batch_size"]
        if number.quantity == "parameters" and number.timesteps is None:
            return []
    return [
        f"{SETTINGS[name]} unknown" if value is None else f"{SETTINGS[name]}: {value}, not {getattr(case, name)}"
        for name, value in published.items()
        if value != getattr(case, name)
    ]


def _of_device(number: PublishedNumber, gpu: str | None) -> list[str]:
    if number.gpu is None:
        return ["GPU unknown"]
    if number.gpu == CPU:
        return ["on another CPU" if gpu is None else f"on a CPU, not {gpu}"]
    return [] if number.gpu == gpu else [f"GPU: {number.gpu}, not {gpu or 'a CPU'}"]
