"""One coupling forwards and backwards: the function's value, the stream after it, the stream before it."""

from collections.abc import Sequence

from torch import Tensor, nn

from revbench.models.reversible.couplings import Coupling
from revbench.models.reversible.surroundings import reset_states


def call(function: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """The function's value, from a clean state and leaving none behind."""
    reset_states(function)
    value: Tensor = function(*inputs)
    reset_states(function)
    return value


def evaluate(coupling: Coupling, streams: Sequence[Tensor | None]) -> Tensor:
    """The value of the coupling's function.

    Raises:
        ValueError: its shape is not that of the target.
    """
    sources = [stream for s in coupling.sources if (stream := streams[s]) is not None]
    value, target = call(coupling.function, sources), streams[coupling.target]
    if target is not None and value.shape != target.shape:
        raise ValueError(
            f"a function of a reversible sequence returned the shape {list(value.shape)} for stream "
            f"{coupling.target}, whose shape is {list(target.shape)}; they must be equal"
        )
    return value


def combined(coupling: Coupling, before: Tensor, value: Tensor, *, in_place: bool) -> Tensor:
    """The target after the coupling; `in_place` if its tensor belongs to the sequence and nobody keeps it."""
    if coupling.carry is None:
        return before.add_(value) if in_place else before + value
    carry = coupling.carry.effective().detach()
    carried = before.mul_(carry) if in_place else before * carry
    return carried.add_(value)


def inverse(coupling: Coupling, after: Tensor, value: Tensor, *, in_place: bool) -> Tensor:
    """The target before the coupling; the same as to `in_place`."""
    before = after.sub_(value) if in_place else after - value
    return before if coupling.carry is None else before.div_(coupling.carry.effective().detach())


def same_storage(a: Tensor, b: Tensor | None) -> bool:
    """Whether a change of one in place may change the other."""
    return b is not None and a.untyped_storage()._cdata == b.untyped_storage()._cdata
