"""What a firing rate of the energy pass is called: `firing_rate_layer_3_timestep_0`, and back."""

import re
from dataclasses import dataclass
from typing import Self

_NAME = re.compile(r"firing_rate_layer_(\d+)(?:_timestep_(\d+))?")


@dataclass(frozen=True, slots=True)
class FiringMetric:
    """The share of neurons of a layer that spike in a timestep.

    Attributes:
        layer: of neurons, counted from 1 in the order of the forward pass.
        timestep: from 0; None for a layer that has a timestep of its own, or none.
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
