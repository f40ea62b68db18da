"""Average pooling against torch's."""

import pytest
import torch
import torch.nn.functional as F
from residual_networks import loss_of
from torch import Tensor

from revbench.models.networks.layers import AveragePool


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 3, 7, 5), (1, 1, 2, 2)], ids=str)
def test_average_pooling_is_that_of_torch(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    """Value and gradient equal those of `F.avg_pool2d`."""
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format)
    pooled: list[Tensor] = []
    grads: list[Tensor] = []
    for function in (AveragePool(3, stride=2, padding=1), lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)):
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        pooled.append(y)
        grads += torch.autograd.grad(loss_of(y), leaf)
    assert torch.equal(pooled[0], pooled[1])
    assert torch.equal(grads[0], grads[1])


def test_average_pooling_saves_nothing() -> None:
    """No tensor is kept for the backward pass."""
    saved: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        AveragePool(3, stride=2, padding=1)(x)
        assert saved == []
        F.avg_pool2d(x, 3, stride=2, padding=1)
    assert saved == [(2, 3, 8, 8)]


def test_average_pooling_under_autocast() -> None:
    """Under autocast the value has the precision of `F.avg_pool2d`, and the gradient that of the input."""
    x = torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = AveragePool(3, stride=2, padding=1)(x), F.avg_pool2d(x, 3, stride=2, padding=1)
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    assert grad.dtype == torch.bfloat16
