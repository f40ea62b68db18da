"""Training steps of the residual networks."""

from collections.abc import Callable

import pytest
import torch
from residual_networks import FAMILIES, loss_of, random_input, small
from torch import Tensor, nn

from revbench.models import registry
from revbench.models.data import synthetic_batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules import BPTT


def step_of(network: SpikingNetwork, *, learning_rate: float = 0.05) -> Callable[[], Tensor]:
    """A training step on one fixed batch of 4."""
    torch.manual_seed(2)
    batch = synthetic_batch(network.input_shape, batch_size=4, timesteps=network.timesteps, num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    return lambda: BPTT().step(network, batch, optimizer)


def stray_tensors(network: nn.Module) -> list[str]:
    """Names of tensors that modules hold beside parameters and buffers."""

    def tensors_in(value: object) -> bool:
        if isinstance(value, dict):
            return any(tensors_in(part) for part in value.values())
        if isinstance(value, (list, tuple)):
            return any(tensors_in(part) for part in value)
        return isinstance(value, Tensor)

    owned = ("_parameters", "_buffers", "_modules")
    return [
        f"{name}.{attribute}"
        for name, module in network.named_modules()
        for attribute, value in vars(module).items()
        if attribute not in owned and tensors_in(value)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_no_state_is_left_behind(name: str) -> None:
    """After a step no module holds a tensor beside parameters and buffers, and the next pass starts from rest."""
    network = small(name)
    x = random_input(network)
    before = network.eval()(x)
    logits = network.train()(x)
    loss_of(logits).backward()
    assert stray_tensors(network) == []
    fresh = small(name).eval()
    assert torch.equal(fresh(x), before)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(x), fresh(x))


def test_stray_tensors_are_found() -> None:
    """The search for state finds a tensor in an attribute, a list or a dictionary of a module."""
    network = small("msresnet")
    head = network.get_submodule("head")
    vars(head)["v"], vars(head)["trace"] = torch.zeros(1), {"t": [torch.zeros(1)]}
    assert stray_tensors(network) == ["head.v", "head.trace"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_losses(name: str) -> None:
    """Two training runs from one seed have the same losses to the bit; another seed has others."""
    runs = []
    for _ in range(2):
        step = step_of(small(name, timesteps=2))
        runs.append([float(step()) for _ in range(2)])
    assert runs[0] == runs[1]
    torch.manual_seed(3)
    other = registry.build(name, timesteps=2, depth=1, width=4 if name.endswith("event") else 8)
    assert float(step_of(other)()) != runs[0][0]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_few_steps_lower_the_loss(name: str) -> None:
    """Training on one fixed batch learns it."""
    step = step_of(small(name, timesteps=2), learning_rate=0.2)
    losses = [float(step()) for _ in range(10)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_layers_below_the_head_learn(name: str) -> None:
    """With a frozen read-out the loss falls as well: the gradients through the neurons lead downwards."""
    network = small(name, timesteps=2)
    network.get_submodule("head").requires_grad_(False)
    step = step_of(network, learning_rate=0.5)
    losses = [float(step()) for _ in range(12)]
    assert losses[-1] < 0.98 * losses[0]
