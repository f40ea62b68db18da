"""What every training rule is: one training step of (model, batch, optimizer)."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A way to obtain gradients.

    A step announces its phases (`annotations.phase`), clears the gradients it finds, and leaves those it computed.

    Attributes:
        autocast_dtype: the precision of the forward pass under autocast; None for the tensors' own.
    """

    autocast_dtype: torch.dtype | None = None

    @abstractmethod
    def step(self, model: SpikingNetwork, batch: Batch, optimizer: Optimizer) -> Tensor:
        """Runs one training step; returns the loss, detached.

        Args:
            model: maps `batch.inputs` to logits `[T, B, K]`, and has the loss of these.
            batch: inputs and targets.
            optimizer: over the model's parameters.
        """

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of the forward pass."""
        enabled = self.autocast_dtype is not None
        return torch.autocast(device.type, dtype=self.autocast_dtype if enabled else torch.bfloat16, enabled=enabled)
