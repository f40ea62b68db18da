"""The operations pass: what one inference multiplies if nothing is skipped, of any size, without training.

Counted on fake tensors: exact integers that depend on shapes alone. One fused multiply-add is one operation. Their
energy is that of arithmetic alone and of a network in which no input is zero: how much less spikes take, the energy
pass tells of trained networks.
"""

from dataclasses import replace

from revbench.bench.cases import Case
from revbench.bench.energy.costs import costs
from revbench.bench.energy.measure import ARITHMETIC, training_measurements
from revbench.bench.energy.training import training_work
from revbench.bench.records import Measurement
from revbench.bench.summary import summarise
from revbench.bench.training import prepare, world


def operations_pass(case: Case) -> list[Measurement]:
    """Multiply-accumulates of one image, in inference and in training, their energy, and the number of parameters."""
    fake = replace(case, device="fake")
    with world(fake):
        total = summarise(prepare(fake).model).total
    unskipped_j = total.macs * costs().arithmetic[ARITHMETIC].mac_j
    return [
        Measurement(metric="unskipped_energy_j", value=unskipped_j, unit="J", detail="if no input was zero"),
        Measurement(metric="dense_macs", value=total.macs, unit="1"),
        Measurement(metric="num_parameters", value=total.parameters, unit="1"),
        *training_measurements(training_work(case), case.batch_size),
    ]
