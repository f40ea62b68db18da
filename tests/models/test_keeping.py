"""Gradients with carries, with created and with read-only streams, for each way in which states survive."""

import warnings
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from carried_parts import (
    CHANNELS,
    NUM_ELEMENTS,
    SHAPE,
    WIRINGS,
    Constant,
    Step,
    Thresholded,
    couplings_of,
    gradients,
    pair,
    reads,
    streams_for,
    varied_carry,
    wirings,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reversible_parts import EXACT, Gradients, Smooth, largest_error, uneven_loss
from torch import Tensor, nn

from revbench.models.reversible import Carry, Coupling, ReversibleSequence, States
from revbench.models.reversible.codes import encode
from revbench.models.reversible.couplings import Wiring

STATES: tuple[States, ...] = get_args(States)
MAKERS: list[tuple[States, Callable[[int], nn.Module]]] = [
    ("inverted", Smooth),
    ("stored", Smooth),
    ("inverted", Thresholded),
    ("stored", Thresholded),
    ("coded", Thresholded),
]
each_way = pytest.mark.parametrize(("states", "make"), MAKERS, ids=lambda part: getattr(part, "__name__", part))


def assert_same(
    couplings: list[Coupling], states: States, needed: list[bool] | None = None, **choices: Any
) -> Gradients:
    """Asserts that the outputs are the same bits as under plain autograd and the gradients the same; returns them."""
    recomputed, plain = pair(couplings, states=states, **choices)
    inputs = streams_for(recomputed)
    assert all(torch.equal(a, b) for a, b in zip(recomputed(*inputs), plain(*inputs), strict=True))
    expected = gradients(plain, inputs, needed)
    assert largest_error(gradients(recomputed, inputs, needed), expected) <= EXACT
    return expected


# ---------------------------------------------------------------------------------------------- against plain autograd


@each_way
@pytest.mark.parametrize("steps", WIRINGS.values(), ids=WIRINGS)
def test_gradients_are_those_of_autograd(steps: list[Step], states: States, make: Callable[[int], nn.Module]) -> None:
    """Every gradient of inputs, functions and carries, and none of them zero."""
    expected = assert_same(couplings_of(steps, make), states)
    assert all(g is not None and g.norm() > 1e-3 for g in expected)


@each_way
@settings(max_examples=25, deadline=None)
@given(steps=wirings(), data=st.data())
def test_gradients_of_any_wiring(
    states: States, make: Callable[[int], nn.Module], steps: list[Step], data: st.DataObject
) -> None:
    """With any outputs, and with any inputs, carries and functions frozen."""
    couplings = couplings_of(steps, make)
    parts = [part for coupling in couplings for part in (coupling.function, coupling.carry) if part is not None]
    for part in parts:
        part.requires_grad_(data.draw(st.booleans()))
    wiring = Wiring.of(couplings)
    some_streams = st.sets(st.integers(0, wiring.num_streams - 1))
    outputs = data.draw(st.permutations(sorted({0, *data.draw(some_streams)})))
    needed = [data.draw(st.booleans()) for _ in wiring.inputs]
    needed[0] = True  # stream 0 goes in and out, so that there is a gradient
    assert_same(couplings, states, needed, outputs=outputs)


@pytest.mark.parametrize("states", STATES)
def test_functions_that_read_more_than_a_threshold_may_not_be_coded(states: States) -> None:
    """The comparison can fail: smooth functions get wrong gradients from codes, and right ones otherwise."""
    recomputed, plain = pair(couplings_of(WIRINGS["carries on both streams"], Smooth), states=states)
    inputs = streams_for(recomputed)
    error = largest_error(gradients(recomputed, inputs), gradients(plain, inputs))
    assert (error > 1e-2) == (states == "coded")
    assert states == "coded" or error <= EXACT


# ------------------------------------------------------------------------------------------- what needs a gradient


@each_way
@pytest.mark.parametrize("needed", [[True, False], [False, True], [False, False]], ids=str)
def test_inputs_that_want_no_gradient(needed: list[bool], states: States, make: Callable[[int], nn.Module]) -> None:
    """They get none, and everything else the right one."""
    expected = assert_same(couplings_of(WIRINGS["carries on one stream"], make), states, needed)
    assert [g is not None for g in expected[:2]] == needed
    assert all(g is not None and g.norm() > 1e-3 for g in expected[2:])


@each_way
@pytest.mark.parametrize("needs", [True, False])
def test_a_stream_that_is_only_read(needs: bool, states: States, make: Callable[[int], nn.Module]) -> None:
    """It is the one input of a network that creates its states; it gets a gradient if it wants one."""
    steps = WIRINGS["created and carried on, from a stream that is only read"]
    expected = assert_same(couplings_of(steps, make), states, [needs], outputs=[3, 1])
    assert (expected[0] is not None) == needs
    assert sum(g is not None and bool(g.norm() > 1e-3) for g in expected[1:]) >= len(expected) - 4


@each_way
@pytest.mark.parametrize("frozen", [(0, 1, 2), (0,), (2,), (0, 1)], ids=str)
def test_frozen_carries(frozen: tuple[int, ...], states: States, make: Callable[[int], nn.Module]) -> None:
    """Of three carries on one stream those that do not learn get no gradient and change no other."""
    couplings = couplings_of(WIRINGS["carries on one stream"], make)
    carries = [coupling.carry for coupling in couplings if coupling.carry is not None]
    for index in frozen:
        carries[index].requires_grad_(False)
    expected = assert_same(couplings, states)
    assert [g is None for g in expected[-3:]] == [index in frozen for index in range(3)]
    assert all(g.norm() > 1e-3 for g in expected if g is not None)


@each_way
def test_a_carry_in_several_couplings(states: States, make: Callable[[int], nn.Module]) -> None:
    """It collects the gradients of all of them, on one stream or on two."""
    carry = varied_carry()
    couplings = [Coupling(i % 2, (1 - i % 2,), make(1), carry) for i in range(5)]
    expected = assert_same(couplings, states)
    assert len(expected) == 2 + 5 * 2 + 1
    assert expected[-1] is not None
    assert expected[-1].norm() > 1e-3


@each_way
def test_carries_below_their_bound(states: States, make: Callable[[int], nn.Module]) -> None:
    """Where factors are held away from zero, gradients are those of the factors that are used.

    A factor of 0.001 multiplies the rounding of what was inverted by a thousand, which only its own gradient sees.
    """
    couplings = couplings_of(WIRINGS["carries on one stream"], make)
    with torch.no_grad():
        for coupling in couplings:
            if coupling.carry is not None:
                coupling.carry.factor[:2] = torch.tensor([0.0, -1e-6]).view(-1, 1, 1)
    recomputed, plain = pair(couplings, states=states, tolerance=1e-14)
    inputs = streams_for(recomputed)
    expected = gradients(plain, inputs)
    assert all(g is not None and g.norm() > 1e-3 for g in expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = gradients(recomputed, inputs)
    assert largest_error(found[:-3], expected[:-3]) <= EXACT
    assert recomputed.inversion is not None
    # Every one: a factor of 0.001 alone loses more than the tolerance.
    assert recomputed.inversion.num_kept == (3 if states == "inverted" else 0)
    assert largest_error(found[-3:], expected[-3:]) <= max(EXACT, 10 * recomputed.inversion.predicted_error)


# --------------------------------------------------------------------------------------------------- chosen outputs


@each_way
@pytest.mark.parametrize("outputs", [[0], [3], [4, 2], [1, 0, 3]], ids=str)
def test_chosen_outputs(outputs: list[int], states: States, make: Callable[[int], nn.Module]) -> None:
    """They come in the order of the choice, and each gets its own gradient."""
    steps = [
        Step(2, (0,), creates=True),
        Step(3, (2, 1), creates=True),
        Step(2, (1,), carried=True),
        Step(4, (2,), creates=True),
        Step(3, (2,), carried=True),
        Step(0, (3, 2), carried=True),
    ]
    couplings = couplings_of(steps, make)
    recomputed, plain = pair(couplings, states=states, outputs=outputs)
    everything, _ = pair(couplings, states=states)
    everything.load_state_dict(recomputed.state_dict())
    inputs = streams_for(recomputed)
    whole, chosen = everything(*inputs), recomputed(*inputs)
    assert len(whole) == 5
    assert all(torch.equal(whole[stream], y) for stream, y in zip(outputs, chosen, strict=True))
    expected = gradients(plain, inputs)
    assert sum(g is not None and bool(g.norm() > 1e-3) for g in expected) >= 2
    assert largest_error(gradients(recomputed, inputs), expected) <= EXACT


@pytest.mark.parametrize("states", STATES)
def test_states_are_one_of_three(states: States) -> None:
    """Another word is refused, and the three are named."""
    couplings = [Coupling(0, (1,), nn.Identity()), Coupling(1, (0,), nn.Identity())]
    assert ReversibleSequence(couplings, states=states).states == states
    with pytest.raises(ValueError, match=r"^states are inverted or stored or coded, not 'kept'$"):
        ReversibleSequence(couplings, states="kept")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- what is read once more


@pytest.mark.parametrize("steps", WIRINGS.values(), ids=WIRINGS)
def test_stored_states_are_restored_bit_for_bit(steps: list[Step]) -> None:
    """In float32, what the functions read in the backward pass are the bits of the forward pass."""
    sequence = ReversibleSequence(couplings_of(steps, Smooth), states="stored")
    forward, backward = reads(sequence, streams_for(sequence, torch.float32))
    assert len(forward) == len(backward) == sum(len(step.sources) for step in steps)
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


@pytest.mark.parametrize("steps", WIRINGS.values(), ids=WIRINGS)
def test_coded_states_stay_in_their_intervals(steps: list[Step]) -> None:
    """In float32, what the functions read in the backward pass has the codes of the forward pass, if not its bits."""
    sequence = ReversibleSequence(couplings_of(steps, Thresholded), states="coded")
    forward, backward = reads(sequence, streams_for(sequence, torch.float32))
    assert len(forward) == len(backward) > 0
    assert all(torch.equal(encode(a).codes, encode(b).codes) for a, b in zip(forward, backward, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_inverted_states_are_close() -> None:
    """In float32 they are not the same bits, but close: the comparisons above can tell."""
    sequence = ReversibleSequence(couplings_of(WIRINGS["carries on both streams"], Smooth))
    forward, backward = reads(sequence, streams_for(sequence, torch.float32))
    assert not all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert max(float((a - b).abs().max()) for a, b in zip(forward, backward, strict=True)) < 1e-4


# ---------------------------------------------------------------------------------------------------- created streams


@pytest.mark.parametrize("states", ["inverted", "stored"])
@pytest.mark.parametrize("view", [nn.Identity(), nn.Flatten(0, -1)], ids=["itself", "a view"])
def test_a_stream_created_as_its_source_or_a_view_of_it(view: nn.Module, states: States) -> None:
    """It keeps its value when the source is changed afterwards."""

    class Back(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(SHAPE[-1], SHAPE[-1])

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layer(x.view(SHAPE)))

    couplings = [
        Coupling(1, (0,), Smooth()),
        Coupling(2, (1,), view, creates=True),
        Coupling(1, (0,), Smooth()),
        Coupling(0, (2,), Back()),
        Coupling(1, (0,), Smooth(), varied_carry()),
    ]
    expected = assert_same(couplings, states)
    assert all(g is not None and g.norm() > 1e-3 for g in expected)


@pytest.mark.parametrize("states", STATES)
def test_a_stream_that_is_read_is_not_copied(states: States) -> None:
    """One that no coupling changes goes out as it came in."""
    sequence = ReversibleSequence([Coupling(0, (1,), Thresholded()), Coupling(2, (1,), Smooth(), creates=True)])
    sequence.states = states
    inputs = tuple(x.requires_grad_() for x in streams_for(sequence, torch.float32))
    outputs = sequence(*inputs)
    assert outputs[1].data_ptr() == inputs[1].data_ptr()
    assert outputs[0].data_ptr() != inputs[0].data_ptr()
    (outputs[1] * 3).sum().backward()
    assert inputs[1].grad is not None
    assert torch.equal(inputs[1].grad, torch.full(SHAPE, 3.0))


@pytest.mark.parametrize("learnt", [True, False])
def test_a_carry_that_is_gone_before_backward_is_noticed(learnt: bool) -> None:
    """A carry lent for the forward pass alone is not the one that backward would find: an error, learnt or not."""
    sequence = ReversibleSequence([Coupling(0, (1,), Smooth(), Carry(CHANNELS)), Coupling(1, (0,), Smooth())])
    sequence.carries.requires_grad_(learnt)
    lent = {"carries.0.factor": torch.full((CHANNELS, 1, 1), 0.9, requires_grad=learnt)}
    outputs = torch.func.functional_call(sequence, lent, streams_for(sequence, torch.float32))
    with pytest.raises(RuntimeError, match="parameters of a reversible sequence were changed or replaced"):
        uneven_loss(outputs).backward()


def test_constants_by_hand() -> None:
    """Two updates of a stream with carries 0.5 and -2, and the gradients of input and carries."""
    carries = [Carry(CHANNELS, initial=0.5), Carry(CHANNELS, initial=-2.0)]
    numbers = (3.0, 7.0)
    sequence = ReversibleSequence(
        [Coupling(0, (1,), Constant(n), carry) for n, carry in zip(numbers, carries, strict=True)], outputs=[0]
    )
    x = torch.full(SHAPE, 4.0, requires_grad=True)
    (y,) = sequence(x, torch.zeros(SHAPE))
    assert torch.equal(y, torch.full(SHAPE, -2.0 * (0.5 * 4.0 + 3.0) + 7.0))
    y.sum().backward()
    per_channel = NUM_ELEMENTS // CHANNELS
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full(SHAPE, -1.0))
    assert [c.factor.grad.flatten().tolist() for c in carries if c.factor.grad is not None] == [
        [-2.0 * 4.0 * per_channel] * CHANNELS,
        [5.0 * per_channel] * CHANNELS,
    ]
