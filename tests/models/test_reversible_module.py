"""The reversible engine as any other torch module: without autograd, copied, saved, and in several processes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reversible_process
import torch
import two_processes
from reversible_parts import (
    EXACT,
    SEQUENCE,
    Gradients,
    Smooth,
    alternating,
    gradients,
    largest_error,
    pair,
    random_streams,
    spiking,
)

from revbench.models.reversible import ReversibleSequence


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_autograd(mode: Callable[[], Any]) -> None:
    """Without autograd the outputs are the same, require no gradient, and statistics are updated once."""
    recomputed, stored = pair(spiking(), torch.float32)
    inputs = random_streams(shape=SEQUENCE, dtype=torch.float32)
    with mode():
        outputs = recomputed(*inputs)
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(outputs, stored(*inputs), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(recomputed.buffers(), stored.buffers(), strict=True))


def test_inputs_are_left_alone() -> None:
    """Neither pass changes the tensors that go in, nor the outputs, nor the gradients that come in."""
    sequence = ReversibleSequence(alternating([Smooth() for _ in range(4)])).double()
    inputs = tuple(x.requires_grad_() for x in random_streams())
    before = [x.detach().clone() for x in inputs]
    outputs = sequence(*inputs)
    grads = random_streams()
    kept = [x.detach().clone() for x in (*outputs, *grads)]
    torch.autograd.backward(outputs, grads)
    assert all(torch.equal(a, b) for a, b in zip((*inputs, *outputs, *grads), (*before, *kept), strict=True))


def test_a_copy_is_independent() -> None:
    """A deep copy evaluates its own functions: it gives the same gradients to its own parameters alone."""
    sequence = ReversibleSequence(spiking()).double()
    twin = copy.deepcopy(sequence)
    assert [coupling.function for coupling in twin.couplings] == list(twin.functions)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in sequence.parameters()}
    inputs = random_streams(shape=SEQUENCE)
    found = gradients(twin, inputs)
    assert all(p.grad is None for p in sequence.parameters())
    assert largest_error(gradients(sequence, inputs), found) == 0


def test_weights_can_be_saved_and_loaded() -> None:
    """Recomputing and storing sequences have the same keys, and weights loaded from one give the other's outputs."""
    recomputed, stored = ReversibleSequence(spiking()), ReversibleSequence(spiking(), "stored")
    inputs = random_streams(shape=SEQUENCE, dtype=torch.float32)
    recomputed(*inputs)
    assert list(recomputed.state_dict()) == list(stored.state_dict())
    stored.load_state_dict(recomputed.state_dict())
    outputs = [sequence.eval()(*inputs) for sequence in (recomputed, stored)]
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """Two processes under DistributedDataParallel end with the average of the gradients that each would have alone."""
    alone = [reversible_process.second_step(reversible_process.Classifier("stored"), rank) for rank in range(2)]
    expected: Gradients = [(a + b) / 2 for a, b in zip(*alone, strict=True)]
    assert len(expected) == len(list(reversible_process.Classifier("stored").parameters()))
    results = two_processes.results_of(reversible_process, tmp_path)
    assert len(results) == 4
    for result in results:
        assert largest_error(result, expected) <= EXACT
    assert largest_error([*alone[0]], [*alone[1]]) > 0.01
