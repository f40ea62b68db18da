"""The energy of one inference, part by part, under every cost model: who reads the records can add up as they like.

Operations are priced by an arithmetic, bits moved by a hierarchy of memories of the same node. A chip prices
accumulations alone: its figure includes what its authors include, and it multiplies nothing.
"""

from collections.abc import Iterator

from revbench.bench.energy.costs import Arithmetic, Chip, Costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.metric import STREAMS, EnergyMetric, Part, Priced
from revbench.bench.energy.model import dense_twin_j, work_j
from revbench.bench.energy.traffic import traffic


def priced(found: Observation, costs: Costs) -> list[Priced]:
    """All parts under all cost models: every arithmetic, its hierarchies, and every chip."""
    parts: list[Priced] = []
    for model, arithmetic in costs.arithmetic.items():
        parts += _operations(found, model, arithmetic)
        for hierarchy in hierarchies_of(model, costs):
            parts += _moved(found, model, hierarchy, costs)
    for model, chip in costs.chip.items():
        parts.append(_on_chip(found, model, chip))
    return parts


def hierarchies_of(model: str, costs: Costs) -> list[str]:
    """The names of the hierarchies of an arithmetic's node, as `costs.toml` has them."""
    return [name for name in costs.hierarchy if name.endswith(_node(model))]


def _node(model: str) -> str:
    """The end of a name: `_45nm`."""
    return "_" + model.rpartition("_")[2]


def _operations(found: Observation, model: str, arithmetic: Arithmetic) -> Iterator[Priced]:
    joules: dict[Part, float] = {
        "acs": found.acs * arithmetic.add_j,
        "macs": found.macs * arithmetic.mac_j,
        "neurons": work_j(found.neuron_work, arithmetic),
        "elements": work_j(found.elementwise_work(folded=True), arithmetic),
        "dense": dense_twin_j(found, arithmetic) * found.batch_size,
    }
    for part, of_batch in joules.items():
        yield Priced(EnergyMetric(part, model), of_batch / found.batch_size, arithmetic.verified)


def _moved(found: Observation, model: str, name: str, costs: Costs) -> Iterator[Priced]:
    arithmetic, hierarchy = costs.arithmetic[model], costs.hierarchy[name]
    kind, placed = name.removesuffix(_node(model)), hierarchy.model_dump(exclude_none=True)
    moved = traffic(found, arithmetic.bits)
    for stream in STREAMS:
        if stream in placed:
            memory = costs.memory[placed[stream]]
            joules = getattr(moved, stream) * memory.bit_j / found.batch_size
            yield Priced(EnergyMetric(stream, model, kind), joules, memory.verified)
    is_verified = arithmetic.verified and all(costs.memory[memory].verified for memory in placed.values())
    yield Priced(EnergyMetric("dense", model, kind), dense_twin_j(found, arithmetic, hierarchy, costs), is_verified)


def _on_chip(found: Observation, model: str, chip: Chip) -> Priced:
    return Priced(EnergyMetric("acs", model), found.acs * chip.sop_j / found.batch_size, chip.verified)
