"""What one forward pass counted, as plain values: synaptic operators, neurons, and element-wise work.

All numbers are integers, summed over the images of the batch. Convention: one fused multiply-add is one operation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

from revbench.bench.energy.content import Kind, Origin

Role = Literal["addition", "bias", "pooling", "normalisation", "scaling", "mask", "activation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Operations on single numbers.

    Attributes:
        additions: and subtractions.
        multiplications: and divisions.
        comparisons: also selections and logical operations.
        functions: roots, exponentials, logarithms and what is made of them, whatever they cost.
    """

    additions: int = 0
    multiplications: int = 0
    comparisons: int = 0
    functions: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)})

    def __mul__(self, times: int) -> "Work":
        return Work(**{f.name: getattr(self, f.name) * times for f in fields(Work)})

    def __bool__(self) -> bool:
        return self != NO_WORK


NO_WORK = Work()


class Row:
    """A frozen dataclass of which some fields are sums, and the others say of what."""

    __slots__ = ()
    SUMS: ClassVar[tuple[str, ...]]

    @property
    def identity(self) -> tuple[object, ...]:
        """What the row is about."""
        record: Any = self
        return tuple(getattr(self, f.name) for f in fields(record) if f.name not in self.SUMS)

    def plus(self, other: Self) -> Self:
        """Both rows, which are about the same, as one."""
        record: Any = self
        sums: Self = replace(record, **{name: getattr(self, name) + getattr(other, name) for name in self.SUMS})
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Synaptic(Row):
    """A convolution or matrix product in one timestep.

    Attributes:
        layer: the innermost module that ran it, as in `named_modules()`.
        operator: of torch.
        timestep: from 0; None for what the network does once for all timesteps.
        kind: what its input is, by declaration and by its values; of two inputs the one that is cheaper to read.
        scale: of spikes and levels; a constant that could be folded into the weights.
        origin: where the input comes from.
        weights: elements of the weight; 0 for a product of two inputs.
        inputs: elements of the input.
        outputs: elements of the output.
        events: elements of the input that are not zero.
        dense_macs: multiply-accumulates if nothing was skipped, padding included.
        sops: synaptic operations: each event times its true fan-out.
        acs: accumulations: of spikes one a synaptic operation, of an input of level k as many as k.
        macs: multiply-accumulates: the synaptic operations of real inputs.
    """

    SUMS = ("inputs", "outputs", "events", "dense_macs", "sops", "acs", "macs")

    layer: str
    operator: str
    timestep: int | None
    kind: Kind
    scale: float
    origin: Origin
    weights: int
    inputs: int
    outputs: int
    events: int
    dense_macs: int
    sops: int
    acs: int
    macs: int

    @property
    def should_be_spike_driven(self) -> bool:
        """Whether it reads neurons, through operators that are not synaptic, and yet must multiply."""
        return self.origin == "neurons" and self.kind == "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing(Row):
    """A layer of neurons in one timestep: neurons, spikes, and the work of updating the neurons."""

    SUMS = ("neurons", "spikes", "work")

    layer: str
    timestep: int | None
    neurons: int
    spikes: int
    work: Work

    @property
    def rate(self) -> float:
        """Spikes a neuron."""
        return self.spikes / self.neurons if self.neurons else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Row):
    """Work on single elements over all timesteps.

    Attributes:
        layer: the innermost module that did it.
        role: what it is for.
        work: as the network does it.
        folded: what is left of it once constants are folded into the weights of a neighbouring synaptic operator.
    """

    SUMS = ("work", "folded")

    layer: str
    role: Role
    work: Work
    folded: Work


@dataclass(frozen=True, kw_only=True)
class Observation:
    """All that was counted in one forward pass.

    Attributes:
        timesteps: T.
        batch_size: images that all numbers are summed over.
        synaptic: in the order of the first call.
        firing: likewise.
        elementwise: likewise.
        acs_by_image: accumulations of each image.
        macs_by_image: multiply-accumulates of each image.
        unknown: operators that no rule knows, and how often they ran on data; with any, all totals are lower bounds.
    """

    timesteps: int
    batch_size: int
    synaptic: tuple[Synaptic, ...]
    firing: tuple[Firing, ...]
    elementwise: tuple[Elementwise, ...]
    acs_by_image: tuple[float, ...]
    macs_by_image: tuple[float, ...]
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def is_lower_bound(self) -> bool:
        """Whether something ran that could not be counted."""
        return bool(self.unknown)

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates if nothing was skipped."""
        return sum(row.dense_macs for row in self.synaptic)

    @property
    def sops(self) -> int:
        """Synaptic operations of spikes and levels."""
        return sum(row.sops for row in self.synaptic if row.kind != "real")

    @property
    def acs(self) -> int:
        """Accumulations."""
        return sum(row.acs for row in self.synaptic)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of real inputs."""
        return sum(row.macs for row in self.synaptic)

    @property
    def firing_rate(self) -> float:
        """Spikes a neuron and timestep, over all layers of neurons."""
        neurons = sum(row.neurons for row in self.firing)
        return sum(row.spikes for row in self.firing) / neurons if neurons else 0.0

    @property
    def neuron_work(self) -> Work:
        """Of all neuron updates."""
        return total(row.work for row in self.firing)

    def elementwise_work(self, *, folded: bool) -> Work:
        """Of everything else, as the network does it or with constants folded into weights."""
        return total(row.folded if folded else row.work for row in self.elementwise)

    @property
    def not_spike_driven(self) -> list[str]:
        """Layers that read neurons and must multiply all the same."""
        return list(dict.fromkeys(row.layer for row in self.synaptic if row.should_be_spike_driven))

    def layers_firing(self, below: float, above: float) -> tuple[list[str], list[str]]:
        """Layers of neurons that are silent (at most `below` spikes a neuron) and saturated (at least `above`)."""
        rates = {
            layer: sum(row.spikes for row in rows) / max(1, sum(row.neurons for row in rows))
            for layer, rows in _by_layer(self.firing).items()
        }
        silent = [layer for layer, rate in rates.items() if rate <= below]
        return silent, [layer for layer, rate in rates.items() if rate >= above]


def total(works: Iterable[Work]) -> Work:
    """The sum."""
    return sum(works, NO_WORK)


def _by_layer(rows: Iterable[Firing]) -> dict[str, list[Firing]]:
    groups: dict[str, list[Firing]] = {}
    for row in rows:
        groups.setdefault(row.layer, []).append(row)
    return groups
