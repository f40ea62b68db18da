"""The cost models of `costs.toml`: constants with their sources, read and checked."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, field_validator

PICO = 1e-12
SOURCE = Path(__file__).with_name("costs.toml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Strict):
    """What all constants have: unit, node, source, the place in it, and whether somebody has compared them."""

    unit: Literal["pJ"]
    node: str
    source: str
    page: str
    verified: bool


class Arithmetic(Constant):
    """Energy of one addition and one multiplication of numbers of `bits`, in pJ."""

    bits: PositiveInt
    add: PositiveFloat
    multiply: PositiveFloat

    @property
    def add_j(self) -> float:
        """Joules of an addition, which is also an accumulation (AC)."""
        return self.add * PICO

    @property
    def multiply_j(self) -> float:
        """Joules of a multiplication."""
        return self.multiply * PICO

    @property
    def mac_j(self) -> float:
        """Joules of a multiply-accumulate: both."""
        return self.add_j + self.multiply_j


class Memory(Constant):
    """Energy of one access of `bits`, in pJ."""

    bits: PositiveInt
    access: PositiveFloat

    @property
    def bit_j(self) -> float:
        """Joules of a bit of an access; the width is part of the constant."""
        return self.access * PICO / self.bits


class Chip(Constant):
    """Energy of one synaptic operation of a neuromorphic chip, as its authors define it, in pJ."""

    synaptic_operation: PositiveFloat

    @property
    def sop_j(self) -> float:
        """Joules of a synaptic operation."""
        return self.synaptic_operation * PICO


class Hierarchy(_Strict):
    """The memory that each stream of numbers goes to; None for registers, which cost nothing here."""

    weights_once: str | None = None
    weights_of_operations: str | None = None
    sums: str | None = None
    potentials: str | None = None
    signals: str | None = None


class Costs(_Strict):
    """All constants, by name."""

    sources: dict[str, str]
    arithmetic: dict[str, Arithmetic]
    memory: dict[str, Memory]
    chip: dict[str, Chip]
    hierarchy: dict[str, Hierarchy]

    @field_validator("hierarchy")
    @classmethod
    def _names_memories(cls, hierarchies: dict[str, Hierarchy], info: Any) -> dict[str, Hierarchy]:
        named = {
            name for hierarchy in hierarchies.values() for name in hierarchy.model_dump(exclude_none=True).values()
        }
        if unknown := named - info.data["memory"].keys():
            raise ValueError(f"no such memory: {', '.join(sorted(unknown))}")
        return hierarchies

    def constants(self) -> dict[str, Constant]:
        """Arithmetic, memories and chips by name."""
        return {**self.arithmetic, **self.memory, **self.chip}

    def model_post_init(self, context: Any) -> None:
        """Every constant names a source that is there."""
        if unknown := {constant.source for constant in self.constants().values()} - self.sources.keys():
            raise ValueError(f"no such source: {', '.join(sorted(unknown))}")


@cache
def costs() -> Costs:
    """The constants that the project ships."""
    return Costs.model_validate(tomllib.loads(SOURCE.read_text(encoding="utf-8")))
