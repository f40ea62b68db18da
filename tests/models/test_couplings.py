"""Couplings, their carries, and what their order alone says about the streams."""

import pytest
import torch
from carried_parts import CHANNELS, SHAPE, Step, couplings_of, wirings
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from revbench.models.reversible import Carry, Coupling
from revbench.models.reversible.couplings import Wiring


def wiring_of(steps: list[Step]) -> Wiring:
    """The wiring of couplings without functions."""
    return Wiring.of(couplings_of(steps, lambda _: nn.Identity()))


# ------------------------------------------------------------------------------------------------------------- carries


@pytest.mark.parametrize(
    ("factor", "used"),
    [
        (0.5, 0.5),
        (-0.5, -0.5),
        (1.5, 1.5),
        (0.0, 1e-3),
        (-0.0, 1e-3),
        (1e-5, 1e-3),
        (-1e-5, -1e-3),
        (1e-3, 1e-3),
        (-1e-3, -1e-3),
        (2e-3, 2e-3),
    ],
)
def test_a_carry_is_held_away_from_zero(factor: float, used: float) -> None:
    """Below 1e-3 in magnitude, 1e-3 with the factor's sign is used; plus for zero; the parameter stays as it is."""
    carry = Carry(2).double()
    with torch.no_grad():
        carry.factor.fill_(factor)
    assert carry.effective().flatten().tolist() == pytest.approx([used, used], rel=1e-7)
    assert carry.factor.flatten().tolist() == [factor, factor]


@given(st.floats(-2, 2), st.floats(1e-6, 1))
def test_any_carry_is_held_away_from_zero(factor: float, smallest: float) -> None:
    """The magnitude is the larger of the factor's and the smallest one, and the sign that of the factor."""
    carry = Carry(1, initial=factor, smallest=smallest).double()
    with torch.no_grad():
        carry.factor.fill_(factor)
    used = carry.effective().item()
    assert abs(used) == pytest.approx(max(abs(factor), smallest), rel=1e-7)
    assert (used < 0) == (factor < 0)


def test_a_carry_begins_as_told() -> None:
    """One number a channel, 0.5 by default, and at least 1e-3 in magnitude."""
    assert Carry(3).factor.tolist() == [[[0.5]]] * 3
    assert Carry(2, initial=-0.25).factor.tolist() == [[[-0.25]]] * 2
    assert [p.shape for p in Carry(3).parameters()] == [(3, 1, 1)]
    assert Carry(1, initial=0.0, smallest=0.125).effective().item() == 0.125


def test_a_carry_multiplies_each_channel_by_its_factor() -> None:
    """What stays of a stream is channel times factor."""
    carry = Carry(CHANNELS)
    factors = [0.5, -2.0, 0.0, 1.0]
    with torch.no_grad():
        carry.factor.copy_(torch.tensor(factors).view(-1, 1, 1))
    x = torch.randn(SHAPE)
    expected = torch.stack([x[:, 0] * 0.5, x[:, 1] * -2, x[:, 2] * 1e-3, x[:, 3]], dim=1)
    assert torch.equal(carry(x), expected)


def test_the_gradient_of_a_carry_passes_straight_through() -> None:
    """Also where the factor is held away from zero, its gradient is that of the factor which is used."""
    carry = Carry(CHANNELS).double()
    with torch.no_grad():
        carry.factor.copy_(torch.tensor([0.0, -1e-5, 1e-5, 0.7]).view(-1, 1, 1))
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(SHAPE, dtype=torch.float64)
    carry(x).backward(grad)
    assert carry.factor.grad is not None
    torch.testing.assert_close(carry.factor.grad.flatten(), (grad * x).sum((0, 2, 3)).detach(), rtol=1e-12, atol=0)
    assert carry.factor.grad.abs().min() > 1e-3
    assert x.grad is not None
    used = torch.tensor([1e-3, -1e-3, 1e-3, 0.7], dtype=torch.float64).view(-1, 1, 1)
    torch.testing.assert_close(x.grad, grad * used, rtol=1e-7, atol=0)


# ------------------------------------------------------------------------------------------------- what is refused


def test_a_coupling_that_reads_its_target_is_refused() -> None:
    """It could not be restored."""
    with pytest.raises(ValueError, match=r"^stream 2 is both target and source of a coupling; it cannot be restored$"):
        Coupling(2, (0, 2), nn.Identity())


def test_a_coupling_that_creates_and_carries_is_refused() -> None:
    """There is nothing to carry of what does not exist."""
    with pytest.raises(ValueError, match=r"^a coupling that creates stream 1 has nothing of it to carry$"):
        Coupling(1, (0,), nn.Identity(), Carry(3), creates=True)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Step(0, (2,))],
        [Step(1, (2,))],
        [Step(0, (-1,))],
        [Step(-1, (0,))],
        [Step(0, (1,)), Step(3, (0,), creates=True)],
    ],
    ids=str,
)
def test_streams_with_a_gap_are_refused(steps: list[Step]) -> None:
    """Streams are counted from 0, those that are created included."""
    with pytest.raises(ValueError, match=r"^the streams of a reversible sequence are 0, 1, \.\.\., without gaps$"):
        wiring_of(steps)


@pytest.mark.parametrize(
    ("steps", "stream"),
    [
        ([Step(0, (1,)), Step(1, (0,), creates=True)], 1),
        ([Step(2, (0,)), Step(2, (1,), creates=True)], 2),
        ([Step(0, (2, 1)), Step(1, (0,), creates=True), Step(2, (0,), creates=True)], 1),
        ([Step(1, (2,), creates=True), Step(2, (0,), creates=True)], 2),
    ],
    ids=["read", "changed", "the first of two", "read by what creates"],
)
def test_a_stream_used_before_it_is_created_is_refused(steps: list[Step], stream: int) -> None:
    """Whether it is read or changed; the least such stream is named."""
    with pytest.raises(ValueError, match=rf"^stream {stream} is used before it is created$"):
        wiring_of(steps)


def test_a_stream_created_twice_is_refused() -> None:
    """The first value would be lost."""
    steps = [Step(1, (0,), creates=True), Step(0, (1,)), Step(1, (0,), creates=True)]
    with pytest.raises(ValueError, match=r"^stream 1 is created twice$"):
        wiring_of(steps)


# ---------------------------------------------------------------------------------------------- what the order says


def test_a_wiring_by_hand() -> None:
    """A stream that is only read, one that is changed unread, one that is created and never read."""
    steps = [
        Step(1, (0,)),  # the first value of 1 is read by nobody
        Step(2, (1,), creates=True),
        Step(1, (0,), carried=True),  # that of the first step by the second
        Step(1, (2,)),  # that of the third by nobody
        Step(3, (1, 2), creates=True),
    ]
    wiring = wiring_of(steps)
    assert wiring.num_streams == 4
    assert wiring.inputs == (0, 1)
    assert wiring.read_before == (False, False, True, False, False)
    assert wiring.read_at_end == (True, True, True, False)


@given(wirings())
def test_what_is_read_is_that_of_a_simulation(steps: list[Step]) -> None:
    """Every value gets a number of its own; a value is read if any coupling finds its number in a source."""
    wiring = wiring_of(steps)
    created = {step.target for step in steps if step.creates}
    used = {stream for step in steps for stream in (step.target, *step.sources)}
    assert wiring.num_streams == len(used)
    assert wiring.inputs == tuple(sorted(used - created))
    values, next_value = {stream: stream for stream in wiring.inputs}, len(used)
    replaced, values_read = [], set()
    for step in steps:
        values_read |= {values[source] for source in step.sources}
        replaced.append(values.get(step.target))
        values[step.target], next_value = next_value, next_value + 1
    # No coupling reads the target's value before it after having replaced it, so all reads are earlier ones.
    assert wiring.read_before == tuple(value in values_read for value in replaced)
    assert wiring.read_at_end == tuple(values[stream] in values_read for stream in sorted(used))
