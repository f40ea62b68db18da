"""The peak of a case before it is run: the same trace on fake tensors."""

from dataclasses import replace

from revbench.bench.cases import Case
from revbench.bench.memory.measure import WARM_UP_STEPS, trace
from revbench.bench.memory.timeline import Peak, peak
from revbench.bench.training import prepare, world


def predict_peak(case: Case) -> Peak:
    """The traced peak of the case, in bytes, without its arithmetic.

    Equal to the byte to the traced peak on the CPU. On CUDA some kernels save other tensors.
    """
    fake = replace(case, device="fake")
    with world(fake):
        training = prepare(fake)
        training.warm_up(WARM_UP_STEPS)
        return peak(trace(training))
