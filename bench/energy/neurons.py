r"""The work of updating integrate-and-fire neurons, from the constants of their dynamics.

One timestep of $h = \lambda v + c x + b$, spike where $h \ge \theta$, reset: one addition for the input, one more
where $b \ne 0$; a multiplication for the leak where $\lambda \ne 1$, and one for the input where $c \ne 1$; a
comparison; and for each spike a subtraction (soft reset) or a selection (hard reset). The first timestep counts as all
others, although from rest it needs neither leak nor addition.
"""

from revbench.bench.energy.counts import Work
from revbench.models.neurons import Dynamics


def neuron_work(dynamics: Dynamics | None, num_updates: int, num_spikes: int) -> Work:
    """Of all updates of a layer, a neuron and a timestep each; without dynamics, neurons only compare."""
    if dynamics is None:
        return Work(comparisons=num_updates)
    is_soft = dynamics.v_reset is None
    return Work(
        additions=num_updates * (1 + (dynamics.bias != 0)) + num_spikes * is_soft,
        multiplications=num_updates * ((dynamics.leak != 1) + (dynamics.input_scale != 1)),
        comparisons=num_updates + num_spikes * (not is_soft),
    )
