"""Misuse of the reversible engine: an error in its words, never a wrong gradient."""

from typing import get_args

import pytest
import torch
from reversible_parts import Apply, Smooth, alternating, largest_error, random_streams, uneven_loss
from torch import nn

from revbench.models.reversible import Activations, Coupling, ReversibleSequence


def test_a_second_backward_pass_is_refused() -> None:
    """With `retain_graph`, or with a loss that saves nothing itself, a second backward pass is refused in our words."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double()
    for loss, retain in ((uneven_loss, True), (lambda outputs: outputs[0].sum() + outputs[1].sum(), False)):
        value = loss(sequence(*random_streams()))
        value.backward(retain_graph=retain)
        before = [p.grad.clone() for p in sequence.parameters() if p.grad is not None]
        with pytest.raises(RuntimeError, match="backward pass of a reversible sequence was run a second time"):
            value.backward()
        assert largest_error([p.grad for p in sequence.parameters()], [*before]) == 0


def test_a_second_backward_pass_over_a_freed_graph_is_refused() -> None:
    """Without `retain_graph`, what follows the sequence is met first, and torch says that the graph is gone."""
    loss = uneven_loss(ReversibleSequence(alternating([Smooth(), Smooth()])).double()(*random_streams()))
    loss.backward()
    with pytest.raises(RuntimeError, match=r"second time.*retain_graph"):
        loss.backward()


def test_double_backward_is_refused() -> None:
    """The gradient of a gradient is refused, not wrong."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double()
    loss = uneven_loss(sequence(*random_streams()))
    found = torch.autograd.grad(loss, list(sequence.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        uneven_loss(found).backward()


@pytest.mark.parametrize("stream", [0, 1])
def test_an_output_changed_in_place_is_noticed(stream: int) -> None:
    """An output that was changed before the backward pass cannot restore anything: an error, not a wrong gradient."""
    outputs = ReversibleSequence(alternating([Smooth(), Smooth()])).double()(*random_streams())
    loss = outputs[0].sum() + outputs[1].sum()
    with torch.no_grad():
        outputs[stream].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_parameter_changed_before_backward_is_noticed(frozen: bool) -> None:
    """An optimizer step between the passes would restore other inputs: an error, also for a frozen parameter."""
    functions = [Smooth(), Smooth()]
    functions[1].requires_grad_(not frozen)
    sequence = ReversibleSequence(alternating(functions)).double()
    loss = uneven_loss(sequence(*random_streams()))
    with torch.no_grad():
        next(functions[1].parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="parameters of a reversible sequence were changed"):
        loss.backward()


def test_parameters_that_are_gone_before_backward_are_noticed() -> None:
    """Weights lent for the forward pass alone are not those that backward would find: an error."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double()
    lent = {name: p.detach().clone().requires_grad_() for name, p in sequence.named_parameters()}
    loss = uneven_loss(torch.func.functional_call(sequence, lent, random_streams()))
    with pytest.raises(RuntimeError, match="parameters of a reversible sequence were changed or replaced"):
        loss.backward()


@pytest.mark.parametrize("activations", get_args(Activations))
@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (Apply(lambda x: x.mean(0, keepdim=True)), [(3, 4), (3, 4)]),
        (nn.Identity(), [(1, 4), (3, 4)]),
        (nn.Linear(4, 2), [(3, 4), (3, 4)]),
    ],
    ids=["smaller", "larger", "other"],
)
def test_a_value_of_another_shape_is_refused(
    activations: Activations, function: nn.Module, shapes: list[tuple[int, ...]]
) -> None:
    """A value is not broadcast against its stream, which could not be restored: an error in the forward pass."""
    sequence = ReversibleSequence([Coupling(0, (1,), function), Coupling(1, (0,), nn.Identity())], activations)
    with pytest.raises(ValueError, match="whose shape is"):
        sequence(*(torch.randn(shape) for shape in shapes))


@pytest.mark.parametrize("num_streams", [0, 1, 3])
def test_another_number_of_streams_is_refused(num_streams: int) -> None:
    """Two streams are two streams."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()]))
    with pytest.raises(ValueError, match=f"{num_streams} streams given to a reversible sequence over 2"):
        sequence(*random_streams(num_streams))


def test_a_coupling_may_not_read_its_target() -> None:
    """A stream that a function reads and changes could not be restored."""
    with pytest.raises(ValueError, match="stream 1 is both target and source"):
        Coupling(1, (0, 1), nn.Identity())


@pytest.mark.parametrize("wiring", [[], [(0, (2,)), (2, (0,))], [(0, (-1,)), (1, (0,))]], ids=str)
def test_streams_without_a_gap(wiring: list[tuple[int, tuple[int, ...]]]) -> None:
    """The streams are 0, 1, ..., and there is at least one coupling."""
    with pytest.raises(ValueError, match="without gaps"):
        ReversibleSequence(Coupling(target, sources, nn.Identity()) for target, sources in wiring)


def test_unknown_activations_are_refused() -> None:
    """A misspelt word does not silently mean `recomputed`."""
    with pytest.raises(ValueError, match="recomputed or stored, not 'Stored'"):
        ReversibleSequence(alternating([Smooth(), Smooth()]), "Stored")  # type: ignore[arg-type]
