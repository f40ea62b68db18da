"""Networks in which neurons fire: a silent one restores everything and has the right gradients whatever is wrong."""

from torch import nn

from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.trevsnn import TRevSNN

GAIN = 2.0
BIAS_DEVIATION = 0.3


def enliven(network: nn.Module) -> None:
    """Draws weights anew where those of the beginning leave neurons silent.

    That is T-RevSNN, whose hidden neurons never fire with weights of deviation 0.02 and biases of 0: its weights get
    the deviation of one over the root of their fan-in, its gains 2, its biases the deviation 0.3. Networks with batch
    norms before their neurons fire as they are.
    """
    if not isinstance(network, TRevSNN):
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=BIAS_DEVIATION)
        if isinstance(module, StandardisedConv2d):
            nn.init.constant_(module.gain, GAIN)
