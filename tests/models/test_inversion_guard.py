"""The guard of inverted states: what it predicts, what it keeps, and what it says."""

import math
import re
import warnings

import pytest
import torch
from carried_parts import CHANNELS, SHAPE, Constant, Thresholded, reads, streams_for
from reversible_parts import uneven_loss
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from revbench.models.reversible import Carry, Coupling, InversionReport, ReversibleSequence, States
from revbench.models.reversible.keeping import CARRY_TOLERANCE, LONGEST_CHAIN, STATE_TOLERANCE

ROUNDING = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}


def one_carried_stream(numbers: list[float], carries: list[Carry], **choices: object) -> ReversibleSequence:
    """Stream 0 is carried and a number is added, again and again; stream 1 is read by everybody."""
    couplings = [Coupling(0, (1,), Constant(n), carry) for n, carry in zip(numbers, carries, strict=True)]
    return ReversibleSequence(couplings, **choices)


def alternating(num_couplings: int, factor: float, **choices: object) -> ReversibleSequence:
    """Two streams with carries about that factor, read through thresholds."""
    couplings = [
        Coupling(i % 2, (1 - i % 2,), Thresholded(), Carry(CHANNELS, initial=factor)) for i in range(num_couplings)
    ]
    return ReversibleSequence(couplings, **choices)


def report(sequence: ReversibleSequence, inputs: tuple[Tensor, ...]) -> InversionReport:
    """What the guard finds, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        sequence(*inputs)
    assert sequence.inversion is not None
    return sequence.inversion


def largest_difference(sequence: ReversibleSequence, inputs: tuple[Tensor, ...]) -> float:
    """The largest absolute error of what the functions read in the backward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        forward, backward = reads(sequence, inputs)
    return max(float((a - b).abs().max()) for a, b in zip(forward, backward, strict=True))


# ------------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("tolerance", "num_kept", "predicted"),
    [(math.inf, 0, 116), (116, 0, 116), (115, 1, 40), (40, 1, 40), (39, 1, 19), (18, 2, 8), (8, 2, 8), (7, 3, 0)],
)
def test_three_updates_by_hand(tolerance: float, num_kept: int, predicted: float, dtype: torch.dtype) -> None:
    """Magnitudes 4, 8 and 9.5 (the value before or what is added, the larger one), and a least carry of 0.5.

    In units of the rounding, the errors of one chain are 4 / 0.5 = 8, then 8 + 8 / 0.25 = 40, then
    40 + 9.5 / 0.125 = 116. What exceeds the tolerance is kept, and the next update begins a new chain: with 39, the
    second value is kept, and the third update loses 9.5 / 0.5 = 19.
    """
    carries = [Carry(2) for _ in range(3)]
    with torch.no_grad():
        for carry in carries:
            carry.factor.copy_(torch.tensor([0.9, -0.5]).view(-1, 1, 1))
    sequence = one_carried_stream([1.0, 8.0, 1.0], carries, tolerance=tolerance * ROUNDING[dtype]).to(dtype)
    x = torch.zeros(1, 2, 1, 2, dtype=dtype)
    x[0, 1] = -4.0  # 3, then 6.5 and again 6.5, then 1 - 3.25
    x[0, 0, 0, 1] = 2 / 3  # 1.6, then 9.44
    found = report(sequence, (x, torch.zeros_like(x)))
    magnitudes = [4.0, 8.0, 9.44]
    chains = {116: magnitudes, 40: magnitudes[:2], 19: magnitudes[2:], 8: magnitudes[:1], 0: []}[int(predicted)]
    exact = sum(m / 0.5 ** (i + 1) for i, m in enumerate(chains))
    assert found.num_kept == num_kept
    assert found.predicted_error == pytest.approx(exact * ROUNDING[dtype], rel=1e-5)
