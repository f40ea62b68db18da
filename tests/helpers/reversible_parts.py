"""Functions, couplings and comparisons for tests of the reversible engine.

`stored` runs the same couplings under plain autograd, so it is what every gradient is compared with.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from revbench.models.networks.msresnet import ResidualFunction, cifar_neuron
from revbench.models.reversible import Coupling, ReversibleSequence

Streams = tuple[Tensor, ...]
Gradients = list[Tensor | None]
Pair = tuple[ReversibleSequence, ReversibleSequence]

EXACT = 1e-10  # relative, in float64: streams are restored to rounding, and nothing else may differ
FEATURES = 6
SEQUENCE = (3, 2, 4, 6, 6)  # T, B, C, H, W


class Smooth(nn.Module):
    """A differentiable function of any number of streams, with parameters of its own for each of them."""

    def __init__(self, num_sources: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in range(num_sources))

    def forward(self, *sources: Tensor) -> Tensor:
        """The product of what the layers make of their sources, so that no source's gradient is a constant."""
        value = torch.ones(())
        for layer, source in zip(self.layers, sources, strict=True):
            value = value * torch.tanh(layer(source))
        return value


class Apply(nn.Module):
    """A function of one stream without parameters, as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.function(x)


def alternating(functions: Sequence[nn.Module]) -> list[Coupling]:
    """The couplings of a reversible network of two streams."""
    return [Coupling(i % 2, (1 - i % 2,), function) for i, function in enumerate(functions)]


def spiking(num_functions: int = 4) -> list[Coupling]:
    """The residual function of the networks: neuron, convolution, batch norm, twice."""
    return alternating([ResidualFunction(cifar_neuron, 4, 4) for _ in range(num_functions)])


def pair(couplings: Sequence[Coupling], dtype: torch.dtype = torch.float64) -> Pair:
    """A recomputing sequence and a storing one with weights of the same values."""
    recomputed = ReversibleSequence(couplings).to(dtype)
    stored = copy.deepcopy(recomputed)
    stored.activations = "stored"
    return recomputed, stored


def random_streams(
    num_streams: int = 2, shape: tuple[int, ...] = (5, FEATURES), dtype: torch.dtype = torch.float64
) -> Streams:
    """Standard normal streams."""
    return tuple(torch.randn(shape, dtype=dtype) for _ in range(num_streams))


def uneven_loss(outputs: Sequence[Tensor]) -> Tensor:
    """A loss with another gradient for every element of every stream."""
    return torch.stack([((i + 1) * y + y.square()).sum() for i, y in enumerate(outputs)]).sum()


def gradients(
    sequence: nn.Module, inputs: Streams, loss: Callable[[Sequence[Tensor]], Tensor] = uneven_loss
) -> Gradients:
    """The gradients of the input streams and of all parameters, from a fresh pass under seed 1."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    sequence.zero_grad()
    torch.manual_seed(1)
    value = loss(sequence(*leaves))
    torch.randn(7)  # what is drawn between the passes must not matter
    value.backward()
    return [leaf.grad for leaf in leaves] + [p.grad for p in sequence.parameters()]


def largest_error(found: Gradients, expected: Gradients) -> float:
    """The largest relative error among the tensors; infinite where one gradient is missing."""
    errors = [0.0]
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            errors.append(0.0 if a is b else float("inf"))
        elif b.numel():
            errors.append(float((a - b).norm() / b.norm()) if b.norm() else float(a.norm()))
    return max(errors)


def assert_same_gradients(
    couplings: Sequence[Coupling],
    inputs: Streams,
    loss: Callable[[Sequence[Tensor]], Tensor] = uneven_loss,
) -> Gradients:
    """Asserts that recomputation gives the gradients of plain autograd; returns them."""
    recomputed, stored = pair(couplings)
    expected = gradients(stored, inputs, loss)
    assert largest_error(gradients(recomputed, inputs, loss), expected) <= EXACT
    return expected
