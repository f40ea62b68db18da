"""What must be the same when a function is evaluated a second time: random numbers, statistics, state, autocast."""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True, slots=True)
class RandomState:
    """The state of the random number generators that a function on `device` may draw from."""

    device: torch.device
    states: tuple[Tensor, ...]

    @classmethod
    def capture(cls, device: torch.device) -> "RandomState":
        """The state as it is now."""
        if device.type == "cuda":
            return cls(device, (torch.get_rng_state(), torch.cuda.get_rng_state(device)))
        return cls(device, (torch.get_rng_state(),))

    def same_as(self, other: "RandomState") -> bool:
        """Whether no random number was drawn in between."""
        # Read through the pointer: no operator runs, so a dispatch mode sees nothing.
        return all(
            ctypes.string_at(a.data_ptr(), a.numel()) == ctypes.string_at(b.data_ptr(), b.numel())
            for a, b in zip(self.states, other.states, strict=True)
        )

    def restore(self) -> None:
        """Sets the generators back to this state."""
        torch.set_rng_state(self.states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.states[1], self.device)


@contextmanager
def replayed(state: RandomState | None) -> Iterator[None]:
    """Draws the random numbers of `state` again, and leaves the generators as they were; does nothing for None."""
    if state is None:
        yield
        return
    now = RandomState.capture(state.device)
    state.restore()
    try:
        yield
    finally:
        now.restore()


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Norms inside `module` normalise as before but leave their running statistics alone."""
    tracking: list[Any] = [m for m in module.modules() if m.training and getattr(m, "track_running_stats", False)]
    # Instance norms write to whatever statistics they have; the flag alone stops batch norms only.
    hidden = [(m, m.running_mean, m.running_var) for m in tracking if isinstance(m, INSTANCE_NORMS)]
    for norm in tracking:
        norm.track_running_stats = False
    for norm, _, _ in hidden:
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
        for norm, mean, variance in hidden:
            norm.running_mean, norm.running_var = mean, variance


@contextmanager
def without_hooks(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Gradient hooks of these parameters do not fire inside this block; they are for the whole gradient, not parts."""
    hooked = [(p, p._backward_hooks) for p in parameters if p._backward_hooks]
    for parameter, _ in hooked:
        parameter._backward_hooks = None
    try:
        yield
    finally:
        for parameter, hooks in hooked:
            parameter._backward_hooks = hooks


def reset_states(module: nn.Module) -> None:
    """Calls `reset()` of every part that has it: neurons of other libraries keep their potential in attributes."""
    for part in module.modules():
        reset = getattr(part, "reset", None)
        if callable(reset):
            reset()


@dataclass(frozen=True, slots=True)
class Autocast:
    """The autocast setting of a device type."""

    device_type: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def capture(cls, device_type: str) -> "Autocast":
        """The setting as it is now."""
        return cls(device_type, torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type))

    def entered(self) -> AbstractContextManager[object]:
        """The same setting without the cache of cast weights.

        A cast weight in the cache stays alive until the outermost autocast block ends; each function is evaluated
        once, so the cache has nothing to give.
        """
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.enabled, cache_enabled=False)
