"""What firing rates and energies are called in records, and back: `firing_rate_layer_3_timestep_1`."""

import re
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

Operations = Literal["acs", "macs", "neurons", "elements"]
Stream = Literal["weights_once", "weights_of_operations", "sums", "potentials", "signals"]
Part = Literal[Operations, Stream, "dense"]
OPERATIONS: tuple[Operations, ...] = get_args(Operations)
STREAMS: tuple[Stream, ...] = get_args(Stream)
HIERARCHIES = ("on_chip", "sram_dram", "no_reuse")
UNCOUNTED = "num_uncounted_operators"
"""The metric of operators that no rule counts: with any, all counts are lower bounds."""
UNVERIFIED = "unverified constants"
"""The detail of an energy in which a constant is that nobody has compared with its publication."""
NAMES_APART = ", "
"""Between the names of layers or operators in the detail of a record that counts them."""

_NAME = re.compile(r"firing_rate_layer_(\d+)(?:_timestep_(\d+))?")
_ENERGY_NAME = re.compile(rf"({'|'.join(get_args(Part))})_energy_(\w+?)(?:_({'|'.join(HIERARCHIES)}))?_j")


@dataclass(frozen=True, slots=True)
class FiringMetric:
    """The share of neurons of a layer that spike in a timestep.

    Attributes:
        layer: of neurons, counted from 1 in the order of the forward pass.
        timestep: counted from 1; None for a layer that has a timestep of its own, or none.
    """

    layer: int
    timestep: int | None = None

    @property
    def name(self) -> str:
        """As records have it."""
        timestep = "" if self.timestep is None else f"_timestep_{self.timestep}"
        return f"firing_rate_layer_{self.layer}{timestep}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The metric of that name; None for any other name."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        layer, timestep = found.groups()
        return cls(int(layer), None if timestep is None else int(timestep))


@dataclass(frozen=True, slots=True)
class EnergyMetric:
    """A part of the energy of one inference, under a cost model: `sums_energy_fp32_45nm_on_chip_j`.

    Attributes:
        part: `acs`, `macs`, `neurons` and `elements` are operations; the streams of `traffic` are bits moved, and have
            a hierarchy; `dense` is all of the dense twin, with the bits that it moves where there is a hierarchy.
        model: an arithmetic (`fp32_45nm`) or a chip (`loihi`) of `costs.toml`.
        hierarchy: of memories (`on_chip`); None where no bits are moved.
    """

    part: Part
    model: str
    hierarchy: str | None = None

    @property
    def name(self) -> str:
        """As records have it."""
        hierarchy = f"_{self.hierarchy}" if self.hierarchy else ""
        return f"{self.part}_energy_{self.model}{hierarchy}_j"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The metric of that name; None for any other name."""
        found = _ENERGY_NAME.fullmatch(name)
        return cls(cast(Part, found[1]), found[2], found[3]) if found else None


@dataclass(frozen=True, slots=True)
class Priced:
    """Joules of a part of one inference.

    Attributes:
        metric: the part and the cost model.
        joules: of one image.
        is_verified: whether somebody has compared all constants in it with their publications.
    """

    metric: EnergyMetric
    joules: float
    is_verified: bool
