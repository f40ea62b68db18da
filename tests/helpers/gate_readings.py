"""Readings of cases, made by hand."""

from collections.abc import Mapping

from revbench.bench.cases import Case
from revbench.bench.gate.reading import Highest, Holder, Reading
from revbench.bench.memory.timeline import ACTIVATION_KINDS
from revbench.bench.records import Counter

CASE = Case(model="msresnet", depth=1, width=8, timesteps=2, batch_size=2, device="fake")
HELD = {
    Holder("(no layer)", "all", "inputs"): 100,
    Holder("blocks.0", "1", "saved"): 30,
    Holder("blocks.0", "2", "saved"): 40,
    Holder("blocks.1", "all", "optimizer_state"): 7,
}


def highest(held: Mapping[Holder, int], phase: str = "backward") -> Highest:
    """An instant at which these hold bytes."""
    return Highest(num_bytes=sum(held.values()), phase=phase, by_holder=held)


def reading(
    held: Mapping[Holder, int] = HELD,
    activations: Mapping[Holder, int] | None = None,
    *,
    case: Case = CASE,
    phase: str = "backward",
    cuda: Mapping[Counter, int] | None = None,
) -> Reading:
    """A reading; the activation peak is at the same instant unless it is given."""
    own = {holder: num_bytes for holder, num_bytes in held.items() if holder.kind in ACTIVATION_KINDS}
    traced = {
        "peak_bytes": highest(held, phase),
        "activation_peak_bytes": highest(own if activations is None else activations, phase),
    }
    return Reading(case=case, traced=traced, cuda=cuda or {})


def without_bytes(status: str, detail: str = "", case: Case = CASE) -> Reading:
    """A reading of a case that is unsupported or failed."""
    return Reading(case=case, status=status, detail=detail)
