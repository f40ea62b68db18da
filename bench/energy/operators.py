"""The table of operators that are not synaptic: counted by a rule, known to be free, or unknown.

A rule says what an operator does to the content of its tensors and how many operations on single numbers it takes.
Free are operators that compute nothing: views, copies, and what only moves or makes memory. An operator that is in no
table is unknown: whatever was counted beside it is a lower bound.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from revbench.bench.energy.content import SPIKES, Content, added, joined, multiplied, origin_of
from revbench.bench.energy.counts import NO_WORK, Role, Work
from revbench.bench.energy.synaptic import Geometry, convolution_sops

State = Literal["counted", "free", "unknown"]
aten = torch.ops.aten


@dataclass
class Call:
    """One call of an operator, which is run when its result is first asked for.

    A rule that reads what the operator may change in place reads it before.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    find_content: Callable[[Tensor], Content | None]

    @cached_property
    def result(self) -> Any:
        """What the operator returns."""
        return self.func(*self.args, **self.kwargs)

    @cached_property
    def contents(self) -> list[Content]:
        """Of all tensors that it reads and that depend on the network's input."""
        written = {argument.name for argument in self.func._schema.arguments if argument.is_out}
        read = (self.args, {name: value for name, value in self.kwargs.items() if name not in written})
        found = (self.of(leaf) for leaf in tree_leaves(read) if isinstance(leaf, Tensor))
        return [content for content in found if content is not None]

    def of(self, value: object) -> Content | None:
        """The content of a tensor that depends on the network's input; None for anything else."""
        return self.find_content(value) if isinstance(value, Tensor) else None

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that it returns."""
        return [leaf for leaf in tree_leaves(self.result) if isinstance(leaf, Tensor)]

    @property
    def size(self) -> int:
        """Elements of the first tensor that it returns."""
        return self.outputs[0].numel()

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument given by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a call came to: the content of its results, and its work; `folded` None where nothing can be folded."""

    content: Content
    role: Role | None = None
    work: Work = NO_WORK
    folded: Work | None = None


Rule = Callable[[Call], Effect]
RULES: dict[Any, Rule] = {}

# fmt: off
FREE = frozenset((
    aten._reshape_alias, aten._to_copy, aten._unsafe_view, aten.alias, aten.as_strided, aten.broadcast_to, aten.cat,
    aten.clone, aten.constant_pad_nd, aten.contiguous, aten.copy_, aten.detach, aten.diagonal, aten.empty_like,
    aten.empty_strided, aten.expand, aten.expand_as, aten.fill_, aten.flatten, aten.flip, aten.full_like, aten.gather,
    aten.index, aten.index_select, aten.is_same_size, aten.lift_fresh, aten.movedim, aten.narrow, aten.new_empty,
    aten.new_empty_strided, aten.new_full, aten.new_ones, aten.new_zeros, aten.ones_like, aten.permute,
    aten.pixel_shuffle, aten.pixel_unshuffle, aten.repeat, aten.reshape, aten.roll, aten.select, aten.select_scatter,
    aten.slice, aten.slice_scatter, aten.split, aten.split_with_sizes, aten.squeeze, aten.stack, aten.swapaxes,
    aten.t, aten.transpose, aten.unbind, aten.unfold, aten.unsafe_split, aten.unsqueeze, aten.upsample_nearest1d,
    aten.upsample_nearest2d, aten.upsample_nearest3d, aten.view, aten.zero_, aten.zeros_like,
    aten._local_scalar_dense,
))
# fmt: on


def state_of(packet: Any) -> State:
    """Of an operator that is not synaptic, by its name without overload."""
    return "counted" if packet in RULES else "free" if packet in FREE else "unknown"


def counts(*packets: Any) -> Callable[[Rule], Rule]:
    """Enters a rule for operators."""

    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(packets, rule))
        return rule

    return enter


def free_effect(call: Call) -> Effect:
    """Values move, and stay what they are."""
    return Effect(content=joined(call.contents))


def unknown_effect(call: Call) -> Effect:
    """Nothing is known of the values but where they come from."""
    return Effect(content=Content(origin=origin_of(call.contents)))


@counts(aten.add, aten.add_, aten.sub, aten.sub_, aten.rsub)
def _addition(call: Call) -> Effect:
    """An addition takes place where neither operand is zero; of real numbers, everywhere."""
    (a, b), (of_a, of_b) = call.args[:2], map(call.of, call.args[:2])
    if of_a and of_b:
        content = added(of_a, of_b)
        sparse = of_a.is_counted or of_b.is_counted
        work = Work(additions=int(torch.count_nonzero((a != 0) & (b != 0)))) if sparse else Work(additions=call.size)
        return Effect(content=content, role="addition", work=work)
    return Effect(content=call.contents[0].as_real(), role="bias", work=Work(additions=call.size))


@counts(aten.mul, aten.mul_, aten.div, aten.div_)
def _multiplication(call: Call) -> Effect:
    """By one constant it can be folded; a product of spikes is a mask, a logical operation."""
    (a, b), (of_a, of_b) = call.args[:2], map(call.of, call.args[:2])
    if of_a and of_b:
        content = multiplied(of_a, of_b)
        is_mask = "spikes" in (of_a.kind, of_b.kind)
        work = Work(comparisons=call.size) if is_mask else Work(multiplications=call.size)
        return Effect(content=content, role="mask" if is_mask else "scaling", work=work)
    content, constant = call.contents[0], b if of_a else a
    work = Work(multiplications=call.size)
    divides = call.func.overloadpacket in (aten.div, aten.div_)
    if _is_one_number(constant) and (of_a or not divides):
        factor = float(constant)
        content = content.times(1 / factor if divides else factor)
        return Effect(content=content, role="scaling", work=work, folded=NO_WORK if content.is_foldable else None)
    folded = NO_WORK if content.fresh else None
    return Effect(content=content.as_real(), role="scaling", work=work, folded=folded)


@counts(aten.neg)
def _negation(call: Call) -> Effect:
    return Effect(content=call.contents[0].times(-1.0))


@counts(aten.sum, aten.mean)
def _sum(call: Call) -> Effect:
    x, content = call.args[0], call.contents[0]
    share = call.size / x.numel() if call.func.overloadpacket is aten.mean else 1.0
    additions = int(torch.count_nonzero(x)) if content.is_counted else x.numel()
    folded = Work(additions=additions)
    work = folded + Work(multiplications=call.size if share != 1 else 0)
    return Effect(content=content.summed(share), role="pooling", work=work, folded=folded)


@counts(aten.avg_pool2d)
def _average_pooling(call: Call) -> Effect:
    """Each event is added as often as windows hold it; of real numbers, each window adds all its elements."""
    x, content = call.args[0], call.contents[0]
    kernel = call.args[1]
    stride = call.argument(2, "stride", []) or kernel
    padding = call.argument(3, "padding", [0, 0])
    ceils, counts_padding = call.argument(4, "ceil_mode", False), call.argument(5, "count_include_pad", True)
    divisor = call.argument(6, "divisor_override")
    window = divisor or math.prod(kernel)
    uniform = not ceils and (counts_padding or not any(padding) or divisor)
    if content.is_counted and not ceils:
        geometry = Geometry(weight_shape=(1, 1, *kernel), stride=stride, padding=padding, dilation=[1] * len(kernel))
        additions = int(convolution_sops(x, geometry).sum())
    else:
        additions = call.size * math.prod(kernel)
    return Effect(
        content=content.summed(1 / window) if uniform else content.as_real(),
        role="pooling",
        work=Work(additions=additions, multiplications=call.size),
        folded=Work(additions=additions) if uniform else None,
    )


@counts(aten._adaptive_avg_pool2d)
def _adaptive_pooling(call: Call) -> Effect:
    """Means over equal windows, or copies where the result is larger; else windows overlap and values are real."""
    x, content = call.args[0], call.contents[0]
    before, after = x.shape[-2:], call.outputs[0].shape[-2:]
    if all(large % small == 0 for small, large in zip(before, after, strict=True)):
        return Effect(content=content)
    if not all(large % small == 0 for small, large in zip(after, before, strict=True)):
        windows = math.prod(-(-large // small) + 1 for small, large in zip(after, before, strict=True))
        work = Work(additions=call.size * windows, multiplications=call.size)
        return Effect(content=content.as_real(), role="pooling", work=work)
    folded = Work(additions=int(torch.count_nonzero(x)) if content.is_counted else x.numel())
    return Effect(
        content=content.summed(call.size / x.numel()),
        role="pooling",
        work=folded + Work(multiplications=call.size),
        folded=folded,
    )


@counts(aten.max_pool2d_with_indices, aten.max_pool2d)
def _max_pooling(call: Call) -> Effect:
    work = Work(comparisons=call.size * math.prod(call.args[1]))
    return Effect(content=call.contents[0], role="pooling", work=work)


@counts(
    aten.native_batch_norm,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_no_training,
    aten._batch_norm_no_update,
)
def _batch_norm(call: Call) -> Effect:
    """With constant statistics a factor and a shift, which fold into a synaptic operator that is right before."""
    content, size = call.contents[0], call.args[0].numel()
    learns = call.func.overloadpacket in (aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm)
    if (learns and call.args[5]) or (call.func.overloadpacket is aten._native_batch_norm_legit and call.args[5]):
        return _norm_of_own_statistics(call)
    shift = Work(additions=size)
    folded = NO_WORK if content.fresh == "biased" else shift if content.fresh else None
    normalised = Content(origin=content.origin, fresh="biased" if content.fresh else "")
    work = shift + Work(multiplications=size)
    return Effect(content=normalised, role="normalisation", work=work, folded=folded)


@counts(aten.native_layer_norm, aten.native_group_norm)
def _norm_of_own_statistics(call: Call) -> Effect:
    """Mean, variance, and the normalisation by them: nothing of it is constant."""
    size = call.args[0].numel()
    work = Work(additions=4 * size, multiplications=3 * size)
    return Effect(content=call.contents[0].as_real(), role="normalisation", work=work)


@counts(aten.ge, aten.gt, aten.le, aten.lt, aten.eq, aten.ne, aten.sign, aten.heaviside)
def _threshold(call: Call) -> Effect:
    """A comparison makes spikes, whoever writes it."""
    call.result  # noqa: B018 - runs it
    return Effect(content=SPIKES, role="activation", work=Work(comparisons=call.size))


@counts(aten.relu, aten.relu_)
def _rectifier(call: Call) -> Effect:
    content = call.contents[0]
    kept = content if content.is_counted else content.as_real()
    return Effect(content=kept, role="activation", work=Work(comparisons=call.size))


def _every_element(role: Role, work: Work, *packets: Any) -> None:
    """Enters operators that take the same work for each element of their result, which is real."""

    def rule(call: Call) -> Effect:
        return Effect(content=Content(origin=origin_of(call.contents)), role=role, work=work * call.size)

    counts(*packets)(rule)


_every_element(
    "activation", Work(comparisons=1), aten.abs, aten.maximum, aten.minimum, aten.where, aten.logical_and,
    aten.logical_or, aten.logical_not, aten.bitwise_and, aten.bitwise_or, aten.bitwise_not, aten.masked_fill,
    aten.leaky_relu, aten.round, aten.floor, aten.ceil,
)  # fmt: skip
_every_element("activation", Work(comparisons=2), aten.clamp, aten.clamp_, aten.hardtanh)
_every_element(
    "activation", Work(functions=1), aten.sigmoid, aten.sigmoid_, aten.tanh, aten.tanh_, aten.exp, aten.log, aten.sqrt,
    aten.rsqrt, aten.reciprocal, aten.pow, aten.gelu, aten.silu, aten.elu, aten.erf, aten.softplus,
)  # fmt: skip
_every_element(
    "activation", Work(functions=1, additions=1, multiplications=1, comparisons=1), aten._softmax, aten._safe_softmax,
    aten._log_softmax,
)  # fmt: skip
_every_element("addition", Work(additions=1, multiplications=1), aten.addcmul, aten.addcmul_, aten.lerp)
_every_element("scaling", Work(additions=3, multiplications=4), aten.upsample_bilinear2d)


def _is_one_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
