"""What every training rule is: one training step of (model, batch, optimizer)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from revbench.models import annotations
from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules.checkpointing import checkpointed, checkpointed_groups

Criterion = Callable[[Tensor, Tensor], Tensor]
"""A loss of logits `[T, B, K]` and class indices `[B]`."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A way to obtain gradients.

    A step announces its phases (`annotations.phase`), clears the gradients it finds, and leaves those it computed.

    Attributes:
        autocast_dtype: the precision of the forward pass under autocast; None for the tensors' own.
        criterion: the loss; None for the network's own.
        scaler: scales the loss so that gradients of half precision do not vanish; None for no scaling.
        checkpointing: whether PyTorch's activation checkpointing recomputes each block in the backward pass.
    """

    autocast_dtype: torch.dtype | None = None
    criterion: Criterion | None = None
    scaler: GradScaler | None = None
    checkpointing: bool = False

    def step(self, model: SpikingNetwork, batch: Batch, optimizer: Optimizer) -> Tensor:
        """Runs one training step; returns the loss, detached.

        Args:
            model: maps `batch.inputs` to logits `[T, B, K]`, and has the loss of these.
            batch: inputs and targets.
            optimizer: over the model's parameters.

        Raises:
            NotImplementedError: see `check`.
        """
        self.check(model)
        with checkpointed(model) if self.checkpointing else nullcontext():
            return self._step(model, batch, optimizer)

    def check(self, model: SpikingNetwork) -> None:
        """Does nothing if the rule applies to the model.

        Raises:
            NotImplementedError: it does not; the message says why, and what does.
        """
        if self.checkpointing:
            checkpointed_groups(model)

    @abstractmethod
    def _step(self, model: SpikingNetwork, batch: Batch, optimizer: Optimizer) -> Tensor:
        """What `step` does, for a model that the rule applies to."""

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of the forward pass."""
        enabled = self.autocast_dtype is not None
        return torch.autocast(device.type, dtype=self.autocast_dtype if enabled else torch.bfloat16, enabled=enabled)

    def _backward(self, loss: Tensor) -> None:
        with annotations.phase("backward"):
            (self.scaler.scale(loss) if self.scaler else loss).backward()

    def _update(self, optimizer: Optimizer) -> None:
        with annotations.phase("optimizer"):
            if self.scaler:
                self.scaler.step(optimizer)
                self.scaler.update()
            else:
                optimizer.step()
