"""The spiking ResNet-19 of many CIFAR tables, and the same network with ReLU."""

from revbench.models.entry import ModelEntry, sized, staged
from revbench.models.networks.resnet19 import RESNET19, ANNResNet, SpikingResNet

_IMAGES = "images 3x32x32"

ENTRIES: list[ModelEntry] = [
    staged(
        "spikingresnet",
        f"spiking ResNet of three stages, any depth and width; {_IMAGES}",
        SpikingResNet,
        3,
        counterpart="annresnet",
    ),
    staged("annresnet", f"ResNet of three stages with ReLU, one pass whatever T; {_IMAGES}", ANNResNet, 3),
    sized(
        "spikingresnet19", f"spiking ResNet of 19 layers; {_IMAGES}", SpikingResNet, RESNET19, counterpart="resnet19"
    ),
    sized("resnet19", f"ResNet of 19 layers with ReLU, one pass whatever T; {_IMAGES}", ANNResNet, RESNET19),
]
