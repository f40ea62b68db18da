"""Spiking networks that learn digits in a second, one of them with an operator that no rule counts; also a plugin."""

from functools import partial

from torch import Tensor, nn

from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.neurons import LIF
from revbench.models.registry import ModelEntry, register


class Little(SpikingNetwork):
    """A hidden layer of 32 neurons over 8x8 pixels.

    Args:
        timesteps: T.
        is_unknown: whether spikes are summed up from class to class by an operator that no rule knows.
    """

    def __init__(self, *, timesteps: int, is_unknown: bool = False) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=8, width=8)
        self.timesteps, self.num_classes, self.num_layers, self.num_blocks = timesteps, 10, 2, 1
        self.is_unknown = is_unknown
        self.stem = nn.Linear(64, 32)
        self.neuron = LIF()
        self.head = nn.Linear(32, 10)

    def logits(self, x: Tensor) -> Tensor:
        """`[T, B, 10]`."""
        spikes = self.neuron(self.stem(x.flatten(1)).expand(self.timesteps, -1, -1))
        logits: Tensor = self.head(spikes.cumsum(-1) if self.is_unknown else spikes)
        return logits


def register_all() -> None:
    """Makes them models of the registry."""
    register(ModelEntry(name="little", summary="a little network", build=Little))
    register(ModelEntry(name="little_unknown", summary="the same, uncounted", build=partial(Little, is_unknown=True)))
