"""What fake operators have answered before, so that they need not be asked twice.

Torch keeps such answers too, under everything that a tensor can be, which takes most of the time of a trace. Here are
those operators alone whose answer follows from the sizes, strides and types of their arguments: they make new tensors,
show their first argument in another form, change its numbers and return it, or write into their argument `out`.
Everything else goes to torch each time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager


class Form(NamedTuple):
    """All that there is to know of a tensor without numbers; stride and offset in elements."""

    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device


Answer = Form | None | list[Any]
Effect = Literal["makes", "shows", "changes", "fills"]


class Answers:
    """The answers of one world of fake tensors.

    Args:
        mode: the world, which makes the tensors.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        self._mode = mode
        self._known: dict[tuple[Any, ...], Answer] = {}

    def ask(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], ask_torch: Callable[[], Any]) -> Any:
        """The operator's results; from `ask_torch` where they are not known."""
        effect = _effect(func)
        key = _question(func, args, kwargs) if effect else None
        if effect is None or key is None:
            return ask_torch()
        if key in self._known:
            if effect == "changes":
                return args[0]
            if effect == "fills":
                return kwargs["out"]
            return self._made(self._known[key], args[0] if effect == "shows" else None)
        before = _form(kwargs["out"]) if effect == "fills" else None
        result = ask_torch()
        if _form(result) == before if effect == "fills" else _is_as_declared(effect, result, args):
            self._known[key] = _form(result)
        return result

    def _made(self, answer: Answer, shown: Any) -> Any:
        if not isinstance(answer, Form):
            return answer and tuple(self._made(part, shown) for part in answer)
        with in_kernel_invocation_manager(self._mode):
            if shown is None:
                bare = torch.empty_strided(answer.size, answer.stride, dtype=answer.dtype, device="meta")
            else:
                bare = torch.empty((), dtype=answer.dtype, device="meta")
                bare.set_(shown.untyped_storage(), answer.offset, answer.size, answer.stride)
        return FakeTensor(self._mode, bare, answer.device)


@cache
def _effect(func: Any) -> Effect | None:
    """What the operator does, by its declaration; None for all that is left to torch."""
    left_out = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.inplace_view)
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten" or set(left_out) & set(func.tags):
        return None
    schema = func._schema
    aliased = [argument.alias_info for argument in schema.arguments]
    returned = [result.alias_info for result in schema.returns]
    if not any(aliased):
        return "makes" if returned and not any(returned) else None
    last = schema.arguments[-1]
    if not any(aliased[:-1]) and last.name == "out" and last.kwarg_only and len(returned) == 1:
        return "fills"
    if not aliased[0] or any(aliased[1:]) or len(returned) != 1:
        return None
    if not aliased[0].is_write:
        return "shows"
    name = schema.name.removeprefix("aten::")
    return "changes" if name.endswith("_") and not name.startswith("_") and name not in _CHANGES_MORE else None


_CHANGES_MORE = frozenset(("set_", "resize_", "resize_as_", "shallow_copy_data_"))
_PLAIN = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format))


def _question(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The operator with the forms of its arguments; None if an argument is more than its form."""
    if torch.is_inference_mode_enabled():
        return None
    words = [func, torch.get_default_dtype(), torch._C._get_default_device()]
    described = _describe(args, words) and (not kwargs or _describe([*kwargs, *kwargs.values()], words))
    return tuple(words) if described else None


def _describe(values: Sequence[Any], words: list[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is FakeTensor:
            if value.constant is not None or value.layout is not torch.strided or value.dtype.is_complex:
                return False
            words += (value.dtype, value.shape, value.stride(), value.storage_offset(), value.fake_device)
        elif kind in _PLAIN:
            words += (kind, value)
        elif kind is list or kind is tuple:
            words.append(len(value))
            if not _describe(value, words):
                return False
        else:
            return False
    return True


def _is_as_declared(effect: Effect, result: Any, args: Sequence[Any]) -> bool:
    """Whether the results are what the operator declares: some return a view and do not declare it."""
    results: list[Any] = list(_tensors(result))
    if (
        not results
        or not isinstance(result, torch.Tensor | tuple)
        or any(type(each) is not FakeTensor for each in results)
    ):
        return False
    if effect == "changes":
        return result is args[0]
    storages = _storages(results)
    if effect == "shows":
        return isinstance(result, torch.Tensor) and result is not args[0] and storages == _storages(args[:1])
    return len(storages) == len(results) and not storages & _storages(args) and all(map(_is_whole, results))


def _storages(values: Sequence[Any]) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in _tensors(values)}


def _is_whole(tensor: Any) -> bool:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    num_elements = last + 1 if tensor.numel() else 0
    plain = tensor.constant is None and tensor.layout is torch.strided and tensor.storage_offset() == 0
    return plain and bool(tensor.untyped_storage().nbytes() == num_elements * tensor.itemsize)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _form(result: Any) -> Answer:
    if isinstance(result, FakeTensor):
        return Form(result.shape, result.stride(), int(result.storage_offset()), result.dtype, result.fake_device)
    return None if result is None else [_form(part) for part in result]
