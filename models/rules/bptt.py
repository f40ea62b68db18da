"""BPTT: backpropagation through the whole simulation, the reference that the other rules approximate."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from revbench.models import annotations
from revbench.models.data import Batch
from revbench.models.rules.base import Rule


@dataclass(frozen=True, kw_only=True)
class BPTT(Rule):
    """One forward pass over all timesteps, one backward pass, one optimizer step.

    The loss is the cross entropy of the logits' mean over timesteps (RevSNN's networks).
    """

    def step(self, model: nn.Module, batch: Batch, optimizer: Optimizer) -> Tensor:
        """See `Rule.step`."""
        optimizer.zero_grad(set_to_none=True)
        with annotations.phase("forward"), self.autocast(batch.inputs.device):
            loss = F.cross_entropy(model(batch.inputs).mean(0), batch.targets)
        with annotations.phase("backward"):
            loss.backward()
        with annotations.phase("optimizer"):
            optimizer.step()
        return loss.detach()
