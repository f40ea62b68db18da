"""The batch norm of each timestep against `nn.BatchNorm2d`, called once a timestep."""

import pytest
import torch
from torch import nn

from revbench.models.networks.stepwise_norm import StepwiseBatchNorm


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_statistics_and_results_are_those_of_one_call_a_timestep(momentum: float | None) -> None:
    """Without a momentum they are the mean over all timesteps seen, as of `nn.BatchNorm2d`."""
    torch.manual_seed(0)
    stepwise, oracle = StepwiseBatchNorm(3).double(), nn.BatchNorm2d(3, momentum=momentum).double()
    stepwise.momentum = momentum
    for _ in range(2):
        x = torch.randn(4, 5, 3, 2, 2, dtype=torch.float64) + torch.arange(4.0).view(4, 1, 1, 1, 1)
        torch.testing.assert_close(stepwise(x), torch.stack([oracle(frame) for frame in x]))
    assert int(stepwise.num_batches_tracked) == 8
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(stepwise.state_dict()[name], value)
    stepwise.eval()
    oracle.eval()
    torch.testing.assert_close(stepwise(x), torch.stack([oracle(frame) for frame in x]))
