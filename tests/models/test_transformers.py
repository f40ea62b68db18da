"""Spikingformer, RevSFormer and the Spike-driven Transformer as networks: forward, gradients, training, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from revbench.bench.cases import OptimizerName
from revbench.bench.training import make_optimizer
from revbench.models.data import synthetic_batch
from revbench.models.networks.revsformer import RevSFormer, revsformer, revsformer_events
from revbench.models.networks.spike_driven_transformer import (
    SpikeDrivenTransformer,
    sdt,
    sdt_events,
    sdt_events64,
    sdt_imagenet,
)
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.spikingformer import Spikingformer, spikingformer, spikingformer_events
from revbench.models.neurons import Neuron
from revbench.models.reversible import Activations
from revbench.models.rules import BPTT

Builder = Callable[..., SpikingNetwork]

BUILDERS: dict[str, tuple[Builder, int]] = {  # with a small image size
    "spikingformer": (spikingformer, 32),
    "revsformer": (revsformer, 32),
    "spikingformer_events": (spikingformer_events, 64),
    "revsformer_events": (revsformer_events, 64),
    "sdt": (sdt, 16),
    "sdt_imagenet": (sdt_imagenet, 32),
    "sdt_events": (sdt_events, 16),
    "sdt_events64": (sdt_events64, 8),
}
REVERSIBLE = ("revsformer", "revsformer_events")


def small(name: str, *, dtype: torch.dtype = torch.float64, depth: int = 2, **options: Any) -> SpikingNetwork:
    """A network of width 16 for small images, seeded, in which every layer fires: so are the batch norms set."""
    torch.manual_seed(0)
    builder, image_size = BUILDERS[name]
    options = {"num_classes": 10, "num_heads": 2, "image_size": image_size} | options
    network = builder(depth, timesteps=3, width=16, **options).to(dtype)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2)
            nn.init.uniform_(module.bias, -0.5, 1.5)
    return network


def random_input(network: SpikingNetwork, dtype: torch.dtype = torch.float64) -> Tensor:
    """Two samples of the network's form, seeded."""
    torch.manual_seed(1)
    shape, timesteps = network.input_shape, network.timesteps
    return synthetic_batch(shape, batch_size=2, timesteps=timesteps, num_classes=10, dtype=dtype).inputs


def loss_of(logits: Tensor) -> Tensor:
    """A loss with another gradient for every logit."""
    return (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)).sum()


def gradients(network: SpikingNetwork, x: Tensor) -> dict[str, Tensor]:
    """The gradients of all parameters that have one, by name."""
    loss_of(network(x)).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def firing_rates(network: SpikingNetwork, x: Tensor) -> list[float]:
    """The share of ones in the output of every neuron layer."""
    rates: list[float] = []
    neurons = [m for m in network.modules() if isinstance(m, Neuron)]
    handles = [n.register_forward_hook(lambda _n, _inputs, spikes: rates.append(float(spikes.mean()))) for n in neurons]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    assert len(rates) == len(neurons)
    return rates


def removed_by_norm(network: nn.Module) -> set[str]:
    """Names of the biases that the mean of the batch norm behind them takes out again: their gradient is rounding."""
    return {f"{name}.bias" for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None}


# ------------------------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize("name", BUILDERS)
def test_logits_of_every_timestep(name: str) -> None:
    """The output is `[T, B, K]`, timesteps differ, and every layer of neurons fires."""
    network = small(name, num_classes=7)
    x = random_input(network)
    logits = network(x)
    assert logits.shape == (3, 2, 7)
    assert not torch.equal(logits[0], logits[1])
    assert all(0.01 < rate < 0.99 for rate in firing_rates(network, x))


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_are_made_of_their_parts(name: str) -> None:
    """Tokens, residual additions (over two streams in RevSFormer) and the head, put together by hand."""
    network = small(name).eval()
    x = random_input(network)
    tokens: Tensor = network.get_submodule("tokenizer")(x, network.stem_once)
    if isinstance(network, RevSFormer):
        functions = list(network.blocks.functions)
        x1 = x2 = tokens
        for attention, mlp in zip(functions[::2], functions[1::2], strict=True):
            x1 = x1 + attention(x2)
            x2 = x2 + mlp(x1)
        features = torch.cat([x1, x2], dim=2).mean((-2, -1))
    else:
        assert isinstance(network, Spikingformer | SpikeDrivenTransformer)
        for block in network.blocks:
            tokens = tokens + block.get_submodule("attention")(tokens)
            tokens = tokens + block.get_submodule("mlp")(tokens)
        features = tokens.mean((-2, -1))
        if isinstance(network, SpikeDrivenTransformer):
            features = network.last_neuron(features)
            assert 0.01 < float(features.detach().mean()) < 0.99
    head = network.get_submodule("head")
    expected = features @ head.get_parameter("weight").T + head.get_parameter("bias")
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["spikingformer", "revsformer", "sdt", "sdt_imagenet"])
def test_images_go_through_the_first_convolution_once(name: str) -> None:
    """As if they were repeated T times, but for the running variance, whose unbiased factor knows the copies."""
    network = small(name)
    stem, x = network.get_submodule("tokenizer.stages.stem"), random_input(network)
    seen: list[Tensor] = []
    stem.register_forward_hook(lambda _module, _inputs, y: seen.append(y.detach()))
    network(x)
    once = stem.get_submodule("1").get_buffer("running_var").clone()
    again = small(name).get_submodule("tokenizer.stages.stem")
    repeated = again(x.repeat(3, 1, 1, 1))
    assert [y.shape[0] for y in seen] == [2]
    torch.testing.assert_close(repeated, seen[0].repeat(3, 1, 1, 1), rtol=1e-12, atol=1e-12)
    n = x.numel() // 3
    factor = (1 - 1 / (3 * n)) / (1 - 1 / n)
    expected = 0.9 + (again.get_submodule("1").get_buffer("running_var") - 0.9) * factor
    torch.testing.assert_close(once, expected, rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", REVERSIBLE)
def test_recomputed_gradients_are_those_of_autograd(name: str, depth: int) -> None:
    """In float64, in a network whose every layer fires, and none of them is 0 but those of no effect."""
    ways: tuple[Activations, ...] = ("recomputed", "stored")
    recomputed, stored = (small(name, depth=depth, activations=way) for way in ways)
    x = random_input(recomputed)
    assert all(0.01 < rate < 0.99 for rate in firing_rates(recomputed, x))
    assert torch.equal(recomputed(x), stored(x))
    expected, found = gradients(stored, x), gradients(recomputed, x)
    assert len(expected) == len(found) == len(list(stored.parameters()))
    without_effect = removed_by_norm(stored)
    assert len(without_effect) == 3 * depth
    for name_, grad in expected.items():
        if name_ in without_effect:
            assert max(float(grad.norm()), float(found[name_].norm())) <= 1e-10
        else:
            assert float(grad.norm()) > 1e-6
            assert (found[name_] - grad).norm() <= 1e-10 * grad.norm()


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - set(REVERSIBLE)))
def test_all_parameters_but_the_dead_get_gradients(name: str) -> None:
    """The unused norms and talking heads get none; everything else one that is not 0, but for biases of no effect."""
    network = small(name)
    found = gradients(network, random_input(network))
    dead = {key for key, _ in network.named_parameters() if "unused" in key}
    assert len(dead) == (8 if name.startswith("spikingformer") else 2)
    assert set(found) == {key for key, _ in network.named_parameters()} - dead
    without_effect = removed_by_norm(network)
    assert {key for key, grad in found.items() if float(grad.norm()) <= 1e-10} == without_effect


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_steps_lower_the_loss(name: str, optimizer: OptimizerName) -> None:
    """Training on one fixed batch learns it, and leaves the dead parameters alone."""
    network = small(name, dtype=torch.float32, depth=1)
    torch.manual_seed(2)
    batch = synthetic_batch(network.input_shape, batch_size=4, timesteps=3, num_classes=10)
    made = make_optimizer(optimizer, network.parameters())
    for group in made.param_groups:
        group["lr"] = 0.05 if optimizer == "sgd" else 0.01
    losses = [float(BPTT().step(network, batch, made)) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for key, p in network.named_parameters() if "unused" in key)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_gradients_under_autocast(name: str) -> None:
    """In bfloat16 the streams stay in float32, so that recomputation gives the gradients of autograd."""
    ways: tuple[Activations, ...] = ("recomputed", "stored")
    recomputed, stored = (small(name, activations=way, dtype=torch.float32) for way in ways)
    found = []
    for network in (recomputed, stored):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            grads = gradients(network, random_input(network, torch.float32))
        found.append(torch.cat([grad.flatten() for grad in grads.values()]))
    assert (found[0] - found[1]).norm() <= 2e-2 * found[1].norm()


# ------------------------------------------------------------------------------------------------------ refusals


class NothingMade(TorchDispatchMode):
    """Fails at the first operator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} was called")


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 20}, r"the width is 20; it must be a multiple of 8"),
        ({"width": 0}, r"the width is 0; it must be a multiple of 8"),
        (
            {"width": 48, "num_heads": 5},
            r"5 heads do not divide the width 48; valid .* 1, 2, 3, 4, 6, .*, 48$",
        ),
        ({"width": 8, "num_heads": 0}, r"0 heads do not divide the width 8; valid .* 1, 2, 4, 8$"),
        ({"image_size": 34}, r"the images have 34x34 pixels; both sides must be multiples of \d+, .* \d times"),
        ({"image_size": 0}, r"the images have 0x0 pixels; both sides must be multiples of \d+"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name: str, options: dict[str, int], message: str) -> None:
    """With a sentence that names the valid choices, before anything is made."""
    with NothingMade(), pytest.raises(ValueError, match=message):
        BUILDERS[name][0](1, timesteps=2, **options)


@pytest.mark.parametrize(
    ("name", "divisor"), [("spikingformer", 4), ("revsformer_events", 16), ("sdt_events", 8), ("sdt_imagenet", 16)]
)
def test_sizes_that_are_multiples_of_the_divisor_are_taken(name: str, divisor: int) -> None:
    """The smallest image has one token; half of it is refused, and the message names the divisor."""
    network = small(name, image_size=divisor)
    assert network(random_input(network)).shape == (3, 2, 10)
    with pytest.raises(ValueError, match=f"multiples of {divisor}, "):
        small(name, image_size=divisor // 2)


def test_other_input_is_refused() -> None:
    """The form that the network reads is named, also where it was built for another size."""
    with pytest.raises(ValueError, match=r"this network reads \[B, C, H, W\] = \[B, 3, 16, 16\]"):
        small("revsformer", image_size=16)(torch.zeros(2, 3, 32, 32))


def test_the_loss_of_the_network_for_small_event_frames() -> None:
    """TET for CIFAR10-DVS; the cross entropy of the mean for all others."""
    logits, targets = torch.randn(3, 2, 10), torch.tensor([4, 9])
    tet = sdt_events64(1, timesteps=3, width=16).loss(logits, targets)
    entropy = sum(nn.functional.cross_entropy(each, targets) for each in logits) / 3
    torch.testing.assert_close(tet, 0.999 * entropy + 0.001 * ((logits - 1) ** 2).mean())
    mean = nn.functional.cross_entropy(logits.mean(0), targets)
    torch.testing.assert_close(sdt(1, timesteps=3, width=16).loss(logits, targets), mean)
