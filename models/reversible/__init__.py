"""The recomputation engine: reversible sequences that keep little more than their outputs."""

from revbench.models.reversible.couplings import Carry, Coupling
from revbench.models.reversible.keeping import InversionReport, States
from revbench.models.reversible.sequence import Activations, ReversibleSequence

__all__ = ["Activations", "Carry", "Coupling", "InversionReport", "ReversibleSequence", "States"]
