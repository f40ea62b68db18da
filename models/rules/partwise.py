r"""Rules that train on parts of a simulation, some timesteps at a time: truncated BPTT, SLTT and SLTT-K.

The neurons' potential goes on from part to part as a constant for autograd, so each part's graph is freed before the
next is built, and the memory does not grow with T. With the loss $L = \frac{1}{T}\sum_t L[t]$ and the spatial error

$$\delta_l[t] = \sigma'_l[t] \odot (W_{l+1}^T \delta_{l+1}[t]), \qquad \delta_{out}[t] = \partial L[t] / \partial o[t]$$

SLTT (Meng et al., ICCV 2023) is $\nabla W_l = \sum_t \delta_l[t]\, s_{l-1}[t]^T$: BPTT with the potential of the
timestep before as a constant, and so truncated BPTT of parts of one timestep. SLTT-K takes the sum over K of the T
timesteps, drawn anew for each batch.
"""

import random
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from revbench.models import annotations
from revbench.models.data import Batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.rules.base import Rule
from revbench.models.rules.checkpointing import checkpointed_groups
from revbench.models.rules.losses import LOSSES
from revbench.models.rules.standardised_once import standardised_once
from revbench.models.simulation import Simulation, check_dividable

Updates = Literal["batch", "timestep"]


@dataclass(frozen=True, kw_only=True)
class PartwiseRule(Rule):
    """A rule that looks at one part of the simulation after the other.

    The loss is a mean over timesteps: the criterion, or the network's own if it is one, or the cross entropy.
    Scaled-standardised weights are standardised once between two optimizer steps.

    Attributes:
        updates: whether the optimizer steps once a `batch`, on the sum of all gradients, or in each part that learns.
    """

    updates: Updates = "batch"

    @abstractmethod
    def parts(self, timesteps: int) -> Iterator[tuple[range, bool]]:
        """The parts in order, and whether each learns."""

    def remembering(self, model: SpikingNetwork, simulation: Simulation) -> AbstractContextManager[object]:
        """What the rule attaches to the model for one simulation."""
        return nullcontext()

    def loss_of(self, model: SpikingNetwork) -> StepwiseLoss:
        """The loss, of which each timestep has its share.

        Raises:
            NotImplementedError: the criterion is not a mean over timesteps.
        """
        criterion = self.criterion or model.criterion or StepwiseLoss()
        if not isinstance(criterion, StepwiseLoss):
            raise NotImplementedError(
                "this loss needs the logits of all timesteps together, and the rule looks at a part of them at a time; "
                f"valid losses: {', '.join(name for name, loss in LOSSES.items() if isinstance(loss, StepwiseLoss))}"
            )
        return criterion

    def check(self, model: SpikingNetwork) -> None:
        """See `Rule.check`."""
        super().check(model)
        check_dividable(model)
        self.loss_of(model)

    def _step(self, model: SpikingNetwork, batch: Batch, optimizer: Optimizer) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        recomputed = checkpointed_groups(model) if self.checkpointing else ()
        simulation = Simulation(model, batch.inputs, recomputed=recomputed)
        loss = torch.zeros((), device=batch.inputs.device, dtype=batch.inputs.dtype)
        once = standardised_once(model) if self.updates == "batch" else nullcontext()
        with once, simulation, self.remembering(model, simulation):
            for part, learns in self.parts(model.timesteps):
                if self.updates == "timestep" and learns:
                    optimizer.zero_grad(set_to_none=True)
                with annotations.timesteps(part):
                    loss += self._run_part(model, simulation, part, batch.targets, learns=learns)
                if self.updates == "timestep" and learns:
                    self._update(optimizer)
        if self.updates == "batch":
            self._update(optimizer)
        return loss

    def _run_part(
        self, model: SpikingNetwork, simulation: Simulation, part: range, targets: Tensor, *, learns: bool
    ) -> Tensor:
        """The part's share of the loss, detached."""
        share = len(part) / simulation.timesteps
        with (
            annotations.phase("forward"),
            self.autocast(simulation.inputs.device),
            nullcontext() if learns else torch.no_grad(),
        ):
            loss: Tensor = share * self.loss_of(model)(simulation.logits(part), targets)
        if learns:
            self._backward(loss)
        return loss.detach()


@dataclass(frozen=True, kw_only=True)
class TruncatedBPTT(PartwiseRule):
    """Truncated BPTT: backpropagation through `length` timesteps, whose gradients end at the part before.

    Attributes:
        length: timesteps of a part; T is a multiple of it.
    """

    length: int

    def check(self, model: SpikingNetwork) -> None:
        """See `Rule.check`."""
        super().check(model)
        if model.timesteps % self.length:
            valid = ", ".join(str(k) for k in range(1, model.timesteps + 1) if model.timesteps % k == 0)
            raise NotImplementedError(
                f"parts of {self.length} timesteps do not divide T={model.timesteps}; valid lengths: {valid}"
            )

    def parts(self, timesteps: int) -> Iterator[tuple[range, bool]]:
        """See `PartwiseRule.parts`."""
        return ((range(t, t + self.length), True) for t in range(0, timesteps, self.length))


@dataclass(frozen=True, kw_only=True)
class SLTT(PartwiseRule):
    """SLTT: each timestep learns by itself (Meng et al., ICCV 2023); with `num_learning` = K, SLTT-K.

    As in its code the loss of a timestep keeps the factor 1/T where only K learn, and the others run in training mode,
    so that running statistics move in all T. The K timesteps are drawn from Python's generator, one draw a batch.

    Attributes:
        num_learning: K, how many timesteps learn; None for all.
    """

    num_learning: int | None = None

    def check(self, model: SpikingNetwork) -> None:
        """See `Rule.check`."""
        super().check(model)
        if self.num_learning is not None and not 1 <= self.num_learning <= model.timesteps:
            raise NotImplementedError(
                f"{self.num_learning} of T={model.timesteps} timesteps cannot learn; "
                f"valid K of SLTT-K: 1 to {model.timesteps}"
            )

    def parts(self, timesteps: int) -> Iterator[tuple[range, bool]]:
        """See `PartwiseRule.parts`."""
        learning = set(random.sample(range(timesteps), self.num_learning or timesteps))
        return ((range(t, t + 1), t in learning) for t in range(timesteps))
