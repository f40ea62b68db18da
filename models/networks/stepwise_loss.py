r"""The loss of networks that are trained one timestep at a time: a mean over timesteps, so that each has its share.

$$L = \frac{1}{T} \sum_t \bigl[(1 - c)\,\mathrm{CE}(o[t], y) + c\,\mathrm{MSE}(o[t], z)\bigr]$$

with the logits $o[t]$ and a target $z$ that is one-hot, or 1 for every class (OTTT, NeurIPS 2022; SLTT, ICCV 2023; and
their code). The logits of one timestep alone, `[1, B, K]`, give the bracket of that timestep.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StepwiseLoss:
    """The module's equation.

    Attributes:
        mse_share: c.
        one_hot: whether z is one-hot; else it is 1 for every class, which draws all logits to 1.
    """

    mse_share: float = 0.0
    one_hot: bool = True

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, for logits `[T, B, K]` and class indices `[B]`."""
        loss = F.cross_entropy(logits.flatten(0, 1), targets.repeat(logits.shape[0]))
        if not self.mse_share:
            return loss
        wanted = torch.ones_like(logits[0])
        if self.one_hot:
            wanted = torch.zeros_like(wanted).scatter(1, targets[:, None], 1.0)
        return (1 - self.mse_share) * loss + self.mse_share * F.mse_loss(logits, wanted.expand_as(logits))
