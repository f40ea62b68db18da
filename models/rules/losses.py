"""The losses of the papers, by name."""

import torch.nn.functional as F
from torch import Tensor

from revbench.models.networks.stepwise_loss import StepwiseLoss


def mean_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy of the logits' mean over timesteps (RevSNN)."""
    return F.cross_entropy(logits.mean(0), targets)


LOSSES = {
    "mean_logits": mean_logits,
    "stepwise": StepwiseLoss(),
    "stepwise_mse": StepwiseLoss(mse_share=0.05),
    "stepwise_ones": StepwiseLoss(mse_share=0.05, one_hot=False),
    "tet": StepwiseLoss(mse_share=0.001, one_hot=False),
}
"""`stepwise`: the mean of each timestep's cross entropy. 5 % of `stepwise_mse` is the squared distance from one-hot
targets (OTTT), of `stepwise_ones` that from 1 for all classes (SLTT), as is 0.1 % of `tet` (T-RevSNN on events)."""
