"""Synaptic operations against a brute-force count: every multiplication of the real operator is looked at."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.energy.synaptic import Geometry, axis_fan_out, convolution_sops, linear_sops, matmul_sops


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Geometry, tuple[int, ...]]:
    """A convolution of one or two axes, and the shape of its input `[N, C, *spatial]`."""
    num_axes = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    transposed = draw(st.booleans())

    def sizes(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=num_axes, max_size=num_axes))

    kernel, stride, padding, dilation, spatial = sizes(1, 4), sizes(1, 3), sizes(0, 3), sizes(1, 3), sizes(1, 7)
    output_padding = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    for size, k, s, p, d, o in zip(spatial, kernel, stride, padding, dilation, output_padding, strict=True):
        reach = d * (k - 1) + 1
        assume((size - 1) * s - 2 * p + reach + o >= 1 if transposed else size + 2 * p >= reach)
    weight_shape = (groups * inputs, outputs) if transposed else (groups * outputs, inputs)
    geometry = Geometry(
        weight_shape=(*weight_shape, *kernel),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        transposed=transposed,
        output_padding=output_padding if transposed else [0] * num_axes,
    )
    return geometry, (draw(st.integers(1, 3)), groups * inputs, *spatial)


def convolved(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    g = geometry
    convolution: Tensor = torch.ops.aten.convolution(
        x, weight, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups
    )
    return convolution


def brute_force(x: Tensor, geometry: Geometry) -> list[int]:
    """With a kernel of ones, each output is the number of non-zeros that it accumulates."""
    ones = torch.ones(geometry.weight_shape, dtype=torch.float64)
    return [int(frame.sum()) for frame in convolved((x != 0).double(), ones, geometry)]


@settings(deadline=None, max_examples=300)
@given(geometries(), st.integers(0, 2**31))
def test_convolutions_of_any_geometry(drawn: tuple[Geometry, tuple[int, ...]], seed: int) -> None:
    """Stride, padding, dilation, groups, one and two axes, transposed or not: the brute force, frame by frame."""
    geometry, shape = drawn
    x = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float()
    counted = convolution_sops(x, geometry)
    assert counted.dtype == torch.int64
    assert counted.tolist() == brute_force(x, geometry)


@settings(deadline=None, max_examples=50)
@given(geometries(), st.integers(0, 2**31))
def test_levels_are_that_many_accumulations(drawn: tuple[Geometry, tuple[int, ...]], seed: int) -> None:
    """An input of level k, of either sign, counts as k spikes of the same place."""
    geometry, shape = drawn
    x = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()
    unary = torch.stack([(x.abs() > k).float() for k in range(3)])
    expected = sum(convolution_sops(spikes, geometry) for spikes in unary)
    assert torch.equal(convolution_sops(x, geometry, by_level=True), torch.as_tensor(expected))


@settings(deadline=None, max_examples=50)
@given(
    size=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 4), padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
)  # fmt: skip
def test_axis_fan_out_by_enumeration(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    """The pairs of output and kernel position, one by one."""
    num_outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    expected = [0] * size
    for output in range(max(0, num_outputs)):
        for offset in range(kernel):
            place = output * stride + offset * dilation - padding
            if 0 <= place < size:
                expected[place] += 1
    found = axis_fan_out(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    assert found.tolist() == expected


@settings(deadline=None, max_examples=50)
@given(st.tuples(*[st.integers(1, 5)] * 4), st.integers(0, 2**31))
def test_matrix_products(sizes: tuple[int, int, int, int], seed: int) -> None:
    """Pairs of non-zeros that meet; of a linear map, whose weight counts as dense, non-zeros times features."""
    batch, m, k, n = sizes
    generator = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 3, (batch, m, k), generator=generator).float()
    b = torch.randint(0, 2, (batch, k, n), generator=generator).float()
    pairs = (a.unsqueeze(-1) * b.unsqueeze(1) != 0).sum((1, 2, 3))
    assert matmul_sops(a, b).tolist() == pairs.tolist()
    assert matmul_sops(a, b, by_level=True).tolist() == (a @ b).sum((1, 2)).long().tolist()
    assert linear_sops(a, n).tolist() == matmul_sops(a.view(-1, 1, k), torch.ones(k, n)).view(batch, m).tolist()
    assert linear_sops(a, n, by_level=True).tolist() == (a @ torch.ones(k, n)).sum(-1).long().tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool])
def test_counts_are_exact_in_every_precision(dtype: torch.dtype) -> None:
    """1803 of 2048 inputs, which bfloat16 would round to 1800, and float16 sums beyond 65504."""
    x = torch.zeros(1, 2, 32, 32, dtype=dtype)
    x.view(-1)[:1803] = 1
    geometry = Geometry(weight_shape=(1, 2, 1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1))
    assert convolution_sops(x, geometry).tolist() == [1803]
    assert linear_sops(x.view(1, -1), 100).tolist() == [180300]
    if dtype != torch.bool:
        assert convolution_sops(x, geometry, by_level=True).tolist() == [1803]


def test_full_input_without_padding_is_dense() -> None:
    """Where nothing is zero, synaptic operations are the dense multiply-accumulates of torch's counter."""
    x = torch.ones(2, 6, 9, 8)
    for stride, dilation, groups in (((1, 1), (1, 1), 1), ((2, 3), (1, 2), 3), ((1, 2), (2, 1), 6)):
        weight = torch.ones(12, 6 // groups, 3, 2)
        with FlopCounterMode(display=False) as counter:
            F.conv2d(x, weight, stride=stride, dilation=dilation, groups=groups)
        geometry = Geometry(
            weight_shape=tuple(weight.shape), stride=stride, padding=(0, 0), dilation=dilation, groups=groups
        )
        assert 2 * int(convolution_sops(x, geometry).sum()) == counter.get_total_flops()


def test_no_input_no_operations() -> None:
    """Zeros cause nothing, and neither do empty batches."""
    geometry = Geometry(weight_shape=(4, 2, 3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1))
    assert convolution_sops(torch.zeros(2, 2, 5, 5), geometry).tolist() == [0, 0]
    assert convolution_sops(torch.zeros(0, 2, 5, 5), geometry).tolist() == []
