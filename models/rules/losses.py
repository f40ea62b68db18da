"""The losses of the papers, by name."""

from revbench.models.networks.spiking import mean_logits
from revbench.models.networks.stepwise_loss import StepwiseLoss

LOSSES = {
    "mean_logits": mean_logits,
    "stepwise": StepwiseLoss(),
    "stepwise_mse": StepwiseLoss(mse_share=0.05),
    "stepwise_ones": StepwiseLoss(mse_share=0.05, one_hot=False),
    "tet": StepwiseLoss(mse_share=0.001, one_hot=False),
}
"""`stepwise`: the mean of each timestep's cross entropy. 5 % of `stepwise_mse` is the squared distance from one-hot
targets (OTTT), of `stepwise_ones` that from 1 for all classes (SLTT), as is 0.1 % of `tet` (T-RevSNN on events)."""
