"""The guard of inverted states: what it predicts, what it keeps, and what it says."""

import math
import warnings

import pytest
import torch
from carried_parts import CHANNELS, SHAPE, Constant, Thresholded, reads, streams_for
from reversible_parts import uneven_loss
from torch import Tensor
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
    [(math.inf, 0, 110), (110, 0, 110), (109, 1, 40), (40, 1, 40), (39, 1, 17.5), (17, 2, 8), (8, 2, 8), (7, 3, 0)],
)
def test_three_updates_by_hand(tolerance: float, num_kept: int, predicted: float, dtype: torch.dtype) -> None:
    """Magnitudes 4, 8 and 8.75 (of the value before or of what is added), and a least carry of 0.5.

    In units of the rounding, the errors of one chain are 4 / 0.5 = 8, then 8 + 8 / 0.25 = 40, then
    40 + 8.75 / 0.125 = 110. What exceeds the tolerance is kept, and the next update begins a new chain: with 39, the
    second value is kept, and the third update loses 8.75 / 0.5 = 17.5.
    """
    carries = [Carry(2) for _ in range(3)]
    with torch.no_grad():
        for carry in carries:
            carry.factor.copy_(torch.tensor([0.75, -0.5]).view(-1, 1, 1))
    sequence = one_carried_stream([1.0, 8.0, 1.0], carries, tolerance=tolerance * ROUNDING[dtype]).to(dtype)
    x = torch.tensor([0.0, -4.0], dtype=dtype).view(1, 2, 1, 1)  # then 1 and 3, then 8.75 and 6.5
    assert report(sequence, (x, x)) == InversionReport(num_kept, predicted * ROUNDING[dtype])


def test_streams_have_chains_of_their_own() -> None:
    """Two streams in turn: each update is the first or second of its stream, not the first to fourth."""
    couplings = [Coupling(i % 2, (1 - i % 2,), Constant(1.0), Carry(2)) for i in range(4)]
    x = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    found = report(ReversibleSequence(couplings).double(), (x, x))
    assert found == InversionReport(0, (1 / 0.5 + 1.5 / 0.25) * 2.0**-53)


@pytest.mark.parametrize("tolerance", [STATE_TOLERANCE, math.inf])
@pytest.mark.parametrize("num_updates", [1, 3])
def test_updates_of_one_stream_alone(num_updates: int, tolerance: float) -> None:
    """Nothing is kept for the mere number of updates, also where every coupling updates the same stream."""
    carries = [Carry(2, initial=1.0) for _ in range(num_updates)]
    sequence = one_carried_stream([1.0] * num_updates, carries, tolerance=tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequence(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))
    assert sequence.inversion is not None
    assert sequence.inversion.num_kept == 0
    assert sequence.inversion.predicted_error > 0


def test_a_state_of_zeros_loses_what_is_added() -> None:
    """The first change of a state that begins at rest is rounded as large as it makes the state."""
    sequence = one_carried_stream([1e4], [Carry(2, initial=0.01)])
    zeros = torch.zeros(1, 2, 1, 1)
    found = report(sequence, (zeros, zeros))
    assert found.num_kept == 1
    sequence.tolerance = 1.0
    assert report(sequence, (zeros, zeros)).predicted_error == pytest.approx(1e4 * 2.0**-24 / 0.01)


def test_streams_without_elements() -> None:
    """Nothing can be lost of them."""
    sequence = alternating(4, 0.001)
    assert report(sequence, (torch.zeros(0, CHANNELS, 1, SHAPE[-1]),) * 2) == InversionReport(0, 0.0)


# ------------------------------------------------------------------------------------- against what is really lost


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("factor", "num_couplings"),
    [(0.1, 2), (0.1, 4), (0.3, 6), (0.5, 2), (0.5, 8), (0.5, 16), (0.7, 20), (0.9, 4), (0.9, 60), (1.0, 3), (1.0, 100)],
)
def test_the_prediction_bounds_the_error(factor: float, num_couplings: int, seed: int) -> None:
    """Without the guard, states of float32 lose no more than predicted, but for roundings of a single update.

    A prediction counts one rounding an update; an update has up to five, of which a chain averages most away.
    """
    torch.manual_seed(seed)
    sequence = alternating(num_couplings, factor, tolerance=math.inf)
    inputs = streams_for(sequence, torch.float32)
    error = largest_difference(sequence, inputs)
    assert sequence.inversion is not None
    assert sequence.inversion.num_kept == 0
    predicted = sequence.inversion.predicted_error
    assert error <= predicted * (2.5 if num_couplings <= 4 else 1)
    assert error >= predicted / 50  # no empty promise


@pytest.mark.parametrize("tolerance", [1e-6, STATE_TOLERANCE, 1e-3])
@pytest.mark.parametrize(("factor", "num_couplings"), [(0.1, 12), (0.5, 60), (0.9, 300)])
def test_the_tolerance_is_kept(factor: float, num_couplings: int, tolerance: float) -> None:
    """However long the sequence, states are restored to the tolerance, and some of them are still inverted."""
    sequence = alternating(num_couplings, factor, tolerance=tolerance)
    inputs = streams_for(sequence, torch.float32)
    error = largest_difference(sequence, inputs)
    found = sequence.inversion
    assert found is not None
    assert 0 < found.num_kept < num_couplings
    assert 0 < found.predicted_error <= tolerance
    assert error <= 2 * tolerance


def test_without_the_guard_the_tolerance_is_not_kept() -> None:
    """The comparison can fail: the same sequence without a tolerance loses its states entirely."""
    sequence = alternating(60, 0.5, tolerance=math.inf)
    assert largest_difference(sequence, streams_for(sequence, torch.float32)) > 0.1


# -------------------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize(("tolerance", "words"), [(1e-4, "0.0001"), (2e-6, "2e-06")])
def test_the_warning_says_what_is_kept_and_what_helps(tolerance: float, words: str) -> None:
    """The tolerance, the number of states, what it costs, and the other choice; one warning a forward pass."""
    sequence = alternating(20, 0.1, tolerance=tolerance)
    with pytest.warns(RuntimeWarning) as caught:
        sequence(*streams_for(sequence, torch.float32))
    assert sequence.inversion is not None
    assert [str(warning.message) for warning in caught] == [
        f"inverting the states through all updates would lose more than {words} (predicted), so "
        f"{sequence.inversion.num_kept} states are stored; memory grows with the timesteps (states='coded' needs less)"
    ]
    assert sequence.inversion.num_kept > 1


@pytest.mark.parametrize(
    ("states", "num_kept"), [("stored", 0), ("coded", 2 * (20 // 2 // 2))], ids=["stored", "coded"]
)
def test_no_warning_where_nothing_was_to_be_inverted(states: States, num_kept: int) -> None:
    """Codes keep values for gradients of carries as a matter of course; stored states have nothing to report."""
    sequence = alternating(20, 0.001, states=states)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequence(*streams_for(sequence, torch.float32))
    assert sequence.inversion is not None
    assert sequence.inversion.num_kept == num_kept
    assert (sequence.inversion.predicted_error > 0) == (states == "coded")


def test_the_report_is_of_the_last_forward_pass() -> None:
    """None before the first; later ones do not add up; ordinary autograd reports nothing."""
    sequence = alternating(8, 0.1)
    inputs = streams_for(sequence, torch.float32)
    assert sequence.inversion is None
    first = report(sequence, inputs)
    assert first.num_kept > 0
    assert report(sequence, inputs) == first
    plain = alternating(8, 0.1, activations="stored")
    plain(*inputs)
    assert plain.inversion is None


def test_couplings_without_carry_are_not_guarded() -> None:
    """They multiply no error, so their values are not looked at."""
    couplings = [Coupling(i % 2, (1 - i % 2,), Constant(1e30)) for i in range(6)]
    sequence = ReversibleSequence(couplings)
    assert report(sequence, streams_for(sequence, torch.float32)) == InversionReport(0, 0.0)


# ------------------------------------------------------------------------------------- codes and gradients of carries


@pytest.mark.parametrize("num_updates", [1, 7, 8, 9, 15, 16, 24])
def test_coded_states_are_kept_every_eighth_update(num_updates: int) -> None:
    """At the latest; up to seven in a row are inverted, with the predicted error relative to the largest state."""
    assert LONGEST_CHAIN == 8
    carries = [Carry(2, initial=0.5) for _ in range(num_updates)]
    sequence = one_carried_stream([1e6] * num_updates, carries, states="coded")
    x = torch.zeros(1, 2, 1, 1)
    chain = sum(2.0 ** (i + 1) for i in range(min(num_updates, 7)))
    assert report(sequence, (x, x)) == InversionReport(num_updates // 8, chain * 2.0**-24)


@pytest.mark.parametrize(("factor", "num_kept"), [(0.1, 3), (0.05, 4), (0.001, 6), (1.0, 1), (-1.0, 1)])
def test_coded_states_are_kept_earlier_where_carries_are_small(factor: float, num_kept: int) -> None:
    """Where the gradient of a carry would lose more than a ten-thousandth: of 12 updates every 4th, 3rd, 2nd or 8th."""
    assert CARRY_TOLERANCE == 1e-4
    carries = [Carry(2, initial=factor) for _ in range(12)]
    x = torch.zeros(1, 2, 1, 1)
    found = report(one_carried_stream([1.0] * 12, carries, states="coded"), (x, x))
    assert found.num_kept == num_kept
    assert 0 < found.predicted_error <= CARRY_TOLERANCE


def test_frozen_carries_need_no_values() -> None:
    """Codes suffice for streams of which no carry learns; one that learns needs the chain of its whole stream."""
    carries = [Carry(2) for _ in range(16)]
    sequence = one_carried_stream([1.0] * 16, carries, states="coded").requires_grad_(False)
    x = torch.zeros(1, 2, 1, 1)
    assert report(sequence, (x, x)) == InversionReport(0, 0.0)
    carries[3].requires_grad_(True)
    assert report(sequence, (x, x)).num_kept == 2


# ------------------------------------------------------------------------------------------------------ fake tensors


@pytest.mark.parametrize(
    ("initial", "least"), [(0.5, 0.5), (-0.25, 0.25), (0.0, 0.001), (1e-9, 0.001), (-0.0005, 0.001)]
)
@pytest.mark.parametrize("states", ["inverted", "coded"])
def test_fake_carries_count_as_they_begin(states: States, initial: float, least: float) -> None:
    """Fake tensors hold no numbers: carries are those of the beginning as they are used, and magnitudes are 1."""
    with FakeTensorMode():
        sequence = one_carried_stream([5.0], [Carry(2, initial=initial)], states=states)
        found = report(sequence, (torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)))
    assert found == InversionReport(0, 2.0**-24 / least)


def test_fake_tensors_are_kept_as_real_ones_are() -> None:
    """The same number of values for magnitudes of 1, and the backward pass runs."""

    def kept(real: bool) -> int:
        sequence = one_carried_stream([0.5] * 30, [Carry(2) for _ in range(30)])
        inputs = (torch.ones(1, 2, 1, 1, requires_grad=True), torch.ones(1, 2, 1, 1))
        found = report(sequence, inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            uneven_loss(sequence(*inputs)).backward()
        grad = next(sequence.carries.parameters()).grad
        assert grad is not None
        assert not real or bool(grad.any())
        return found.num_kept

    with FakeTensorMode():
        fake = kept(real=False)
    assert fake == kept(real=True) > 0
