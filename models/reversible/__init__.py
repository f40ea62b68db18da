"""The recomputation engine: reversible sequences that store only their outputs."""

from revbench.models.reversible.sequence import Activations, Coupling, ReversibleSequence

__all__ = ["Activations", "Coupling", "ReversibleSequence"]
