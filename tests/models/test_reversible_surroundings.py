"""What the second evaluation must find as the first did: statistics, random numbers, autocast, state of neurons."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from reversible_parts import (
    EXACT,
    FEATURES,
    SEQUENCE,
    Gradients,
    Smooth,
    Streams,
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

from revbench.models.reversible import Activations, ReversibleSequence


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


def total_error(found: Gradients, expected: Gradients) -> float:
    """The relative error of all gradients as one vector."""
    flat = [torch.cat([g.flatten() for g in side if g is not None]) for side in (found, expected)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def generator_state_after(sequence: nn.Module, inputs: Streams) -> Tensor:
    """The state of torch's generator after a forward and a backward pass."""
    torch.manual_seed(1)
    uneven_loss(sequence(*(x.clone().requires_grad_() for x in inputs))).backward()
    return torch.get_rng_state()


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
