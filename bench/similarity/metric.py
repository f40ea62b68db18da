"""What a metric of the similarity pass is called: `similarity_stage_ends_epoch_3_layer_12`, and back."""

import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

Kept = Literal["stage_ends", "elsewhere", "nowhere"]
KEPT: tuple[Kept, ...] = get_args(Kept)
"""Where neurons keep their temporal gradients: at the stage ends alone, everywhere but there, nowhere (SLTT)."""
_NAME = re.compile(rf"similarity_({'|'.join(KEPT)})_epoch_(\d+)(?:_layer_(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class SimilarityMetric:
    """The cosine between the full gradient and the one with temporal gradients kept in part.

    Attributes:
        kept: where temporal gradients are kept.
        epoch: after how many epochs of training; 0 before the first.
        layer: of the weight of which convolution or linear layer, counted from 1; None for that of all parameters.
    """

    kept: Kept
    epoch: int
    layer: int | None = None

    @property
    def name(self) -> str:
        """As records have it."""
        layer = "" if self.layer is None else f"_layer_{self.layer}"
        return f"similarity_{self.kept}_epoch_{self.epoch}{layer}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The metric of that name; None for any other name."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        kept, epoch, layer = found.groups()
        (where,) = (each for each in KEPT if each == kept)
        return cls(where, int(epoch), None if layer is None else int(layer))
