"""Two bits an element: every element lies in the same of four intervals before and after."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from revbench.models.neurons.memoryless import MemorylessNeuron
from revbench.models.reversible.codes import decode, encode

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
STANDINS = (-1.0, 0.25, 0.75, 2.0)
BOUNDS = [0.0, -0.0, 0.5, 1.0, math.inf, -math.inf, math.nan]
NEXT_TO_BOUNDS = [math.nextafter(bound, way) for bound in (0.0, 0.5, 1.0) for way in (-9, 9)]


def intervals(x: Tensor) -> list[int]:
    """Below 0 (where a number that is none fires no more than one), from 0, from 0.5, above 1."""
    return [3 if v > 1 else 2 if v >= 0.5 else 1 if v >= 0 else 0 for v in x.flatten().tolist()]


def spikes_and_gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """What a neuron without memory makes of `x`, and the derivative of its surrogate."""
    leaf = x.clone().requires_grad_()
    spikes = MemorylessNeuron()(leaf)
    (grad,) = torch.autograd.grad(spikes, leaf, torch.ones_like(spikes))
    return spikes.detach(), grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2,), (3,), (4,), (5,), (7,), (9,), (3, 0, 2), (2, 3, 5), (4, 4)])
def test_every_element_stays_in_its_interval(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Of any shape, empty ones and sizes that four does not divide included; a quarter of a byte an element."""
    x = (2 * torch.randn(shape)).to(dtype)
    before = x.clone()
    coded = encode(x)
    found = decode(coded)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert found.flatten().tolist() == [STANDINS[interval] for interval in intervals(x)]
    assert (coded.codes.dtype, coded.codes.shape) == (torch.uint8, (math.ceil(x.numel() / 4),))
    assert coded.codes.untyped_storage().nbytes() == math.ceil(x.numel() / 4)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_and_infinities(dtype: torch.dtype) -> None:
    """0 and 0.5 lie in the interval above them, 1 in the one below it, negative zero where zero lies."""
    x = torch.tensor(BOUNDS, dtype=dtype)
    assert decode(encode(x)).tolist() == [0.25, 0.25, 0.75, 0.75, 2.0, -1.0, -1.0]


def test_next_to_the_bounds() -> None:
    """The neighbours of 0, 0.5 and 1 in float64."""
    x = torch.tensor(NEXT_TO_BOUNDS, dtype=torch.float64)
    assert decode(encode(x)).tolist() == [-1.0, 0.25, 0.25, 0.75, 0.75, 2.0]


@given(
    st.lists(st.sampled_from(BOUNDS + NEXT_TO_BOUNDS) | st.floats(-2, 3) | st.floats(), max_size=40),
    st.sampled_from(DTYPES),
)
def test_a_neuron_cannot_tell_the_difference(numbers: list[float], dtype: torch.dtype) -> None:
    """Any numbers and the same after coding give the same spikes and the same gradient, to the bit."""
    x = torch.tensor(numbers, dtype=torch.float64).to(dtype)
    found = decode(encode(x))
    assert intervals(found) == intervals(x)
    for coded, direct in zip(spikes_and_gradient(found), spikes_and_gradient(x), strict=True):
        assert torch.equal(coded, direct)


def test_all_four_codes_at_all_four_places() -> None:
    """Every combination of neighbours in a byte is told apart."""
    x = torch.cartesian_prod(*[torch.tensor(STANDINS)] * 4).T  # four quarters of 256
    assert x.shape == (4, 256)
    coded = encode(x)
    assert sorted(coded.codes.tolist()) == list(range(256))
    assert torch.equal(decode(coded), x)


def test_decoding_leaves_the_codes_as_they_are() -> None:
    """It can be done twice, and what it gives can be changed."""
    coded = encode(torch.randn(3, 7))
    before = coded.codes.clone()
    first = decode(coded)
    expected = first.clone()
    first.zero_()
    assert torch.equal(decode(coded), expected)
    assert torch.equal(coded.codes, before)


def test_tensors_that_are_not_contiguous() -> None:
    """Elements keep their places, whatever the strides."""
    x = torch.randn(6, 5, 4)
    for view in (x.transpose(0, 2), x[::2, 1:, ::3], x[:, :1].expand(6, 5, 4), x.permute(2, 0, 1)):
        found = decode(encode(view))
        assert found.shape == view.shape
        assert intervals(found) == intervals(view)


@pytest.mark.parametrize("shape", [(3, 5), (0,), ()])
def test_fake_tensors(shape: tuple[int, ...]) -> None:
    """Without numbers the shapes, dtypes and bytes are the same."""
    with FakeTensorMode():
        coded = encode(torch.randn(shape, dtype=torch.bfloat16))
        found = decode(coded)
    assert isinstance(found, FakeTensor)
    assert (found.shape, found.dtype) == (shape, torch.bfloat16)
    assert (coded.codes.shape, coded.codes.dtype) == ((math.ceil(math.prod(shape) / 4),), torch.uint8)
