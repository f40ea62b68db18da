"""Stage ends: which neurons they are, by name, and that they are where the resolution changes."""

import pytest
import torch
from torch import Tensor

from revbench.models import registry
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron

RESNET = [
    *(f"blocks.{block}.{neuron}" for block in (2, 4, 6) for neuron in ("residual.first_neuron", "shortcut.neuron")),
    "last_neuron",
]
ENDS = {
    "msresnet": RESNET,
    "msresnet_event": [*RESNET[:4], "last_neuron"],
    "msresnet34_imagenet": [*(f"blocks.{block}.residual.first_neuron" for block in (3, 7, 13)), "last_neuron"],
    "preactresnet": [*(f"blocks.{block}.first_neuron" for block in (2, 4, 6)), "last_neuron"],
    "spikingresnet": [f"blocks.{block}.second_activation" for block in (1, 3, 5)],
    "spikingresnet19": [f"blocks.{block}.second_activation" for block in (2, 5, 7)],
    "vggbn": [f"layers.{layer}" for layer in (4, 11, 18, 25, 32)],
    "vggsws": [f"layers.{layer}" for layer in (6, 11, 16, 21)],
}


def on_meta(name: str) -> SpikingNetwork:
    """A network without numbers, of two blocks or convolutions a stage where that can be chosen."""
    options = {} if name.endswith(("19", "imagenet")) else {"depth": 2, "width": 8}
    with torch.device("meta"):
        return registry.build(name, timesteps=2, **options)


@pytest.mark.parametrize("name", ENDS)
def test_stage_ends_by_name(name: str) -> None:
    """Golden names, in order; each is a neuron, and others are left."""
    network = on_meta(name)
    names = {module: name for name, module in network.named_modules()}
    ends = network.stage_end_neurons()
    assert [names[neuron] for neuron in ends] == ENDS[name]
    assert all(isinstance(neuron, Neuron) for neuron in ends)
    assert len(ends) < sum(isinstance(module, Neuron) for module in network.modules())


@pytest.mark.parametrize("name", ["msresnet", "msresnet_event", "preactresnet", "spikingresnet", "vggbn", "vggsws"])
def test_stage_ends_are_the_last_to_read_their_resolution(name: str) -> None:
    """The last neurons at each resolution are stage ends, and so are all that read the same tensor, and no others."""
    network = on_meta(name)
    read: dict[Neuron, Tensor] = {}
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_pre_hook(lambda module, inputs: read.update({module: inputs[0]}))
    network(torch.empty(network.input_shape.of_batch(1, 2), device="meta"))
    maps = {neuron: x for neuron, x in read.items() if x.ndim == 5}
    last = {x.shape[-1]: x for x in maps.values()}
    assert len(last) > 2
    expected = {neuron for neuron, x in maps.items() if x is last[x.shape[-1]]}
    assert set(network.stage_end_neurons()) == expected


@pytest.mark.parametrize("name", ["resnet19", "revsresnet21", "trevsnn_cifar", "spikingformer2_384"])
def test_networks_without_stage_ends_say_so(name: str) -> None:
    """One sentence that names the class, and those that have some."""
    with torch.device("meta"):
        network = registry.build(name, timesteps=2)
    with pytest.raises(NotImplementedError, match=f"{type(network).__name__} has no stage ends .* spiking VGG have"):
        network.stage_end_neurons()
