r"""The quantised network that a spiking one has to beat, and the rate of spikes below which it does.

It is the dense twin with activations of $b = \lceil \log_2(T + 1) \rceil$ bits, which tell apart as many values as T
spikes do (Yan, Bai and Wong, arXiv 2409.08290), and weights of 8 bits. Its multiplication is priced as b/8 of that of 8
bits, its sums as those of 32 bits; beside it, the spiking network adds weights of 8 bits to sums of 32 bits.

The energy of the spiking network is a line in the rate of its inputs, $E(r) = E_0 + r E_1$: $E_0$ is the encoding, and
at higher levels the neurons and what is moved at any rate. Both take the same at $r = (E_{quantised} - E_0) / E_1$.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from revbench.bench.energy.costs import Costs
from revbench.bench.energy.counts import Observation
from revbench.bench.energy.model import traffic_j, work_j
from revbench.bench.energy.traffic import Traffic, dense_traffic, once, traffic

WEIGHT_BITS, SUM_BITS = 8, 32
Node = Literal["45nm", "7nm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """The quantised network beside the spiking one.

    Attributes:
        bits: of activations.
        network_j: of the quantised network, dense.
        spiking_j: of the spiking network: operations and neurons.
        break_even_rate: spikes for each input and timestep below which the spiking network takes less; negative where
            its neurons and encoding alone take more.
        operations_break_even_rate: the same with neurons and everything element by element left out, as papers do.
        memory_break_even_rates: the same with neurons and with the bits that both move, by hierarchy.
        rate: of the inputs of layers that add, as measured.
    """

    bits: int
    network_j: float
    spiking_j: float
    break_even_rate: float
    operations_break_even_rate: float
    memory_break_even_rates: dict[str, float]
    rate: float


def quantised(found: Observation, costs: Costs, node: Node) -> Quantised:
    """The comparison with a quantised network, of one image."""
    narrow, wide = costs.arithmetic[f"int8_{node}"], costs.arithmetic[f"int32_{node}"]
    bits = math.ceil(math.log2(found.timesteps + 1))
    network_j = once(found, "dense_macs") * (narrow.multiply_j * bits / WEIGHT_BITS + wide.add_j)
    encoding_j = found.macs * (narrow.multiply_j + wide.add_j)
    neurons_j = work_j(found.neuron_work + found.elementwise_work(folded=True), wide)
    dense = sum(row.dense_macs for row in found.synaptic if row.kind != "real")
    acs_j = dense * wide.add_j

    def even(of_network_j: float, at_any_rate_j: float, at_rate_one_j: float) -> float:
        return (of_network_j - at_any_rate_j) / at_rate_one_j if dense else math.nan

    # What the network moves at any rate, and what more if every input spiked.
    moved = replace(
        traffic(found, SUM_BITS, WEIGHT_BITS),
        weights_of_operations=found.macs * WEIGHT_BITS,
        sums=2 * found.macs * SUM_BITS,
    )
    by_spikes = Traffic(weights_of_operations=dense * WEIGHT_BITS, sums=2 * dense * SUM_BITS)
    of_network = dense_traffic(found, SUM_BITS, bits, WEIGHT_BITS)
    rates = {}
    for name, hierarchy in costs.hierarchy.items():
        if name.endswith(node):
            rates[name.removesuffix(f"_{node}")] = even(
                network_j + traffic_j(of_network, hierarchy, costs),
                encoding_j + neurons_j + traffic_j(moved, hierarchy, costs),
                acs_j + traffic_j(by_spikes, hierarchy, costs),
            )
    return Quantised(
        bits=bits,
        network_j=network_j / found.batch_size,
        spiking_j=(found.acs * wide.add_j + encoding_j + neurons_j) / found.batch_size,
        break_even_rate=even(network_j, encoding_j + neurons_j, acs_j),
        operations_break_even_rate=even(network_j, encoding_j, acs_j),
        memory_break_even_rates=rates,
        rate=sum(row.acs for row in found.synaptic if row.kind != "real") / dense if dense else math.nan,
    )
