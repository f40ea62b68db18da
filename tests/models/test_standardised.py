"""Scaled weight standardisation against plain autograd, and what it keeps."""

import pytest
import torch
from torch import Tensor

from revbench.models.networks.standardised import StandardisedConv2d, residual_convolution, standardise


def plain(weight: Tensor, gain: Tensor, *, correction: int, epsilon: float) -> Tensor:
    """The equation, operator by operator."""
    fan_in = weight[0].numel()
    mean = weight.mean((1, 2, 3), keepdim=True)
    variance = ((weight - mean) ** 2).sum((1, 2, 3), keepdim=True) / (fan_in - correction)
    return gain * (weight - mean) / (fan_in * variance + epsilon).sqrt()


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("epsilon", [1e-4, 0.5])
def test_values_and_gradients_are_those_of_plain_autograd(correction: int, epsilon: float) -> None:
    weight = torch.randn(5, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(5, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(5, 3, 3, 2, dtype=torch.float64)
    ours = standardise(weight, gain, correction=correction, epsilon=epsilon)
    expected = plain(weight, gain, correction=correction, epsilon=epsilon)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(ours, (weight, gain), upstream)
    wanted = torch.autograd.grad(expected, (weight, gain), upstream)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert all(grad.abs().min() > 1e-4 for grad in wanted)


@pytest.mark.parametrize("frozen", ["weight", "gain"])
def test_a_frozen_part_gets_no_gradient_and_changes_none(frozen: str) -> None:
    parts = {"weight": torch.randn(4, 6, 1, 1), "gain": torch.rand(4, 1, 1, 1)}
    for name, part in parts.items():
        part.requires_grad_(name != frozen)
    standardise(**parts, correction=1, epsilon=1e-4).square().sum().backward()
    learnt = next(part for name, part in parts.items() if name != frozen)
    assert parts[frozen].grad is None
    both = {name: part.detach().clone().requires_grad_() for name, part in parts.items()}
    plain(**both, correction=1, epsilon=1e-4).square().sum().backward()
    name = next(name for name in parts if name != frozen)
    torch.testing.assert_close(learnt.grad, both[name].grad, rtol=1e-4, atol=1e-5)


def test_only_the_weight_and_two_numbers_a_channel_are_kept() -> None:
    weight, gain = torch.randn(8, 16, 3, 3, requires_grad=True), torch.ones(8, 1, 1, 1, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        standardise(weight, gain, correction=0, epsilon=1e-4)
    own = {weight.untyped_storage()._cdata, gain.untyped_storage()._cdata}
    assert sum(size for storage, size in kept.items() if storage not in own) == 2 * 8 * 4


def test_convolutions_of_both_kinds() -> None:
    """OTTT's form and T-RevSNN's differ in the variance and in what epsilon is added to."""
    x = torch.randn(2, 6, 8, 8)
    ottt = StandardisedConv2d(6, 4, 3, stride=2)
    ours = ottt(x)
    weight = plain(ottt.weight, ottt.gain, correction=1, epsilon=1e-4)
    torch.testing.assert_close(ours, torch.nn.functional.conv2d(x, weight, ottt.bias, stride=2, padding=1))
    assert ours.shape == (2, 4, 4, 4)
    trev = residual_convolution(6, 4, 1)
    spread = trev.weight.var((1, 2, 3), correction=0, keepdim=True)
    weight = trev.gain * 6**-0.5 * (trev.weight - trev.weight.mean((1, 2, 3), keepdim=True)) / (spread + 1e-6).sqrt()
    torch.testing.assert_close(trev(x), torch.nn.functional.conv2d(x, weight, trev.bias))
