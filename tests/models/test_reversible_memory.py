"""What the reversible engine keeps, how often it evaluates, and when it lets go."""

import gc
import weakref

import torch
from reversible_parts import (
    EXACT,
    SEQUENCE,
    Smooth,
    alternating,
    gradients,
    largest_error,
    pair,
    random_streams,
    spiking,
    uneven_loss,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revbench.models import annotations
from revbench.models.reversible import ReversibleSequence


class Counting(nn.Module):
    """Counts the evaluations of a function, and how many of them were made under autograd."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.num_calls = 0
        self.num_graphs = 0
        self.kinds: list[str | None] = []

    def forward(self, *sources: Tensor) -> Tensor:
        """The function's value."""
        self.num_calls += 1
        self.num_graphs += torch.is_grad_enabled()
        self.kinds.append(annotations.current_kind())
        value: Tensor = self.function(*sources)
        return value


def test_only_the_outputs_are_saved() -> None:
    """What autograd saves for the backward pass is exactly the outputs, however many couplings there are."""
    recomputed, stored = pair(spiking(6), torch.float32)
    inputs = tuple(x.requires_grad_() for x in random_streams(shape=SEQUENCE, dtype=torch.float32))
    saved: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        outputs = recomputed(*inputs)
    assert sum(saved.values()) == sum(y.nbytes for y in outputs)
    assert set(saved) == {y.untyped_storage().data_ptr() for y in outputs}
    saved.clear()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        kept = stored(*inputs)
    assert sum(saved.values()) > 10 * sum(y.nbytes for y in kept)


def test_each_function_is_evaluated_once_in_each_direction() -> None:
    """Forward evaluates each function once without a graph; backward once with one, and says that it recomputes."""
    functions = [Counting(Smooth()) for _ in range(5)]
    loss = uneven_loss(ReversibleSequence(alternating(functions))(*random_streams(dtype=torch.float32)))
    assert [(f.num_calls, f.num_graphs) for f in functions] == [(1, 0)] * 5
    loss.backward()
    assert [(f.num_calls, f.num_graphs) for f in functions] == [(2, 1)] * 5
    assert [f.kinds for f in functions] == [[None, "recomputation"]] * 5


def test_an_unused_graph_is_freed_at_once() -> None:
    """Without a backward pass, the graph and the outputs it saves go with the last reference; no cycle keeps them."""
    sequence = ReversibleSequence(alternating([Smooth(), Smooth()])).double()
    gc.collect()
    gc.disable()
    try:
        loss = uneven_loss(sequence(*random_streams()))
        node = loss.grad_fn
        while type(node).__name__ != "_RecomputeBackward":
            assert node is not None
            node = node.next_functions[0][0]
        reference = weakref.ref(node)
        del node
        assert reference() is not None
        del loss
        assert reference() is None
    finally:
        gc.enable()


def test_saved_outputs_may_be_moved_elsewhere() -> None:
    """Hooks that keep saved tensors elsewhere see the outputs and may give back copies of them."""
    recomputed, stored = pair(alternating([Smooth() for _ in range(4)]))
    inputs = random_streams()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.numpy().copy(), torch.from_numpy):
        found = gradients(recomputed, inputs)
    assert largest_error(found, gradients(stored, inputs)) <= EXACT


def test_inside_a_checkpoint() -> None:
    """A sequence inside `torch.utils.checkpoint` gives the right gradients."""
    recomputed, stored = pair(alternating([Smooth() for _ in range(4)]))
    inputs, found = random_streams(), []
    for sequence in (recomputed, stored):
        uneven_loss(checkpoint(sequence, *inputs, use_reentrant=False)).backward()
        found.append([p.grad for p in sequence.parameters()])
    assert largest_error(found[0], found[1]) <= EXACT
