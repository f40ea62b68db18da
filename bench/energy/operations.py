"""The operations pass: what one inference multiplies if nothing is skipped, of any size, without training.

Counted on fake tensors: exact integers that depend on shapes alone. One fused multiply-add is one operation.
"""

from dataclasses import replace

from revbench.bench.cases import Case
from revbench.bench.energy.measure import training_measurements
from revbench.bench.energy.training import training_work
from revbench.bench.records import Measurement
from revbench.bench.summary import summarise
from revbench.bench.training import prepare, world


def operations_pass(case: Case) -> list[Measurement]:
    """Multiply-accumulates of one image, in inference and in training, and the parameters that they are made with."""
    fake = replace(case, device="fake")
    with world(fake):
        total = summarise(prepare(fake).model).total
    return [
        Measurement(metric="dense_macs", value=total.macs, unit="1"),
        Measurement(metric="num_parameters", value=total.parameters, unit="1"),
        *training_measurements(training_work(case), case.batch_size),
    ]
