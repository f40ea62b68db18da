"""What the records of an energy pass say beyond single numbers: rates of layers, parts of energies, and flags."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from revbench.bench.energy.metric import NAMES_APART, UNCOUNTED, UNVERIFIED, EnergyMetric, FiringMetric, Priced
from revbench.bench.records import STATUS_METRIC, Record


@dataclass(frozen=True, slots=True)
class LayerRate:
    """Spikes a neuron of a layer in a timestep; the timestep is None for a layer that has one of its own, or none."""

    layer: int
    name: str
    timestep: int | None
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyDetails:
    """All that the wide row has no column for.

    Attributes:
        num_epochs: of training on digits before the inference; None with weights from a checkpoint.
        rates: of each layer of neurons in each timestep.
        parts: of the energy of an inference, under all cost models.
        silent_layers: of neurons, in which nothing fires.
        saturated_layers: of neurons, in which nearly all fire nearly always.
        layers_not_spike_driven: that read neurons and must multiply all the same.
        uncounted_operators: with any, all counts are lower bounds.
        quantised_bits: of the quantised network's activations, in words.
        meter: behind measured joules, in words.
        unmetered: why there are none.
    """

    num_epochs: int | None = None
    rates: tuple[LayerRate, ...] = ()
    parts: tuple[Priced, ...] = ()
    silent_layers: tuple[str, ...] = ()
    saturated_layers: tuple[str, ...] = ()
    layers_not_spike_driven: tuple[str, ...] = ()
    uncounted_operators: tuple[str, ...] = ()
    quantised_bits: str = ""
    meter: str = ""
    unmetered: str = ""


def energy_details(records: Sequence[Record]) -> EnergyDetails:
    """The details in the records of one case."""
    by_metric = {record.metric: record for record in records if record.metric != STATUS_METRIC}

    def detail(metric: str) -> str:
        return by_metric[metric].detail if metric in by_metric else ""

    def named(metric: str) -> tuple[str, ...]:
        return tuple(filter(None, detail(metric).split(NAMES_APART)))

    epochs = by_metric.get("num_epochs")
    metered = by_metric.get("training_gross_j")
    return EnergyDetails(
        num_epochs=None if epochs is None or epochs.value is None else int(epochs.value),
        rates=tuple(_rates(by_metric.values())),
        parts=tuple(_parts(by_metric.values())),
        silent_layers=named("num_silent_layers"),
        saturated_layers=named("num_saturated_layers"),
        layers_not_spike_driven=named("num_layers_not_spike_driven"),
        uncounted_operators=named(UNCOUNTED),
        quantised_bits=detail("quantised_energy_j"),
        meter=metered.detail if metered and metered.value is not None else "",
        unmetered=metered.detail if metered and metered.value is None else "",
    )


def _rates(records: Iterable[Record]) -> Iterable[LayerRate]:
    for record in records:
        metric = FiringMetric.parse(record.metric)
        if metric is not None and record.value is not None:
            yield LayerRate(metric.layer, record.detail, metric.timestep, record.value)


def _parts(records: Iterable[Record]) -> Iterable[Priced]:
    for record in records:
        metric = EnergyMetric.parse(record.metric)
        if metric is not None and record.value is not None:
            yield Priced(metric, record.value, record.detail != UNVERIFIED)
