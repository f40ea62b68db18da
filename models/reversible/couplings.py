r"""Couplings: the steps of a reversible sequence, each of which changes one stream.

$$x_{target} \leftarrow \alpha \odot x_{target} + f(x_{sources}), \qquad target \notin sources$$

so the stream before it is $(x_{target} - f(x_{sources})) / \alpha$. Without a carry $\alpha$ is 1 (RevSNN, AAAI 2024,
section 3.2); with one it is learnt, a number a channel (T-RevSNN, ICML 2024). A coupling can also create its target.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from revbench.models import annotations


class Carry(nn.Module):
    r"""The learnable share $\alpha$ of a stream that stays when the stream is updated, a number a channel.

    What is used is $\alpha$ held away from zero: where $|\alpha|$ is below `smallest`, `smallest` with the sign of
    $\alpha$ (plus for zero), while the gradient passes as if nothing had been done. T-RevSNN's code changes the
    parameter itself, and leaves a zero at zero.

    Args:
        channels: of the stream `[B, C, H, W]`.
        initial: $\alpha$ at the beginning.
        smallest: the least magnitude that is used.
    """

    def __init__(self, channels: int, *, initial: float = 0.5, smallest: float = 1e-3) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), initial))
        self.initial = initial
        self.smallest = smallest

    def effective(self) -> Tensor:
        """The factors that are used, `[C, 1, 1]`."""
        effective: Tensor = _AwayFromZero.apply(self.factor, self.smallest)
        return effective

    def forward(self, x: Tensor) -> Tensor:
        """What stays of the stream `[B, C, H, W]`."""
        return x * self.effective()


class _AwayFromZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factor: Tensor, smallest: float) -> Tensor:
        held = torch.where(factor < 0, -smallest, smallest).to(factor.dtype)
        return torch.where(factor.abs() < smallest, held, factor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """`streams[target] = carry * streams[target] + function(*[streams[s] for s in sources])`.

    Attributes:
        target: the stream that changes.
        sources: the streams that are read.
        function: whose parameters are registered in it, and which gives the same value twice.
        carry: the share of the target that stays; None for all of it.
        creates: whether the target does not exist before, and is the function's value alone.
        timestep: the only one that it belongs to, from 0; None for all. Told to observers, and to nobody else.
    """

    target: int
    sources: tuple[int, ...]
    function: nn.Module
    carry: Carry | None = None
    creates: bool = False
    timestep: int | None = None

    def __post_init__(self) -> None:
        if self.target in self.sources:
            raise ValueError(f"stream {self.target} is both target and source of a coupling; it cannot be restored")
        if self.creates and self.carry is not None:
            raise ValueError(f"a coupling that creates stream {self.target} has nothing of it to carry")

    def announced(self) -> AbstractContextManager[None]:
        """Tells observers the timestep of what is computed inside this block."""
        t = self.timestep
        return nullcontext() if t is None else annotations.timesteps(range(t, t + 1))


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the order of the couplings alone says about the streams.

    Attributes:
        num_streams: streams that are read, changed or created.
        inputs: those that must be given, in order: all that no coupling creates.
        read_before: for each coupling, whether the target's value before it is read by an earlier coupling.
        read_at_end: for each stream, whether its last value is read.
    """

    num_streams: int
    inputs: tuple[int, ...]
    read_before: tuple[bool, ...]
    read_at_end: tuple[bool, ...]

    @classmethod
    def of(cls, couplings: Sequence[Coupling]) -> "Wiring":
        """The wiring of couplings in this order.

        Raises:
            ValueError: the streams are not 0, 1, ..., or one is used before it is created.
        """
        named = _named(couplings)
        if not named or named != set(range(len(named))):
            raise ValueError("the streams of a reversible sequence are 0, 1, ..., without gaps")
        created = {coupling.target for coupling in couplings if coupling.creates}
        existing = named - created
        inputs = tuple(sorted(existing))
        read = [False] * len(named)
        read_before = []
        for coupling in couplings:
            used = set(coupling.sources) if coupling.creates else {*coupling.sources, coupling.target}
            if not used <= existing:
                raise ValueError(f"stream {min(used - existing)} is used before it is created")
            if coupling.creates and coupling.target in existing:
                raise ValueError(f"stream {coupling.target} is created twice")
            existing.add(coupling.target)
            for source in coupling.sources:
                read[source] = True
            read_before.append(read[coupling.target])
            read[coupling.target] = False
        return cls(len(named), inputs, tuple(read_before), tuple(read))


def _named(couplings: Iterable[Coupling]) -> set[int]:
    return {stream for coupling in couplings for stream in (coupling.target, *coupling.sources)}
