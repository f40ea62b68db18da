r"""Bits that an inference moves: weights, sums, potentials and the signals between layers.

For numbers of b bits: every synaptic operation reads a weight (or the other factor of a product) and reads and writes
a sum; every neuron reads and writes its potential in every timestep; every layer writes what it sends and every
synaptic operator reads its input, a spike as one bit and anything else as b. `weights_once` is each weight a single
time: 9,216 bytes for a convolution 3x3 of 16 to 16 channels, however many spikes pass.
"""

from dataclasses import dataclass

from revbench.bench.energy.counts import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bits, summed over the images of the batch; each field is a stream that a hierarchy places."""

    weights_once: int = 0
    weights_of_operations: int = 0
    sums: int = 0
    potentials: int = 0
    signals: int = 0


def traffic(found: Observation, bits: int, weight_bits: int | None = None) -> Traffic:
    """Of a spiking network that skips zeros; weights may have fewer bits than other numbers."""
    weight_bits = weight_bits or bits
    operations = sum(row.acs + row.macs for row in found.synaptic)
    weights = {(row.layer, row.operator): row.weights for row in found.synaptic}
    updates = sum(row.neurons for row in found.firing)
    read = sum(row.inputs * (1 if row.kind == "spikes" else bits) for row in found.synaptic)
    return Traffic(
        weights_once=sum(weights.values()) * weight_bits * found.batch_size,
        weights_of_operations=operations * weight_bits,
        sums=2 * operations * bits,
        potentials=2 * updates * bits,
        signals=read + updates,
    )


def dense_traffic(found: Observation, bits: int, signal_bits: int, weight_bits: int | None = None) -> Traffic:
    """Of the twin that runs every layer once, without time, skips nothing and sends numbers of `signal_bits`."""
    weight_bits = weight_bits or bits
    macs = once(found, "dense_macs")
    weights = {(row.layer, row.operator): row.weights for row in found.synaptic}
    return Traffic(
        weights_once=sum(weights.values()) * weight_bits * found.batch_size,
        weights_of_operations=macs * weight_bits,
        sums=2 * macs * bits,
        signals=(once(found, "inputs") + once(found, "outputs")) * signal_bits,
    )


def once(found: Observation, sums: str) -> int:
    """A sum over synaptic operators as if each ran in one timestep alone."""
    timesteps: dict[tuple[str, str], set[int | None]] = {}
    for row in found.synaptic:
        timesteps.setdefault((row.layer, row.operator), set()).add(row.timestep)
    totals: dict[tuple[str, str], int] = {}
    for row in found.synaptic:
        place = (row.layer, row.operator)
        totals[place] = totals.get(place, 0) + getattr(row, sums)
    return sum(number // len(timesteps[place]) for place, number in totals.items())
