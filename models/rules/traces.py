r"""Layers that learn from a trace of their input (OTTT).

$$y[t] = W x[t] + b, \qquad \hat a[t] = \lambda\,\hat a[t-1] + x[t], \qquad
  \nabla W = \sum_t \delta[t]\,\hat a[t]^T, \qquad \nabla x[t] = W^T\delta[t]$$

The value and the gradient of the input are those of the layer as it is. The trace is that of the layer's own input:
pooling and scaling between spikes and layer are linear, so the trace of pooled spikes is the pooled trace of spikes. It
is kept for the backward pass in the input's place, and nothing is computed twice; OTTT's code computes each product
twice, and carries the traces beside the spikes through everything in between.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models import annotations
from revbench.models.neurons.memory import Memory
from revbench.models.rules.replaced import replaced
from revbench.models.simulation import Simulation


@contextmanager
def traced(
    simulation: Simulation, layers: Iterable[nn.Module], leak: float, *, traced_biases: bool = False
) -> Iterator[None]:
    r"""Convolutions and linear layers learn from traces inside this block.

    Args:
        simulation: in parts of one timestep.
        layers: which.
        leak: $\lambda$.
        traced_biases: whether a bias learns from the trace of its input, 1, as well: $(1-\lambda^t)/(1-\lambda)$.
    """
    with ExitStack() as stack:
        for layer in layers:
            trace = _Trace(simulation, simulation.remember(layer), leak, traced_biases=traced_biases)
            if isinstance(layer, nn.Conv2d):
                stack.enter_context(replaced(layer, "_conv_forward", _TracedConvolution(layer, trace)))
            elif isinstance(layer, nn.Linear):
                stack.enter_context(replaced(layer, "forward", _TracedLinear(layer, trace)))
            else:
                raise TypeError(f"{type(layer).__name__} is no layer that can learn from a trace")
        yield


@dataclass(frozen=True, slots=True)
class _Trace:
    simulation: Simulation
    memory: Memory
    leak: float
    traced_biases: bool

    def of(self, x: Tensor) -> Tensor | None:
        """The trace with this input taken in; None where nothing learns from this evaluation."""
        learns = torch.is_grad_enabled()
        before = self.memory.before() if learns else None
        with torch.no_grad(), annotations.kind("neuron_state"):
            trace = torch.add(x, before, alpha=self.leak) if before is not None else x.clone() if learns else x
        self.memory.note(trace.detach())
        return trace.detach() if learns else None

    @property
    def bias_factor(self) -> float:
        """What the gradient of a bias is multiplied with in this timestep."""
        return sum(self.leak**k for k in range(self.simulation.part.stop)) if self.traced_biases else 1.0


class _Geometry(NamedTuple):
    """Of a convolution, in the order of torch's operators."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class _TracedConvolution:
    """Stands in for `nn.Conv2d._conv_forward`."""

    def __init__(self, layer: nn.Conv2d, trace: _Trace) -> None:
        assert not isinstance(layer.padding, str)
        self.geometry = _Geometry(list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups)
        self.trace = trace

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        trace = self.trace.of(x)
        if trace is None:
            return F.conv2d(x, weight, bias, *self.geometry)
        convolved: Tensor = _Product.apply(x, trace, weight, bias, self.trace.bias_factor, self.geometry)
        return convolved


class _TracedLinear:
    """Stands in for `nn.Linear.forward`."""

    def __init__(self, layer: nn.Linear, trace: _Trace) -> None:
        self.layer = layer
        self.trace = trace

    def __call__(self, x: Tensor) -> Tensor:
        trace = self.trace.of(x)
        if trace is None:
            return F.linear(x, self.layer.weight, self.layer.bias)
        product: Tensor = _Product.apply(x, trace, self.layer.weight, self.layer.bias, self.trace.bias_factor, None)
        return product


class _Product(torch.autograd.Function):
    """The layer's product, of which the weight's gradient reads the trace."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        trace: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        bias_factor: float,
        geometry: _Geometry | None,
    ) -> Tensor:
        ctx.save_for_backward(trace, weight)
        ctx.bias_factor, ctx.geometry = bias_factor, geometry
        return F.linear(x, weight, bias) if geometry is None else F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        trace, weight = (tensor.to(grad.dtype) for tensor in ctx.saved_tensors)
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[2], ctx.needs_input_grad[3])
        back = _linear_backward if ctx.geometry is None else _convolution_backward
        grad_x, grad_weight, grad_bias = back(grad, trace, weight, wanted, ctx.geometry)
        if grad_bias is not None and ctx.bias_factor != 1:
            grad_bias = grad_bias * ctx.bias_factor
        return grad_x, None, grad_weight, grad_bias, None, None


_Wanted = tuple[bool, bool, bool]
_Grads = tuple[Tensor | None, Tensor | None, Tensor | None]


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, wanted: _Wanted, geometry: _Geometry) -> _Grads:
    *sides, groups = geometry
    found: _Grads = torch.ops.aten.convolution_backward(
        grad, x, weight, [weight.shape[0]], *sides, False, [0, 0], groups, wanted
    )
    return found


def _linear_backward(grad: Tensor, x: Tensor, weight: Tensor, wanted: _Wanted, _: None) -> _Grads:
    rows = grad.flatten(0, -2)
    return (
        grad @ weight if wanted[0] else None,
        rows.T @ x.flatten(0, -2) if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )
