"""The rules against gradients found without them: sums written down by hand, and plain loops over timesteps."""

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from online_networks import assert_alive, batch_for, gradients, largest_error, lively
from torch import Tensor, nn
from torch.optim import SGD

from revbench.models.data import Batch
from revbench.models.networks.spiking import EVENTS, SpikingNetwork
from revbench.models.networks.spiking_vgg import StandardisedVGG, ottt_neuron
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.rules import BPTT, make_rule

LEAK, ALPHA = 0.5, 4.0
EXACT = 1e-12


def slope(u: Tensor) -> Tensor:
    """The derivative of the sigmoid with alpha 4."""
    return ALPHA * torch.sigmoid(ALPHA * u) * torch.sigmoid(-ALPHA * u)


# ------------------------------------------------------------------------------------- three linear layers, by hand


class Perceptron(SpikingNetwork):
    """Linear, neurons, linear, neurons, linear; reads the pixels of event frames."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.input_shape = replace(EVENTS, height=3, width=2)
        self.timesteps = timesteps
        self.num_classes = 4
        self.stem = nn.Linear(12, 9)
        self.first_neuron = ottt_neuron()
        self.hidden = nn.Linear(9, 8)
        self.second_neuron = ottt_neuron()
        self.head = nn.Linear(8, self.num_classes)
        for layer in (self.stem, self.hidden):
            nn.init.normal_(layer.weight, std=0.6)
            nn.init.normal_(layer.bias, 0.5, std=0.2)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep."""
        hidden = self.hidden(self.first_neuron(self.stem(x.flatten(2))))
        logits: Tensor = self.head(self.second_neuron(hidden))
        return logits


Numbers = dict[str, Tensor]


def sums_by_hand(network: Perceptron, batch: Batch, rule: str, learning_rate: float = 0.0) -> tuple[Numbers, Numbers]:
    """The specification's I15 with a layer in front, without autograd: gradients, and weights after T steps of SGD."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    x, T, B = batch.inputs.flatten(2), network.timesteps, batch.inputs.shape[1]
    one_hot = torch.eye(network.num_classes, dtype=x.dtype)[batch.targets]
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    v0 = v1 = torch.zeros((), dtype=x.dtype)
    traces = [torch.zeros((), dtype=x.dtype)] * 3
    for t in range(T):
        u0 = LEAK * v0 + x[t] @ weights["stem.weight"].T + weights["stem.bias"]
        s0 = (u0 >= 1).to(x.dtype)
        u1 = LEAK * v1 + s0 @ weights["hidden.weight"].T + weights["hidden.bias"]
        s1 = (u1 >= 1).to(x.dtype)
        v0, v1 = u0 - s0, u1 - s1
        o = s1 @ weights["head.weight"].T + weights["head.bias"]
        traces = [LEAK * trace + value for trace, value in zip(traces, (x[t], s0, s1), strict=True)]
        d = (o.softmax(-1) - one_hot) / (B * T)
        g1 = (d @ weights["head.weight"]) * slope(u1 - 1)
        g0 = (g1 @ weights["hidden.weight"]) * slope(u0 - 1)
        read = {"sltt": (x[t], s0, s1), "ottt_a": (x[t], *traces[1:]), "ottt_a_strict": (*traces[:2], s1)}[rule]
        of_bias = (1 - LEAK ** (t + 1)) / (1 - LEAK) if rule == "ottt_a_strict" else 1.0
        gradient = {
            "stem.weight": g0.T @ read[0],
            "stem.bias": of_bias * g0.sum(0),
            "hidden.weight": g1.T @ read[1],
            "hidden.bias": of_bias * g1.sum(0),
            "head.weight": d.T @ read[2],
            "head.bias": d.sum(0),
        }
        found = {name: known + gradient[name] for name, known in found.items()}
        weights = {name: weight - learning_rate * gradient[name] for name, weight in weights.items()}
    return found, weights


def perceptron_and_batch(timesteps: int) -> tuple[Perceptron, Batch]:
    """A network in float64, and frames of real numbers, no two alike."""
    network = Perceptron(timesteps).double()
    batch = batch_for(network, batch_size=6)
    return network, Batch(batch.inputs + torch.rand_like(batch.inputs), batch.targets)


@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize("rule", ["sltt", "ottt_a", "ottt_a_strict"])
def test_three_linear_layers_by_hand(rule: str, timesteps: int) -> None:
    """I15: every parameter of SLTT, of OTTT as its code has it, and by its formula."""
    network, batch = perceptron_and_batch(timesteps)
    expected, _ = sums_by_hand(network, batch, rule)
    found = gradients(network, rule, batch)
    assert found.keys() == expected.keys()
    assert all(float(grad.abs().max()) > 1e-3 for grad in expected.values())
    assert largest_error(found, expected, list(expected)) <= EXACT


def test_the_three_sums_differ() -> None:
    """In the parameters in which the specification says so, and in no others."""
    network, batch = perceptron_and_batch(4)
    sltt, ottt, strict = (sums_by_hand(network, batch, rule)[0] for rule in ("sltt", "ottt_a", "ottt_a_strict"))
    assert [key for key in sltt if not torch.equal(sltt[key], ottt[key])] == ["hidden.weight", "head.weight"]
    departures = ["stem.weight", "stem.bias", "hidden.bias", "head.weight"]
    assert [key for key in ottt if not torch.equal(ottt[key], strict[key])] == departures


@pytest.mark.parametrize("rule", ["ottt_{}", "ottt_{}_strict"])
def test_updates_in_each_timestep_by_hand(rule: str) -> None:
    """OTTT_O: potentials and traces go on, and each timestep meets the weights that the one before left."""
    network, batch = perceptron_and_batch(4)
    _, expected = sums_by_hand(network, batch, rule.format("a"), learning_rate=0.5)
    initial = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    total, _ = sums_by_hand(network, batch, rule.format("a"))
    make_rule(rule.format("o")).step(network, batch, SGD(network.parameters(), lr=0.5))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=0, atol=EXACT)
        assert float((parameter.detach() - (initial[name] - 0.5 * total[name])).abs().max()) > 1e-4


# ------------------------------------------------------------- a VGG as OTTT's code has it, in plain operators of torch


class PlainSpike(torch.autograd.Function):
    """A step with the sigmoid's derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        """Spikes where u is not negative."""
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The surrogate's gradient."""
        (u,) = ctx.saved_tensors
        return grad * slope(u)


def plain_standardised(weight: Tensor, gain: Tensor) -> Tensor:
    """Scaled weight standardisation with the unbiased variance."""
    rows = weight.flatten(1)
    fan_in = rows.shape[1]
    variance = rows.var(1, keepdim=True)
    return ((rows - rows.mean(1, keepdim=True)) / (variance * fan_in + 1e-4).sqrt()).view_as(weight) * gain


class Layer:
    """A convolution or linear layer of the plain loop: the value of its input, the weight's gradient of a trace."""

    def __init__(self, parameters: dict[str, Tensor], name: str, *, traced: bool, traced_bias: bool) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.gain = parameters.get(f"{name}.gain")
        self.traced, self.traced_bias = traced, traced_bias
        self.trace: Tensor | float = 0.0
        self.bias_trace = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """The layer's output in one timestep."""
        if self.gain is None:
            product, weight = F.linear, self.weight
            shift = self.bias
        else:
            product, weight = partial(F.conv2d, padding=1), plain_standardised(self.weight, self.gain)
            shift = self.bias[:, None, None]
        self.trace = LEAK * self.trace + x.detach()
        self.bias_trace = LEAK * self.bias_trace + 1
        if self.traced_bias:
            shift = shift.detach() + self.bias_trace * (shift - shift.detach())
        if not self.traced:
            return product(x, weight) + shift
        learnt = product(self.trace, weight)
        return product(x, weight.detach()) + (learnt - learnt.detach()) + shift


def plain_gradients(
    network: StandardisedVGG, batch: Batch, *, part: int, traces: str = "", detach_reset: bool = True
) -> dict[str, Tensor]:
    """The gradients of a plain loop over timesteps, whose potentials are constants every `part` timesteps."""
    parameters = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    names = [name for name, module in network.named_modules() if isinstance(module, (StandardisedConv2d, nn.Linear))]
    layers = [
        Layer(
            parameters,
            name,
            traced={"": False, "default": name != "stem", "strict": name != "head"}[traces],
            traced_bias=traces == "strict" and name != "head",
        )
        for name in names
    ]
    potentials: list[Tensor] = [torch.zeros((), dtype=batch.inputs.dtype)] * (len(layers) - 1)
    total = torch.zeros((), dtype=batch.inputs.dtype)
    for t in range(network.timesteps):
        if t % part == 0:
            potentials = [potential.detach() for potential in potentials]
        x = batch.inputs if network.input_shape.kind == "images" else batch.inputs[t]
        for index, layer in enumerate(layers[:-1]):
            u = LEAK * potentials[index] + layer(x)
            spikes: Tensor = PlainSpike.apply(u - 1)
            potentials[index] = u - (spikes.detach() if detach_reset else spikes)
            x = spikes * 2.74
            if index in StandardisedVGG.pooled_groups:
                x = F.avg_pool2d(x, 2)
        o = layers[-1](F.adaptive_avg_pool2d(x, 1).flatten(1))
        assert network.criterion is not None
        share = network.criterion.mse_share
        one_hot = torch.eye(network.num_classes, dtype=o.dtype)[batch.targets]
        cross_entropy = -(o.log_softmax(-1) * one_hot).sum(-1).mean()
        total = total + ((1 - share) * cross_entropy + share * ((o - one_hot) ** 2).mean()) / network.timesteps
    total.backward()
    return {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}


def vgg(name: str, timesteps: int) -> StandardisedVGG:
    """A VGG with one convolution in each group."""
    network = lively(name, timesteps)
    assert isinstance(network, StandardisedVGG)
    return network


@pytest.mark.parametrize("name", ["vggsws", "vggsws_events"])
@pytest.mark.parametrize(
    ("rule", "timesteps", "options"),
    [
        ("bptt", 5, {"part": 5}),
        ("tbptt-2", 6, {"part": 2}),
        ("tbptt-3", 6, {"part": 3}),
        ("sltt", 5, {"part": 1}),
        ("ottt_a", 5, {"part": 1, "traces": "default"}),
        ("ottt_a_strict", 5, {"part": 1, "traces": "strict"}),
    ],
)
def test_a_network_in_plain_operators(name: str, rule: str, timesteps: int, options: dict[str, Any]) -> None:
    """Every gradient of a convolutional network, images and event frames, is that of a loop over timesteps."""
    network = vgg(name, timesteps)
    batch = batch_for(network)
    expected = plain_gradients(network, batch, **options)
    assert_alive(network, expected)
    found = gradients(network, rule, batch)
    assert found.keys() == expected.keys()
    assert largest_error(found, expected, list(expected)) <= EXACT


def test_a_reset_that_is_attached() -> None:
    """Truncated BPTT follows the reset inside a part where the neurons say so."""
    network = vgg("vggsws", 4)
    attached = copy.deepcopy(network)
    for module in attached.modules():
        if hasattr(module, "dynamics"):
            module.dynamics = replace(module.dynamics, detach_reset=False)
    batch = batch_for(network)
    for rule, part in ((BPTT(), 4), ("tbptt-2", 2)):
        expected = plain_gradients(attached, batch, part=part, detach_reset=False)
        assert largest_error(gradients(attached, rule, batch), expected, list(expected)) <= EXACT
        assert largest_error(gradients(network, rule, batch), expected, list(expected)) > 0.01
