"""The reversible engine against ordinary autograd over the same weights, and against misuse.

`stored` runs the same couplings under plain autograd, so it is what every gradient is compared with. Run as a script,
this file is one process of the test of DistributedDataParallel.
"""

import copy
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from revbench.models import annotations
from revbench.models.networks.msresnet import ResidualFunction, cifar_neuron
from revbench.models.neurons import Neuron
from revbench.models.reversible import Activations, Coupling, ReversibleSequence

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


class Plus(nn.Module):
    """Adds a table of the streams' own shape: its gradient is the very gradient of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        """`x + table`."""
        return x + self.table


class FunctionalDropout(nn.Module):
    """Dropout as a function, which no search for modules finds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Half of the features, always."""
        return F.dropout(self.layer(x), 0.5, training=True)


class Accumulator(nn.Module):
    """A neuron as other libraries write them: it keeps its potential until `reset()`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, FEATURES)
        self.v: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """What the potential is after `x` was added to it."""
        v = 0.5 * self.v + torch.tanh(self.layer(x))
        self.v = v
        return v

    def reset(self) -> None:
        """Back to rest."""
        self.v = 0.0


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


class Apply(nn.Module):
    """A function of one stream without parameters, as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.function(x)


class Nested(nn.Module):
    """A reversible sequence as the function of another."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = ReversibleSequence(alternating([Smooth(), Smooth()]))

    def forward(self, x: Tensor) -> Tensor:
        """Both streams after the inner sequence, added."""
        value: Tensor = sum(self.sequence(x, -x))
        return value


class Network(nn.Module):
    """A network whose layer is used before, inside and after the sequence; one stream in, one stream out."""

    def __init__(self, activations: Activations) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, FEATURES)
        functions = [nn.Sequential(self.layer, nn.Tanh()), Smooth(), nn.Sequential(self.layer, nn.Tanh()), Smooth()]
        self.sequence = ReversibleSequence(alternating(functions), activations)

    def forward(self, x: Tensor) -> Streams:
        """The layer's output after the sequence."""
        before = self.layer(x)
        after = self.sequence(before, torch.tanh(before))
        return (self.layer(after[0] + after[1]),)


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


def alternating(functions: Sequence[nn.Module]) -> list[Coupling]:
    """The couplings of a reversible network of two streams."""
    return [Coupling(i % 2, (1 - i % 2,), function) for i, function in enumerate(functions)]


def three_streams() -> list[Coupling]:
    """Couplings over three streams, of one and of two sources, in no regular order."""
    return [
        Coupling(0, (1, 2), Smooth(2)),
        Coupling(2, (0,), Smooth()),
        Coupling(1, (2, 0), Smooth(2)),
        Coupling(0, (2,), Smooth()),
        Coupling(1, (0,), Smooth()),
    ]


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


def total_error(found: Gradients, expected: Gradients) -> float:
    """The relative error of all gradients as one vector."""
    flat = [torch.cat([g.flatten() for g in side if g is not None]) for side in (found, expected)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


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


def generator_state_after(sequence: nn.Module, inputs: Streams) -> Tensor:
    """The state of torch's generator after a forward and a backward pass."""
    torch.manual_seed(1)
    uneven_loss(sequence(*(x.clone().requires_grad_() for x in inputs))).backward()
    return torch.get_rng_state()


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


# ---------------------------------------------------------------------------------------------------- gradients


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


# ------------------------------------------------------------------------------------- what needs a gradient


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


# --------------------------------------------------------------------------------------------------- memory


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


# ----------------------------------------------------- statistics, random numbers, autocast, state of neurons


@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.BatchNorm2d(4),
        lambda: nn.BatchNorm2d(4, momentum=None),
        lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    ],
    ids=["batch norm", "cumulative batch norm", "instance norm"],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_running_statistics_are_those_of_one_evaluation(norm: Callable[[], nn.Module], training: bool) -> None:
    """After two steps all buffers are exactly those of the stored path; in eval mode they are untouched."""
    functions = [nn.Sequential(norm(), nn.Conv2d(4, 4, 1), nn.Tanh(), norm()) for _ in range(3)]
    recomputed, stored = pair(alternating(functions))
    inputs = random_streams(shape=SEQUENCE[1:])
    uneven_loss(recomputed.train()(*inputs)).backward()
    stored.load_state_dict(recomputed.state_dict())
    untouched = {name: buffer.clone() for name, buffer in recomputed.named_buffers()}
    inputs = random_streams(shape=SEQUENCE[1:])
    for sequence in (recomputed, stored):
        sequence.train(training)
    assert largest_error(gradients(recomputed, inputs), gradients(stored, inputs)) <= EXACT
    expected, found = dict(stored.named_buffers()), dict(recomputed.named_buffers())
    assert len(found) == 3 * 2 * 3
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    means = [name for name in found if name.endswith("running_mean")]
    assert all(torch.equal(found[name], untouched[name]) != training for name in means)
    assert all(m.training == training for m in recomputed.modules())
    assert all(m.track_running_stats for m in recomputed.modules() if hasattr(m, "track_running_stats"))


def test_batches_are_counted_once() -> None:
    """`num_batches_tracked` grows by one in a step."""
    sequence = ReversibleSequence(spiking()).double()
    gradients(sequence, random_streams(shape=SEQUENCE))
    counts = [int(b) for name, b in sequence.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts == [1] * 8


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Dropout(0.4)), FunctionalDropout],
    ids=["module", "function"],
)
def test_dropout_is_replayed(make: Callable[[], nn.Module]) -> None:
    """The same elements are dropped twice, and the generator ends where the stored path leaves it."""
    recomputed, stored = pair(alternating([make(), Smooth(), make(), make()]))
    inputs = random_streams()
    assert largest_error(gradients(recomputed, inputs), gradients(stored, inputs)) <= EXACT
    assert torch.equal(generator_state_after(recomputed, inputs), generator_state_after(stored, inputs))


def test_random_state_is_kept_only_where_numbers_are_drawn() -> None:
    """A coupling that draws no random numbers keeps no state of a generator; one that does keeps it."""
    outputs = ReversibleSequence(alternating([Smooth(), FunctionalDropout(), Smooth()]))(
        *random_streams(dtype=torch.float32)
    )
    context: Any = outputs[0].grad_fn
    assert [state is None for state in context.random_states] == [True, False, True]


def test_streams_stay_in_float32_under_autocast() -> None:
    """Streams of half precision are raised to float32, and what the functions read and the outputs are float32."""
    seen: list[torch.dtype] = []
    function = nn.Linear(FEATURES, FEATURES)
    function.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    for activations in get_args(Activations):
        sequence = ReversibleSequence(alternating([function, Smooth()]), activations)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = sequence(*random_streams(dtype=torch.bfloat16))
            assert function(outputs[0]).dtype == torch.bfloat16
        assert {y.dtype for y in outputs} == {torch.float32}
    assert set(seen) == {torch.float32}


def test_cast_weights_are_not_kept_under_autocast() -> None:
    """Autocast's cache of cast weights is off inside the functions, in both directions, and on again outside."""
    seen: list[bool] = []
    function = Smooth()
    function.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_cache_enabled()))
    sequence = ReversibleSequence(alternating([function, Smooth()]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = uneven_loss(sequence(*random_streams(dtype=torch.float32)))
        assert torch.is_autocast_cache_enabled()
        loss.backward()
        assert torch.is_autocast_cache_enabled()
    assert seen == [False, False]


@pytest.mark.parametrize("backward_inside", [False, True], ids=["backward outside", "backward inside"])
def test_gradients_under_autocast(backward_inside: bool) -> None:
    """Under autocast to bfloat16 the gradients are those of the stored path to one rounding in that precision.

    Streams are restored to a rounding of float32, so a function reads almost the same numbers; now and then one of
    them is rounded to the neighbouring bfloat16, which is 2**-8 away. Evaluated in another precision, gradients would
    be wrong by far more.
    """
    recomputed, stored = pair(spiking(6), torch.float32)
    inputs, found = random_streams(shape=SEQUENCE, dtype=torch.float32), []
    for sequence in (recomputed, stored):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = uneven_loss(sequence(*inputs))
            if backward_inside:
                loss.backward()
        if not backward_inside:
            loss.backward()
        found.append([p.grad for p in sequence.parameters()])
    assert all(g is not None and g.norm() > 0 for g in found[1])
    assert total_error(found[0], found[1]) <= 2**-8


@pytest.mark.parametrize("backward_inside", [False, True], ids=["backward outside", "backward inside"])
def test_a_weight_shared_with_the_outside_under_autocast(backward_inside: bool) -> None:
    """A layer used before, inside and after the sequence gets its whole gradient, cast weights in the cache or not."""
    recomputed, stored = Network("recomputed"), Network("stored")
    stored.load_state_dict(recomputed.state_dict())
    (x,), found = random_streams(1, dtype=torch.float32), []
    for network in (recomputed, stored):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = uneven_loss([y.float() for y in network(x)])
            if backward_inside:
                loss.backward()
        if not backward_inside:
            loss.backward()
        found.append([p.grad for p in network.parameters()])
    assert total_error(found[0], found[1]) <= 2**-6


def test_neurons_with_state_start_and_end_at_rest() -> None:
    """Neurons that keep their potential are reset around every evaluation: right gradients, and nothing left."""
    couplings = alternating([Accumulator() for _ in range(4)])
    expected = assert_same_gradients(couplings, random_streams())
    assert all(g is not None and g.norm() > 0 for g in expected)
    recomputed, _ = pair(couplings)
    gradients(recomputed, random_streams())
    neurons = [m for m in recomputed.modules() if isinstance(m, Accumulator)]
    assert [neuron.v for neuron in neurons] == [0.0] * 4


# --------------------------------------------------------------------------------------------------- misuse


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


# ------------------------------------------------------------------------------------------ as a torch module


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


# --------------------------------------------------------------------------------------------- distributed


class Classifier(nn.Module):
    """A convolution, a reversible sequence of spiking functions, and a read-out; seeded."""

    def __init__(self, activations: Activations) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.sequence = ReversibleSequence(spiking(), activations)
        self.head = nn.Linear(8, 5)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[T, B, 5]` for frames `[B, 3, H, W]` seen twice."""
        streams = self.sequence(*self.stem(x).expand(2, -1, -1, -1, -1).chunk(2, dim=2))
        logits: Tensor = self.head(torch.cat(streams, dim=2).mean((-2, -1)))
        return logits


def second_step(model: nn.Module, rank: int) -> list[Tensor]:
    """The gradients of the second of two passes over the data of a process."""
    for step in range(2):
        x = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(10 * step + rank))
        model.zero_grad()
        uneven_loss(model(x)).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """Two processes under DistributedDataParallel end with the average of the gradients that each would have alone."""
    found = tmp_path / "gradients.pt"
    processes = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path / "rendezvous"), str(found)])
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    alone = [second_step(Classifier("stored"), rank) for rank in range(2)]
    expected: Gradients = [(a + b) / 2 for a, b in zip(*alone, strict=True)]
    assert len(expected) == len(list(Classifier("stored").parameters()))
    results = torch.load(found, weights_only=True)
    assert len(results) == 4
    for result in results:
        assert largest_error(result, expected) <= EXACT
    assert largest_error([*alone[0]], [*alone[1]]) > 0.01


def take_part(rank: int, rendezvous: str, found: str) -> None:
    """One process of the test: both ways of activations, with and without a search for unused parameters."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    results = [
        second_step(DistributedDataParallel(Classifier(activations), find_unused_parameters=search), rank)
        for activations in get_args(Activations)
        for search in (False, True)
    ]
    if rank == 0:
        torch.save(results, found)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    take_part(int(sys.argv[1]), sys.argv[2], sys.argv[3])
