"""Gradients of the reversible engine against ordinary autograd over the same weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from reversible_parts import (
    EXACT,
    FEATURES,
    SEQUENCE,
    Apply,
    Gradients,
    Smooth,
    alternating,
    assert_same_gradients,
    gradients,
    largest_error,
    pair,
    random_streams,
    spiking,
    uneven_loss,
)
from torch import Tensor, nn

from revbench.models.neurons import Neuron
from revbench.models.reversible import Coupling, ReversibleSequence


class Plus(nn.Module):
    """Adds a table of the streams' own shape: its gradient is the very gradient of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        """`x + table`."""
        return x + self.table


class Drifting(nn.Module):
    """Breaks the contract: each evaluation gives another value."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """The function's value, growing with every call."""
        self.scale += 0.01
        value: Tensor = self.function(x)
        return self.scale * value


class Nested(nn.Module):
    """A reversible sequence as the function of another."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = ReversibleSequence(alternating([Smooth(), Smooth()]))

    def forward(self, x: Tensor) -> Tensor:
        """Both streams after the inner sequence, added."""
        value: Tensor = sum(self.sequence(x, -x))
        return value


class Blind(torch.autograd.Function):
    """Reads two tensors and has no gradient for either."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Their sum."""
        return a + b

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, None]:
        """Undefined gradients."""
        return None, None


def three_streams() -> list[Coupling]:
    """Couplings over three streams, of one and of two sources, in no regular order."""
    return [
        Coupling(0, (1, 2), Smooth(2)),
        Coupling(2, (0,), Smooth()),
        Coupling(1, (2, 0), Smooth(2)),
        Coupling(0, (2,), Smooth()),
        Coupling(1, (0,), Smooth()),
    ]


def firing_rates(module: nn.Module, run: Callable[[], object]) -> list[float]:
    """The share of ones in the output of every neuron layer while `run` runs."""
    rates: list[float] = []
    handles = [
        neuron.register_forward_hook(lambda _module, _inputs, spikes: rates.append(float(spikes.mean())))
        for neuron in module.modules()
        if isinstance(neuron, Neuron)
    ]
    run()
    for handle in handles:
        handle.remove()
    return rates


def test_gradients_of_two_streams_are_those_of_autograd() -> None:
    """Two streams, six couplings: every gradient of inputs and parameters is that of plain autograd."""
    expected = assert_same_gradients(alternating([Smooth() for _ in range(6)]), random_streams())
    assert all(g is not None and g.norm() > 0 for g in expected)


def test_gradients_of_three_streams_are_those_of_autograd() -> None:
    """Three streams with couplings of two sources: every gradient is that of plain autograd."""
    expected = assert_same_gradients(three_streams(), random_streams(3))
    assert all(g is not None and g.norm() > 0 for g in expected)


def test_gradients_of_spiking_functions_are_those_of_autograd() -> None:
    """Couplings of neurons that fire, convolutions and batch norms: every gradient is that of plain autograd."""
    couplings, inputs = spiking(), random_streams(shape=SEQUENCE)
    expected = assert_same_gradients(couplings, inputs)
    assert all(g is not None and g.norm() > 0 for g in expected)
    sequence = ReversibleSequence(couplings).double()
    rates = firing_rates(sequence, lambda: sequence(*inputs))
    assert len(rates) == 8
    assert all(0.01 < rate < 0.99 for rate in rates)


def test_in_float32_outputs_are_equal_and_gradients_close() -> None:
    """In float32 the outputs are the same bits, and the gradients agree within 1e-5."""
    recomputed, stored = pair(spiking(), torch.float32)
    inputs = random_streams(shape=SEQUENCE, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(recomputed(*inputs), stored(*inputs), strict=True))
    assert largest_error(gradients(recomputed, inputs), gradients(stored, inputs)) <= 1e-5


def test_a_function_that_breaks_the_contract_gives_other_gradients() -> None:
    """The comparison can fail: with a function whose second value differs, gradients are wrong by far."""
    recomputed, stored = pair(alternating([Smooth(), Drifting(Smooth()), Smooth(), Smooth()]))
    inputs = random_streams()
    assert largest_error(gradients(recomputed, inputs), gradients(stored, inputs)) > 1e-4


def test_one_tensor_as_both_streams_collects_both_gradients() -> None:
    """The same tensor as both streams receives the sum of their gradients, and is not changed."""
    (x,) = random_streams(1)
    before = x.clone()
    found: list[Tensor] = []
    for sequence in pair(alternating([Smooth() for _ in range(3)])):
        leaf = x.requires_grad_()
        found += torch.autograd.grad(uneven_loss(sequence(leaf, leaf)), leaf)
    assert largest_error([found[0]], [found[1]]) <= EXACT
    assert torch.equal(x, before)


def test_expanded_and_sliced_streams() -> None:
    """Streams that are views of one expanded tensor, as the networks' stems make them, give the right gradient."""
    x = torch.randn(4, 2 * FEATURES, dtype=torch.float64, requires_grad=True)
    found: list[Tensor] = []
    for sequence in pair(alternating([Smooth() for _ in range(3)])):
        found += torch.autograd.grad(uneven_loss(sequence(*x.expand(3, -1, -1).chunk(2, dim=-1))), x)
    assert largest_error([found[0]], [found[1]]) <= EXACT


def test_a_function_in_two_couplings_collects_the_gradients_of_both() -> None:
    """Parameters shared by two couplings receive the sum of what each would."""
    shared = Smooth()
    expected = assert_same_gradients(alternating([shared, Smooth(), shared, Smooth(), shared]), random_streams())
    assert len(expected) == 2 + 3 * 2


@pytest.mark.parametrize("stream", [0, 1])
def test_a_loss_of_one_output_stream(stream: int) -> None:
    """A loss that reads one output only gives the right gradients, also where that is none at all."""
    assert_same_gradients(
        alternating([Smooth() for _ in range(4)]), random_streams(), lambda outputs: uneven_loss(outputs[stream:][:1])
    )


def test_a_loss_that_some_parameters_do_not_reach() -> None:
    """Parameters of a function that the loss does not see keep no gradient, as under plain autograd."""
    couplings = [Coupling(0, (1,), Smooth()), Coupling(1, (2,), Smooth()), Coupling(2, (1,), nn.Identity())]
    expected = assert_same_gradients(couplings, random_streams(3), lambda outputs: uneven_loss(outputs[1:]))
    assert [g is None for g in expected] == [True, False, False, True, True, False, False]


def test_a_loss_that_no_parameter_reaches() -> None:
    """If no parameter can be reached by the loss, backward runs and leaves all of them without gradient."""
    couplings = [Coupling(0, (1,), Smooth()), Coupling(1, (2,), nn.Identity()), Coupling(2, (1,), nn.Identity())]
    expected = assert_same_gradients(couplings, random_streams(3), lambda outputs: uneven_loss(outputs[1:]))
    assert [g is None for g in expected] == [True, False, False, True, True]


@pytest.mark.parametrize(
    "function",
    [nn.Identity(), Apply(lambda x: x.transpose(0, 1)), Apply(lambda x: x[:, [0]].expand_as(x)), Apply(Tensor.detach)],
    ids=["identity", "transposed", "expanded", "detached"],
)
def test_functions_that_return_their_input_or_a_view_of_it(function: nn.Module) -> None:
    """A function may return its input, a view of it, or something without gradient."""
    couplings = [Coupling(0, (1,), function), Coupling(1, (0,), function), Coupling(0, (1,), nn.Tanh())]
    assert_same_gradients([*couplings, Coupling(1, (0,), function)], random_streams(shape=(FEATURES, FEATURES)))


@pytest.mark.parametrize(
    "couplings",
    [
        [
            Coupling(2, (0,), Smooth()),
            Coupling(1, (0,), Smooth()),
            Coupling(0, (2,), nn.Identity()),
            Coupling(1, (0,), Smooth()),
        ],
        alternating([Smooth(), Smooth(), Plus(), Smooth()]),
        alternating([Smooth(), Plus(), Plus(), Plus(), Smooth(), Plus()]),
    ],
    ids=["to a stream", "to a parameter", "to both"],
)
def test_a_gradient_that_is_passed_on_unchanged_is_not_added_to(couplings: list[Coupling]) -> None:
    """A gradient that a function hands to a stream or a parameter as it is stays what it was when more is added."""
    num_streams = 1 + max(coupling.target for coupling in couplings)
    assert_same_gradients(couplings, random_streams(num_streams), lambda outputs: uneven_loss(outputs[:2]))


def test_a_sequence_inside_a_sequence() -> None:
    """A function may itself be made of a reversible sequence."""
    expected = assert_same_gradients(alternating([Nested(), Smooth(), Nested()]), random_streams())
    assert all(g is not None and g.norm() > 0 for g in expected)


def test_an_empty_batch() -> None:
    """Streams without elements give gradients of zero, as under plain autograd."""
    expected = assert_same_gradients(alternating([Smooth(), Smooth()]), random_streams(shape=(0, FEATURES)))
    assert all(g is not None and not g.any() for g in expected)


def test_undefined_gradients() -> None:
    """If what follows has no gradient for any output, nothing receives one and nothing fails."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double()
    streams = tuple(x.requires_grad_() for x in random_streams())
    Blind.apply(*sequence(*streams)).sum().backward()
    assert all(leaf.grad is None for leaf in (*streams, *sequence.parameters()))


def test_interleaved_passes() -> None:
    """Two forward passes before their backward passes, in either order, with random numbers and batch norms."""
    layers = [
        nn.Sequential(nn.Linear(FEATURES, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.Dropout())
        for _ in range(3)
    ]
    first, second = random_streams(), random_streams()
    for order in ((0, 1), (1, 0)):
        found: list[Gradients] = []
        for sequence in pair(alternating(layers)):
            sequence.zero_grad()
            torch.manual_seed(1)
            losses = [uneven_loss(sequence(*inputs)) for inputs in (first, second)]
            for index in order:
                losses[index].backward()
            found.append([p.grad for p in sequence.parameters()])
        assert largest_error(found[0], found[1]) <= EXACT


# ------------------------------------------------------------------------------------------- what needs a gradient


def test_a_frozen_input_leaves_the_gradients_of_the_parameters() -> None:
    """Streams that do not require a gradient, such as data, do not cut the parameters off."""
    inputs, found = random_streams(shape=SEQUENCE), []
    for sequence in pair(spiking()):
        uneven_loss(sequence(*inputs)).backward()
        found.append([p.grad for p in sequence.parameters()])
    assert all(g is not None and g.norm() > 0 for g in found[1])
    assert largest_error(found[0], found[1]) <= EXACT


@pytest.mark.parametrize("frozen", [0, 1, 3])
def test_frozen_parameters_receive_none(frozen: int) -> None:
    """Parameters that do not require a gradient receive none, and all others the right one."""
    functions = [Smooth() for _ in range(4)]
    functions[frozen].requires_grad_(False)
    expected = assert_same_gradients(alternating(functions), random_streams())
    assert [i for i, g in enumerate(expected) if g is None] == [2 + 2 * frozen, 3 + 2 * frozen]


def test_nothing_to_differentiate() -> None:
    """With frozen parameters and inputs the outputs require no gradient."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double().requires_grad_(False)
    assert not any(y.requires_grad for y in sequence(*random_streams()))


def test_autograd_grad_returns_the_gradients_and_sets_none() -> None:
    """`torch.autograd.grad` returns the gradient of every parameter and leaves `.grad` alone."""
    recomputed, stored = pair(alternating([Smooth() for _ in range(4)]))
    inputs = random_streams()
    found, expected = (
        list(torch.autograd.grad(uneven_loss(sequence(*inputs)), list(sequence.parameters())))
        for sequence in (recomputed, stored)
    )
    assert largest_error([*found], [*expected]) <= EXACT
    assert all(p.grad is None for p in recomputed.parameters())


def test_gradient_hooks_fire_once_on_the_whole_gradient() -> None:
    """Hooks on parameters, also on those of two couplings, see the whole gradient once, and what they return counts."""
    shared = Smooth()
    recomputed, stored = pair(alternating([shared, Smooth(), shared]))
    inputs = random_streams()
    expected = gradients(stored, inputs)[2:]
    before: list[Tensor] = []
    after: list[Tensor | None] = []

    def double(grad: Tensor) -> Tensor:
        before.append(grad)
        return 2 * grad

    for parameter in recomputed.parameters():
        parameter.register_hook(double)
        parameter.register_post_accumulate_grad_hook(lambda p: after.append(p.grad))
    found = gradients(recomputed, inputs)[2:]
    assert len(before) == len(after) == len(expected)
    assert largest_error(found, [None if g is None else 2 * g for g in expected]) <= EXACT
    assert {id(g) for g in after} == {id(g) for g in found}
    assert largest_error(gradients(recomputed, inputs)[2:], found) <= EXACT  # hooks are still there
