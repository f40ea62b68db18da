r"""OTTT: online training through time (Xiao et al., NeurIPS 2022), with traces of spikes.

$$\hat a_l[t] = \lambda\,\hat a_l[t-1] + s_l[t], \qquad
  \delta_l[t] = \sigma'_l[t] \odot (W_{l+1}^T \delta_{l+1}[t]), \qquad
  \nabla W_l = \sum_t \delta_l[t]\,\hat a_{l-1}[t]^T$$

Of BPTT it keeps the temporal path through the leak inside a layer, and drops those of the layers above and of the
reset. The default does what the authors' code does, which departs from the formula in three places:

* the first layer learns from its input as it is, not from a trace of it;
* biases have no trace: their gradient is the sum of $\delta[t]$, where the formula, for a bias as the weight of an
  input of 1, gives $(1-\lambda^t)/(1-\lambda)$ times as much in timestep t;
* a linear read-out of spikes learns from their trace, though nothing leaks behind it (that of a residual stream, in
  NF-ResNet, does not).

`strict=True` follows the formula in all three. In both, norms (which OTTT's networks have none of) and products of
attention have no trace, and the layers that add to a residual stream have one: the formula is of chains, where a layer
has one neuron behind it, while a stream also reaches the read-out past all neurons, and that share of the gradient has
no leak. The authors' code does the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import nn

from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules.partwise import PartwiseRule
from revbench.models.rules.traces import traced
from revbench.models.simulation import Simulation


@dataclass(frozen=True, kw_only=True)
class OTTT(PartwiseRule):
    """OTTT (Xiao et al., NeurIPS 2022): OTTT_A with `updates="batch"`, OTTT_O with `updates="timestep"`.

    Attributes:
        strict: whether the paper's formula is followed where the authors' code departs from it; see the module.
    """

    strict: bool = False

    def check(self, model: SpikingNetwork) -> None:
        """See `Rule.check`."""
        super().check(model)
        leak_of(model)
        traced_layers(model, strict=self.strict)

    def parts(self, timesteps: int) -> Iterator[tuple[range, bool]]:
        """See `PartwiseRule.parts`."""
        return ((range(t, t + 1), True) for t in range(timesteps))

    def remembering(self, model: SpikingNetwork, simulation: Simulation) -> AbstractContextManager[object]:
        """Traces of the layers that have one."""
        layers = traced_layers(model, strict=self.strict)
        return traced(simulation, layers, leak_of(model), traced_biases=self.strict)


def traced_layers(model: SpikingNetwork, *, strict: bool) -> Sequence[nn.Module]:
    """The convolutions and linear layers that learn from a trace; the first and the read-out as the module says."""
    layers = model.traceable_layers()
    read_out_is_traced = model.head_reads_spikes and not strict
    return layers[0 if strict else 1 : None if read_out_is_traced else -1]


def leak_of(model: SpikingNetwork) -> float:
    """The share of the potential that stays, the same in all neurons.

    Raises:
        NotImplementedError: neurons differ in it.
    """
    leaks = model.leaks()
    if len(leaks) != 1:
        raise NotImplementedError(
            f"the traces of ottt need neurons that all have one leak, and these have {sorted(leaks)}; "
            "valid rules: bptt, sltt"
        )
    return leaks.pop()
