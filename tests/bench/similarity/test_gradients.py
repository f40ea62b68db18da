"""Gradients with temporal gradients in part: against plain loops that detach, and without a trace on the network."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from revbench.bench.cases import Case
from revbench.bench.similarity.gradients import Gradient, weight_names
from revbench.bench.similarity.metric import KEPT, Kept
from revbench.bench.similarity.temporal import cut_neurons, without_temporal_gradients
from revbench.bench.training import Training, prepare
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron
from revbench.models.neurons.dynamics import single_step
from revbench.models.rules import BPTT, SLTT

NETWORKS = ("msresnet", "spikingresnet", "preactresnet")


def training_of(model: str) -> Training:
    """A small network in float64, with a batch on which all its layers fire."""
    width = 16 if model == "preactresnet" else 4
    training = prepare(Case(model=model, depth=1, width=width, timesteps=3, batch_size=2, dtype="float64"))
    if model == "spikingresnet":
        # Its hidden layer reads means over pixels, which are too small for a spike at this width.
        nn.init.normal_(training.model.get_parameter("head.0.weight"))
    return training


def gradient_of(training: Training, kept: Kept | None = None) -> Gradient:
    """What is tested; None for the full gradient."""
    cut = [] if kept is None else cut_neurons(training.model, kept)
    with without_temporal_gradients(cut):
        return Gradient.of(training.model, training.rule, training.batch)


class Loop(nn.Module):
    """A layer of neurons as a plain loop, whose potential is a constant in the next timestep if it is cut."""

    def __init__(self, neuron: Neuron, *, is_cut: bool) -> None:
        super().__init__()
        self.dynamics = neuron.dynamics
        self.is_cut = is_cut

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of all timesteps."""
        spikes: list[Tensor] = []
        v: Tensor | None = None
        for x_t in x:
            s, v = single_step(self.dynamics, x_t, v.detach() if self.is_cut and v is not None else v)
            spikes.append(s)
        assert 0 < torch.stack(spikes).mean() < 1
        return torch.stack(spikes)


def with_loops(network: SpikingNetwork, kept: Kept | None) -> SpikingNetwork:
    """A copy of the network whose neurons are plain loops."""
    copy = deepcopy(network)
    ends = copy.stage_end_neurons()
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Neuron):
                keeps = kept is None or (kept == "stage_ends" and child in ends)
                keeps = keeps or (kept == "elsewhere" and child not in ends)
                setattr(parent, name, Loop(child, is_cut=not keeps))
    return copy


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("kept", [None, *KEPT])
def test_gradients_are_those_of_loops_that_detach(model: str, kept: Kept | None) -> None:
    """Of all parameters, in their order, and of the weights of convolutions and linear layers."""
    training = training_of(model)
    found = gradient_of(training, kept)
    copy = with_loops(training.model, kept)
    copy.loss(copy(training.batch.inputs), training.batch.targets).backward()
    grads = {name: p.grad.flatten() for name, p in copy.named_parameters() if p.grad is not None}
    assert grads.keys() == dict(copy.named_parameters()).keys()
    torch.testing.assert_close(found.whole, torch.cat([*grads.values()]))
    expected = [grad for name, grad in grads.items() if "weight" in name and copy.get_parameter(name).ndim > 1]
    assert len(found.layers) == len(expected) > 5
    for layer, grad in zip(found.layers, expected, strict=True):
        torch.testing.assert_close(layer, grad)


@pytest.mark.parametrize("model", NETWORKS)
def test_the_four_gradients_differ(model: str) -> None:
    """In a network that fires, every choice costs something, and none costs all."""
    training = training_of(model)
    full = gradient_of(training)
    cosines = {kept: gradient_of(training, kept).cosines(full)[0] for kept in KEPT}
    assert all(0 < cosine < 0.9999 for cosine in cosines.values())
    assert len({round(cosine, 6) for cosine in cosines.values()}) == 3


def test_nowhere_is_sltt_and_full_is_bptt() -> None:
    """With batch norms of each timestep the gradients are those of the rules' own steps."""
    training = training_of("preactresnet")
    for rule, kept in ((SLTT(), "nowhere"), (BPTT(), None)):
        found = gradient_of(training, kept)  # type: ignore[arg-type]
        copy = deepcopy(training.model)
        rule.step(copy, training.batch, torch.optim.SGD(copy.parameters(), lr=0.0))
        expected = torch.cat(
            [parameter.grad.flatten() for parameter in copy.parameters() if parameter.grad is not None]
        )
        torch.testing.assert_close(found.whole, expected)


@pytest.mark.parametrize("model", NETWORKS)
def test_the_network_stays_as_it_was(model: str) -> None:
    """Weights, running statistics, gradients and dynamics; a plain forward pass does move the statistics."""
    training = training_of(model)
    network = training.model
    before = deepcopy(network.state_dict())
    dynamics = [module.dynamics for module in network.modules() if isinstance(module, Neuron)]
    for kept in (None, *KEPT):
        gradient_of(training, kept)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.dynamics for module in network.modules() if isinstance(module, Neuron)] == dynamics
    assert all(parameter.grad is None for parameter in network.parameters())
    network(training.batch.inputs)
    assert not all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_running_statistics_have_no_part_in_it() -> None:
    """Batch norms normalise by the batch, whatever they have seen before."""
    training = training_of("msresnet")
    found = gradient_of(training)
    for buffer in training.model.buffers():
        buffer.add_(1)
    assert torch.equal(gradient_of(training).whole, found.whole)


def test_values_are_the_same_whatever_is_cut() -> None:
    """Logits do not know where gradients go."""
    training = training_of("msresnet")
    logits = []
    for kept in KEPT:
        with without_temporal_gradients(cut_neurons(training.model, kept)):
            logits.append(training.model(training.batch.inputs))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_what_is_cut_is_complementary() -> None:
    """Stage ends and the others are all neurons, and none is both."""
    network = training_of("msresnet").model
    cut = {kept: set(cut_neurons(network, kept)) for kept in KEPT}
    assert cut["elsewhere"] == set(network.stage_end_neurons())
    assert cut["stage_ends"] | cut["elsewhere"] == cut["nowhere"]
    assert not cut["stage_ends"] & cut["elsewhere"]


def fail_within(network: SpikingNetwork) -> None:
    """Raises while neurons are cut."""
    with without_temporal_gradients(cut_neurons(network, "nowhere")):
        assert not network.stage_end_neurons()[0].dynamics.temporal_gradient
        raise ValueError("within")


def test_dynamics_come_back_after_an_error() -> None:
    """A failure inside the block leaves no neuron cut."""
    network = training_of("msresnet").model

    with pytest.raises(ValueError, match="within"):
        fail_within(network)
    assert all(neuron.dynamics.temporal_gradient for neuron in cut_neurons(network, "nowhere"))


def test_cosines_are_those_of_the_vectors() -> None:
    """Golden numbers: of the whole and of each layer; not a number where one is zero."""
    one = Gradient(torch.tensor([3.0, 4.0, 0.0]), (torch.tensor([3.0, 4.0]), torch.tensor([0.0])))
    other = Gradient(torch.tensor([4.0, 3.0, 0.0]), (torch.tensor([-3.0, -4.0]), torch.tensor([1.0])))
    whole, (first, second) = one.cosines(other)
    assert whole == pytest.approx(0.96)
    assert first == pytest.approx(-1)
    assert math.isnan(second)


def test_layers_are_in_the_order_of_the_network() -> None:
    """Stem first, read-out last."""
    names = weight_names(training_of("spikingresnet").model)
    assert (names[0], names[-1]) == ("stem.0.weight", "head.2.weight")
