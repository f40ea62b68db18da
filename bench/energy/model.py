r"""From counts to joules: the papers' formula, exact operations, neurons, memory, and what a dense network would take.

All energies are those of one image. They are of hypothetical hardware that skips zeros; a GPU executes dense kernels
and pays for zeros too. Conventions: one accumulation is one addition; a comparison costs an addition; roots and
exponentials have no price and are only counted.

* `literature`: $E_{MAC}\,F_1 + E_{AC} \sum_l r_l\,T\,F_l$ for dense multiply-accumulates F of a timestep and mean
  firing rates r of the inputs; all layers but those that read the real-valued input count as spiking, whatever they
  read. It ignores borders, neurons and memory, and stands here for comparison with papers only.
* `arithmetic`: accumulations and multiply-accumulates as counted.
* `with_neurons`: and neuron updates, additions, pooling, and norms with constants folded into weights. A leak is priced
  as a multiplication, also where it is a power of two and a shift would do.
* `with_memory`: and bits moved (`traffic`), under a hierarchy.
* the dense twin: each layer once, without time, all multiply-accumulates.

The quantised network stands in `quantised`.
"""

import statistics
from dataclasses import dataclass

from revbench.bench.energy.costs import Arithmetic, Costs, Hierarchy
from revbench.bench.energy.counts import Observation, Work
from revbench.bench.energy.traffic import Traffic, dense_traffic, once, traffic


def literature_j(found: Observation, arithmetic: Arithmetic) -> float:
    """The formula of papers, for comparison only."""
    layers: dict[tuple[str, str], list[int]] = {}
    encoding = 0
    for row in found.synaptic:
        if row.origin == "input" and row.kind == "real":
            encoding += row.dense_macs
        else:
            sums = layers.setdefault((row.layer, row.operator), [0, 0, 0])
            for index, number in enumerate((row.events, row.inputs, row.dense_macs)):
                sums[index] += number
    spiking = sum(events / inputs * macs for events, inputs, macs in layers.values() if inputs)
    return (encoding * arithmetic.mac_j + spiking * arithmetic.add_j) / found.batch_size


def arithmetic_j(found: Observation, arithmetic: Arithmetic) -> float:
    """Accumulations and multiply-accumulates as counted."""
    return (found.acs * arithmetic.add_j + found.macs * arithmetic.mac_j) / found.batch_size


def operations_spread_j(found: Observation, arithmetic: Arithmetic) -> float | None:
    """Standard deviation over images of the energy of the operations; None for one image."""
    energies = [
        acs * arithmetic.add_j + macs * arithmetic.mac_j
        for acs, macs in zip(found.acs_by_image, found.macs_by_image, strict=True)
    ]
    return statistics.stdev(energies) if len(energies) > 1 else None


def work_j(work: Work, arithmetic: Arithmetic) -> float:
    """Operations on single numbers; functions are not priced."""
    return (work.additions + work.comparisons) * arithmetic.add_j + work.multiplications * arithmetic.multiply_j


def with_neurons_j(found: Observation, arithmetic: Arithmetic) -> float:
    """Synaptic operators, neurons, and everything element by element with constants folded."""
    work = found.neuron_work + found.elementwise_work(folded=True)
    return arithmetic_j(found, arithmetic) + work_j(work, arithmetic) / found.batch_size


def traffic_j(moved: Traffic, hierarchy: Hierarchy, costs: Costs) -> float:
    """Of all bits of a batch, each stream at the price of its memory."""
    streams = hierarchy.model_dump(exclude_none=True)
    return float(sum(getattr(moved, stream) * costs.memory[memory].bit_j for stream, memory in streams.items()))


def with_memory_j(found: Observation, arithmetic: Arithmetic, hierarchy: Hierarchy, costs: Costs) -> float:
    """Everything: synaptic operators, neurons, and the bits that they move."""
    moved = traffic_j(traffic(found, arithmetic.bits), hierarchy, costs)
    return with_neurons_j(found, arithmetic) + moved / found.batch_size


def dense_twin_j(
    found: Observation, arithmetic: Arithmetic, hierarchy: Hierarchy | None = None, costs: Costs | None = None
) -> float:
    """The network without time whose layers all multiply; with the bits it moves, if a hierarchy is given."""
    macs = once(found, "dense_macs") * arithmetic.mac_j
    if hierarchy and costs:
        macs += traffic_j(dense_traffic(found, arithmetic.bits, arithmetic.bits), hierarchy, costs)
    return macs / found.batch_size


def chip_j(found: Observation, costs: Costs) -> dict[str, float]:
    """What neuromorphic chips would take for the synaptic operations of spikes, by their own definitions."""
    return {name: found.acs * chip.sop_j / found.batch_size for name, chip in costs.chip.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The lowest and the highest of the energies of one image, and which assumption made each."""

    low_j: float
    low: str
    high_j: float
    high: str


def band(found: Observation, costs: Costs, arithmetic: str = "fp32_45nm", *, verified_only: bool = True) -> Band:
    """From exact operations to the dearest hierarchy of the same node; the papers' formula is no part of it."""
    chosen = costs.arithmetic[arithmetic]
    node = arithmetic.rpartition("_")[2]
    energies = {
        "arithmetic": arithmetic_j(found, chosen),
        "with neurons": with_neurons_j(found, chosen),
    }
    for name, hierarchy in costs.hierarchy.items():
        memories = [costs.memory[memory] for memory in hierarchy.model_dump(exclude_none=True).values()]
        if name.endswith(node) and (not verified_only or all(memory.verified for memory in memories)):
            energies[f"with memory, {name}"] = with_memory_j(found, chosen, hierarchy, costs)
    low, high = min(energies, key=energies.__getitem__), max(energies, key=energies.__getitem__)
    return Band(low_j=energies[low], low=low, high_j=energies[high], high=high)
