"""What a published number is: its quantity, its unit, and everything that must be known to compare with it."""

from dataclasses import dataclass
from typing import Literal, get_args

from revbench.bench.analysis.big_o import GrowthClass
from revbench.bench.cases import DType

Quantity = Literal[
    "memory",
    "memory_per_image",
    "activation_memory_per_image",
    "forward_end_memory_per_image",
    "saved_memory",
    "saved_memory_per_image",
    "memory_ratio",
    "activation_memory_ratio",
    "forward_end_memory_ratio",
    "memory_multiple",
    "memory_saved",
    "model_size",
    "training_time",
    "epoch_time",
    "step_time",
    "inference_time_per_image",
    "throughput",
    "time_ratio",
    "time_saved",
    "epochs",
    "parameters",
    "macs",
    "operations_ratio",
    "energy",
    "energy_ratio",
    "accuracy",
    "firing_rate",
    "gradient_cosine",
]
Provenance = Literal["paper", "readme", "log", "second-hand", "measured on the authors' code"]
PublishedCounter = Literal["allocated", "reserved", "traced", "unknown"]
Cost = Literal["training_memory", "training_time", "inference_cost"]
Reversible = Literal["depth", "time"]
COSTS: tuple[Cost, ...] = get_args(Cost)

BYTES: dict[str, float | None] = {
    "B": 1,
    "MB": 1e6,
    "MiB": 2**20,
    "GB": 1e9,
    "GiB": 2**30,
    "MB or MiB": None,
    "GB or GiB": None,
}
SECONDS: dict[str, float | None] = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}
COUNTS: dict[str, float | None] = {"1": 1, "million": 1e6, "G": 1e9}
SHARES: dict[str, float | None] = {"1": 1, "%": 0.01}
PLAIN: dict[str, float | None] = {"1": 1}
UNITS: dict[Quantity, dict[str, float | None]] = {
    "memory": BYTES,
    "memory_per_image": BYTES,
    "activation_memory_per_image": BYTES,
    "forward_end_memory_per_image": BYTES,
    "saved_memory": BYTES,
    "saved_memory_per_image": BYTES,
    "memory_ratio": PLAIN,
    "activation_memory_ratio": PLAIN,
    "forward_end_memory_ratio": PLAIN,
    "memory_multiple": PLAIN,
    "memory_saved": SHARES,
    "model_size": BYTES,
    "training_time": SECONDS,
    "epoch_time": SECONDS,
    "step_time": SECONDS,
    "inference_time_per_image": SECONDS,
    "throughput": {"images/s": 1},
    "time_ratio": PLAIN,
    "time_saved": SHARES,
    "epochs": PLAIN,
    "parameters": COUNTS,
    "macs": COUNTS,
    "operations_ratio": PLAIN,
    "energy": {"mJ": 1e-3},
    "energy_ratio": PLAIN,
    "accuracy": SHARES,
    "firing_rate": SHARES,
    "gradient_cosine": PLAIN,
}
"""The units of each quantity, with what one of it is in bytes, seconds, joules or ones; None where a source writes MB
or GB and may mean either the decimal or the binary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper whose numbers are shipped.

    Attributes:
        key: the stem of its file, by which numbers and claims name it.
        name: as people call it.
        venue: where it was published; None where that is not known.
        link: where it can be read; None where that is not known.
    """

    key: str
    name: str
    venue: str | None
    link: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNumber:
    """One number as it was published; None and empty texts stand for what the source does not tell.

    Attributes:
        paper: name of the paper, the stem of its file.
        place: the table, figure or part.
        method: as the source calls it.
        quantity: what the number is. `memory` is the peak of a training step with weights and all else;
            `memory_per_image` that over the batch; `activation_memory_per_image` without parameters, gradients,
            optimizer state, buffers and input; `forward_end_...` the same when the backward pass begins; `saved_...`
            what autograd keeps for the backward pass. A `..._ratio` says how many times less of it than `against`, a
            `..._multiple` how many times as much, `..._saved` which share less. `macs` and `energy` are those of one
            image over all timesteps.
        value: the number, as printed.
        unit: its unit, as printed; one of `UNITS[quantity]`.
        provenance: how the number came here.
        source: where it was read or how it was measured.
        against: of a ratio, what the method is compared with.
        against_model: that as a model of `revbench list`.
        model: the model of `revbench list` that it is about, with the same input and number of classes.
        rule: the training rule, as revbench calls it.
        condition: what tells the number from others of the same place.
        dataset: data set; with it the input's size and the number of classes.
        depth: blocks in each stage, where that was varied.
        timesteps: simulation length T.
        batch_size: images of a training step on one device.
        precision: of the arithmetic; float16 and bfloat16 under autocast.
        gpu: the device, `none` for a CPU.
        counter: of memory, what produced the number; None for other quantities.
        note: what one should know before quoting it.
    """

    paper: str
    place: str
    method: str
    quantity: Quantity
    value: float
    unit: str
    provenance: Provenance
    source: str
    against: str = ""
    against_model: str | None = None
    model: str | None = None
    rule: str | None = None
    condition: str = ""
    dataset: str | None = None
    depth: int | None = None
    timesteps: int | None = None
    batch_size: int | None = None
    precision: DType | None = None
    gpu: str | None = None
    counter: PublishedCounter | None = None
    note: str = ""

    @property
    def is_memory(self) -> bool:
        """Whether a counter of bytes is behind the number."""
        return self.quantity.startswith(("memory", "activation_memory", "forward_end_memory", "saved_memory"))

    @property
    def in_base_unit(self) -> float | None:
        """The value in bytes, seconds, joules or ones; None where the unit leaves that open."""
        factor = UNITS[self.quantity][self.unit]
        return None if factor is None else self.value * factor

    @property
    def identity(self) -> tuple[object, ...]:
        """What no other number may share."""
        return (
            *(self.paper, self.place, self.method, self.quantity, self.model, self.rule, self.condition, self.against),
            *(self.dataset, self.depth, self.timesteps, self.batch_size, self.precision),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How a cost grows with the layers L and the timesteps T, as a paper states it.

    Attributes:
        paper: name of the paper, the stem of its file.
        place: the table.
        method: as the paper calls it.
        rule: the training rule, as revbench calls it; a K in it stands for a number.
        reversible: of a reversible network, along which axis it is; None for a network that stores its activations.
        cost: `training_memory`, `training_time`, or the `inference_cost` of a network of a given size.
        growth: the class.
        provenance: how the claim came here; `derived` if it was not read but follows from the method.
        source: where it was read.
    """

    paper: str
    place: str
    method: str
    rule: str
    reversible: Reversible | None
    cost: Cost
    growth: GrowthClass
    provenance: Provenance | Literal["derived"]
    source: str
