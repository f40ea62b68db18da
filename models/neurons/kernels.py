"""What computes the two sweeps of the multi-step neuron: C on the CPU where it can be compiled, else operators of torch.

With operators of torch, the batch is walked in slices small enough for a slice of every buffer to stay in the processor's cache; on other
devices in one slice.
"""

import torch
from torch import Tensor

from revbench.models.neurons import native
from revbench.models.neurons.dynamics import Dynamics

SLICE_ELEMENTS = 1 << 17


def forward(dynamics: Dynamics, x: Tensor, keep_potential: bool) -> tuple[Tensor, Tensor]:
    """Spikes `[T, B, ...]` and, if kept, the potential before the reset `[T, B, ...]` (else an empty tensor)."""
    if native.runs(dynamics, x):
        return native.forward(dynamics, x, keep_potential)
    spikes = x.new_empty(x.shape)
    potential = x.new_empty(x.shape if keep_potential else (0,))
    for part in _slices(x):
        _forward_slice(dynamics, x[:, part], spikes[:, part], potential[:, part] if keep_potential else None)
    return spikes, potential


def backward(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor) -> Tensor:
    """The gradient of the input, `[T, B, ...]`."""
    if native.runs(dynamics, potential):
        return native.backward(dynamics, grad_spikes, potential)
    grad_x = torch.empty_like(potential)
    for part in _slices(potential):
        _backward_slice(dynamics, grad_spikes[:, part], potential[:, part], grad_x[:, part])
    return grad_x


def _slices(x: Tensor) -> list[slice]:
    batch_size = x.shape[1]
    if x.device.type != "cpu":
        return [slice(0, batch_size)]
    size = max(1, SLICE_ELEMENTS // max(1, x[0, :1].numel()))
    return [slice(start, min(start + size, batch_size)) for start in range(0, batch_size, size)]


def _forward_slice(dynamics: Dynamics, x: Tensor, spikes: Tensor, potential: Tensor | None) -> None:
    v = x.new_empty(x.shape[1:])
    h = v if potential is None else potential
    for t in range(x.shape[0]):
        h_t = h if potential is None else h[t]
        torch.mul(x[t], dynamics.input_scale, out=spikes[t])
        if t == 0:
            torch.add(spikes[t], dynamics.v_rest, out=h_t)
        else:
            torch.mul(v, dynamics.leak, out=h_t)
            h_t.add_(spikes[t])
            if dynamics.bias:
                h_t.add_(dynamics.bias)
        # As in the plain loop: h - threshold first, so that both round alike at the threshold.
        torch.sub(h_t, dynamics.threshold, out=spikes[t])
        torch.ge(spikes[t], 0, out=spikes[t])
        if t + 1 < x.shape[0]:
            _reset(dynamics, h_t, spikes[t], out=v)


def _reset(dynamics: Dynamics, h: Tensor, spikes: Tensor, *, out: Tensor) -> None:
    if dynamics.v_reset is None:
        torch.add(h, spikes, alpha=-dynamics.threshold, out=out)
    else:
        torch.addcmul(h, h, spikes, value=-1, out=out)
        if dynamics.v_reset:
            out.add_(spikes, alpha=dynamics.v_reset)


def _backward_slice(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor, grad_x: Tensor) -> None:
    carried: Tensor | None = None
    for t in reversed(range(potential.shape[0])):
        h = potential[t]
        u = h - dynamics.threshold
        derivative = dynamics.surrogate.derivative(u)
        grad_h = torch.mul(grad_spikes[t], derivative, out=grad_x[t])
        if carried is not None:
            grad_h.add_(carried.mul_(_reset_derivative(dynamics, h, u, derivative)))
        carried = grad_h * dynamics.leak
        if dynamics.input_scale != 1:
            grad_h.mul_(dynamics.input_scale)


def _reset_derivative(dynamics: Dynamics, h: Tensor, u: Tensor, derivative: Tensor) -> Tensor | float:
    if dynamics.v_reset is None:
        return 1.0 if dynamics.detach_reset else 1 - dynamics.threshold * derivative
    kept = (u < 0).to(h.dtype)
    return kept if dynamics.detach_reset else kept + (dynamics.v_reset - h) * derivative
