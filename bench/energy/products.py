"""Convolutions and matrix products: what they read, and the accumulations and multiplications that it causes.

Where one operand is a constant (a weight), it counts as dense: a weight that happens to be zero is multiplied too.
Where both depend on the input (attention), a pair counts where neither is zero, and spikes in one of them are enough
to add the other instead of multiplying.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from revbench.bench.energy.content import Content, levels_of, origin_of, verified
from revbench.bench.energy.counts import NO_WORK, Work
from revbench.bench.energy.operators import Call
from revbench.bench.energy.synaptic import Geometry, amounts, convolution_sops, linear_sops, matmul_sops, sops_at

aten = torch.ops.aten
_CONVOLUTIONS = (aten.convolution, aten._convolution)
_FACTORS = {aten.mm: (0, 1), aten.bmm: (0, 1), aten.addmm: (1, 2), aten.baddbmm: (1, 2)}
"""Places of both factors; those of torch that add something to the product have that in front."""
PRODUCTS = frozenset((*_CONVOLUTIONS, *_FACTORS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What one call of a synaptic operator reads and causes.

    Attributes:
        content: of what is read, as verified; of two, of that which decides.
        result: content of what is returned, but for its freshness.
        num_weights: elements of the constant operand.
        num_inputs: elements of the others.
        rows: events, synaptic operations, accumulations and multiply-accumulates of each frame or row, int64 `[4, R]`.
        dense_macs: multiply-accumulates if nothing was skipped.
        bias_additions: of the bias.
    """

    content: Content
    result: Content
    num_weights: int
    num_inputs: int
    rows: Tensor
    dense_macs: int
    bias_additions: Work


def product_of(call: Call) -> Product:
    """What a call of one of `PRODUCTS` reads and causes."""
    packet = call.func.overloadpacket
    if packet in _CONVOLUTIONS:
        return _convolution(call)
    first, second = _FACTORS[packet]
    a, b = call.args[first], call.args[second]
    of_a, of_b = call.of(a), call.of(b)
    if of_a and of_b:
        return _two_inputs(call, a, b, of_a, of_b)
    if of_a:
        return _one_input(call, a, of_a, b, has_addend=first > 0)
    return _one_input(call, b.transpose(-2, -1), call.contents[-1], a, has_addend=first > 0)


def dense_macs(call: Call) -> int:
    """By the formulas of `torch.utils.flop_counter`, where a multiply-accumulate is two."""
    formula: Any = flop_registry[call.func.overloadpacket]
    return int(formula(*call.args, **call.kwargs, out_val=call.result)) // 2


def _convolution(call: Call) -> Product:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = call.args[:9]
    declared = call.of(x)
    if declared is None:
        raise NotImplementedError("a convolution of a constant by a kernel that depends on the input is not counted")
    geometry = Geometry(
        weight_shape=tuple(weight.shape),
        stride=_each(stride, x),
        padding=_each(padding, x),
        dilation=_each(dilation, x),
        transposed=transposed,
        output_padding=_each(output_padding, x),
        groups=groups,
    )
    content, events = verified(x, declared), amounts(x, dim=1)
    return Product(
        content=content,
        result=Content(origin="synapses"),
        num_weights=weight.numel(),
        num_inputs=x.numel(),
        rows=_rows(
            content,
            events=events.flatten(1).sum(1),
            sops=sops_at(events, geometry),
            by_level=lambda: convolution_sops(levels_of(x, content.scale), geometry, by_level=True),
        ),
        dense_macs=dense_macs(call),
        bias_additions=NO_WORK if bias is None else Work(additions=call.size),
    )


def _one_input(call: Call, x: Tensor, declared: Content, weight: Tensor, *, has_addend: bool) -> Product:
    """Rows of `x` times a constant matrix (of any batch); the transposed product counts the same."""
    content, events = verified(x, declared), amounts(x, dim=-1).flatten()
    out_features = call.size * x.shape[-1] // max(1, x.numel())
    return Product(
        content=content,
        result=Content(origin="synapses"),
        num_weights=weight.numel(),
        num_inputs=x.numel(),
        rows=_rows(
            content,
            events=events,
            sops=events * out_features,
            by_level=lambda: linear_sops(levels_of(x, content.scale), out_features, by_level=True).flatten(),
        ),
        dense_macs=dense_macs(call),
        bias_additions=Work(additions=call.size) if has_addend else NO_WORK,
    )


def _two_inputs(call: Call, a: Tensor, b: Tensor, of_a: Content, of_b: Content) -> Product:
    of_a, of_b = verified(a, of_a), verified(b, of_b)
    if ("spikes", "levels", "real").index(of_b.kind) < ("spikes", "levels", "real").index(of_a.kind):
        # The product of the transposed matrices: what decides comes first.
        a, b, of_a, of_b = b.transpose(-2, -1), a.transpose(-2, -1), of_b, of_a
    scale = of_a.scale * of_b.scale
    origin = origin_of((of_a, of_b))
    counted = of_a.is_counted and of_b.is_counted
    frames = a.shape[0] if a.ndim > 2 else 1
    events = amounts(a.reshape(frames, -1), dim=1) + amounts(b.reshape(frames, -1), dim=1)
    return Product(
        content=Content(kind=of_a.kind, scale=of_a.scale, origin=origin),
        result=Content(kind="levels" if counted else "real", scale=scale if counted else 1.0, origin="synapses"),
        num_weights=0,
        num_inputs=a.numel() + b.numel(),
        rows=_rows(
            of_a,
            events=events,
            sops=matmul_sops(a, b).reshape(frames),
            by_level=lambda: matmul_sops(levels_of(a, of_a.scale), b, by_level=True).reshape(frames),
        ),
        dense_macs=dense_macs(call),
        bias_additions=NO_WORK,
    )


def _rows(content: Content, *, events: Tensor, sops: Tensor, by_level: Any) -> Tensor:
    none = torch.zeros_like(sops)
    acs = {"spikes": lambda: sops, "levels": by_level, "real": lambda: none}[content.kind]()
    return torch.stack([events, sops, acs, sops if content.kind == "real" else none])


def _each(numbers: Any, x: Tensor) -> list[int]:
    """One number for each spatial axis; operators take one for all."""
    given = list(numbers)
    return given * (x.ndim - 2) if len(given) == 1 else given
