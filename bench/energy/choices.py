"""What the command line chooses for the passes of a run beside its cases."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What no case says: where its weights lie today, and what makes it fail.

    Attributes:
        checkpoint: the file whose digest the case holds; None where the pass trains the network.
        strict: whether an operator that no rule counts is an error.
    """

    checkpoint: Path | None = None
    strict: bool = False
