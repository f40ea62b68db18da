"""A spiking network small enough to be counted by hand."""

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import over_frames
from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.neurons import IF, LIF


class Tiny(SpikingNetwork):
    """One pixel and two channels: a stem, neurons, a spiking layer with its norm, neurons, and the read-out."""

    def __init__(self, neuron: nn.Module | None = None) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=1, width=1)
        self.timesteps, self.num_classes, self.num_layers, self.num_blocks = 4, 2, 3, 0
        self.stem = nn.Conv2d(1, 2, 1, bias=False)
        self.neuron = neuron or IF(v_reset=None)
        self.mixer = nn.Conv2d(2, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.last_neuron = LIF()
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.stem.weight.copy_(torch.tensor([1.0, 0.5]).view(2, 1, 1, 1))

    def logits(self, x: Tensor) -> Tensor:
        """`[T, B, K]`."""
        spikes = self.neuron(self.stem_once(self.stem, x))
        mixed = over_frames(self.norm, over_frames(self.mixer, spikes)) + 0.0 * spikes.sum(2, keepdim=True)
        logits: Tensor = self.head(self.last_neuron(mixed).mean((-2, -1)))
        return logits
