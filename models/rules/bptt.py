"""BPTT: backpropagation through the whole simulation, the reference that the other rules approximate."""

from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from revbench.models import annotations
from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules.base import Rule


@dataclass(frozen=True, kw_only=True)
class BPTT(Rule):
    """One forward pass over all timesteps, one backward pass, one optimizer step.

    The loss is by default the network's own (`SpikingNetwork.loss`), a function of the logits of all timesteps.
    """

    def _step(self, model: SpikingNetwork, batch: Batch, optimizer: Optimizer) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with annotations.phase("forward"), self.autocast(batch.inputs.device):
            loss = (self.criterion or model.loss)(model(batch.inputs), batch.targets)
        self._backward(loss)
        self._update(optimizer)
        return loss.detach()
