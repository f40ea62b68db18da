r"""Surrogate derivatives: what the backward pass uses for the derivative of the step function.

The forward pass emits `1(u >= 0)`, `u = h - threshold`; its derivative is replaced by one of these functions of `u`.
Definitions: the papers of RevSNN, OTTT and SLTT use the same ones (sigmoid and arctan as in SpikingJelly).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Surrogate(ABC):
    """A surrogate derivative with the sharpness `alpha`."""

    alpha: float = 1.0

    @property
    def name(self) -> str:
        """The word for it in `SURROGATES` and in the kernels."""
        return type(self).__name__.lower()

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """The derivative at `u`, elementwise, any shape."""


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""$\alpha\,g(\alpha u)(1 - g(\alpha u))$ with the logistic function $g$."""

    alpha: float = 4.0

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        g = torch.sigmoid(self.alpha * u)
        return self.alpha * (g * (1 - g))


@dataclass(frozen=True)
class ArcTan(Surrogate):
    r"""$\frac{\alpha/2}{1 + (\pi\alpha u/2)^2}$."""

    alpha: float = 2.0

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        scaled = (math.pi * self.alpha / 2) * u
        return (self.alpha / 2) / (1 + scaled * scaled)


@dataclass(frozen=True)
class Triangle(Surrogate):
    r"""$\max(0, \alpha - \alpha^2 |u|)$."""

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return torch.clamp(self.alpha - self.alpha**2 * u.abs(), min=0)


@dataclass(frozen=True)
class Rectangle(Surrogate):
    r"""$1/\alpha$ where $|u| \le \alpha/2$, else 0."""

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return (u.abs() <= self.alpha / 2).to(u.dtype) / self.alpha


SURROGATES: dict[str, type[Surrogate]] = {
    kind.__name__.lower(): kind for kind in (Sigmoid, ArcTan, Triangle, Rectangle)
}


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(u), None


def step(u: Tensor, surrogate: Surrogate) -> Tensor:
    """`1(u >= 0)` in the dtype of `u`, with the surrogate for its derivative."""
    spikes: Tensor = _Step.apply(u, surrogate)
    return spikes
