"""What computes the two sweeps of the multi-step neuron: C on the CPU, where it compiles, else operators of torch.

The operators of torch walk the batch in slices small enough for a slice of every buffer to stay in the processor's
cache; on other devices in one slice.
"""

import torch
from torch import Tensor

from revbench.models.neurons import native
from revbench.models.neurons.dynamics import Dynamics

SLICE_ELEMENTS = 1 << 17


def forward(dynamics: Dynamics, x: Tensor, keep_potential: bool, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Spikes `[T, B, ...]` and, if kept, the potential before the reset `[T, B, ...]` (else an empty tensor).

    `before` is that potential of the timestep before the first, `[B, ...]`; None stands for neurons at rest.
    """
    if native.runs(dynamics, x):
        return native.forward(dynamics, x, keep_potential, before)
    spikes = x.new_empty(x.shape)
    potential = x.new_empty(x.shape if keep_potential else (0,))
    for part in _slices(x):
        _forward_slice(
            dynamics,
            x[:, part],
            spikes[:, part],
            potential[:, part] if keep_potential else None,
            None if before is None else before[part],
        )
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


def _forward_slice(
    dynamics: Dynamics, x: Tensor, spikes: Tensor, potential: Tensor | None, before: Tensor | None
) -> None:
    v = x.new_empty(x.shape[1:])
    if before is not None:
        _reset(dynamics, before, (before - dynamics.threshold >= 0).to(before.dtype), out=v)
    for t in range(x.shape[0]):
        h = v if potential is None else potential[t]
        scaled = x[t] if dynamics.input_scale == 1 else torch.mul(x[t], dynamics.input_scale, out=spikes[t])
        if t == 0 and before is None:
            torch.add(scaled, dynamics.v_rest, out=h)
        else:
            torch.add(v if dynamics.leak == 1 else v.mul_(dynamics.leak), scaled, out=h)
            if dynamics.bias:
                h.add_(dynamics.bias)
        # As in the plain loop: h - threshold first, so that both round alike at the threshold.
        torch.sub(h, dynamics.threshold, out=spikes[t])
        torch.ge(spikes[t], 0, out=spikes[t])
        if t + 1 < x.shape[0]:
            _reset(dynamics, h, spikes[t], out=v)


def _reset(dynamics: Dynamics, h: Tensor, spikes: Tensor, *, out: Tensor) -> None:
    if dynamics.v_reset is None:
        # The threshold rounded first, as the plain loop does where it scales the spikes.
        threshold = torch.tensor(dynamics.threshold, dtype=h.dtype).item()
        torch.add(h, spikes, alpha=-threshold, out=out)
    else:
        torch.addcmul(h, h, spikes, value=-1, out=out)
        if dynamics.v_reset:
            out.add_(spikes, alpha=dynamics.v_reset)


def _backward_slice(dynamics: Dynamics, grad_spikes: Tensor, potential: Tensor, grad_x: Tensor) -> None:
    last = potential.shape[0] - 1
    for t in range(last, -1, -1):
        h = potential[t]
        u = h - dynamics.threshold
        derivative = dynamics.surrogate.derivative(u)
        grad_h = torch.mul(grad_spikes[t], derivative, out=grad_x[t])
        if t == last:
            continue
        if dynamics.v_reset is None and dynamics.detach_reset:
            grad_h.add_(grad_x[t + 1], alpha=dynamics.leak)
        else:
            grad_h.addcmul_(grad_x[t + 1], _reset_derivative(dynamics, h, u, derivative), value=dynamics.leak)
    if dynamics.input_scale != 1:
        grad_x.mul_(dynamics.input_scale)


def _reset_derivative(dynamics: Dynamics, h: Tensor, u: Tensor, derivative: Tensor) -> Tensor:
    if dynamics.v_reset is None:
        return 1 - dynamics.threshold * derivative
    kept = (u < 0).to(h.dtype)
    return kept if dynamics.detach_reset else kept + (dynamics.v_reset - h) * derivative
