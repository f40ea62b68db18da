"""The convolutional networks of the online rules OTTT (NeurIPS 2022) and SLTT (ICCV 2023)."""

from functools import partial

from revbench.models.entry import ModelEntry, sized, staged
from revbench.models.networks.nf_resnet import nf_resnet
from revbench.models.networks.preact_resnet import preact_resnet
from revbench.models.networks.spiking_vgg import VGG11, vgg_bn, vgg_bn_events, vgg_sws, vgg_sws_events

_IMAGES, _IMAGENET, _EVENTS = "images 3x32x32", "images 3x224x224", "event frames 2x48x48"

_SMALL_EVENTS, _SMALL = "event frames 2x32x32", 32
"""Of the families: frames small enough that a CPU learns digits in minutes."""

# At 32x32 the last map is one pixel, and its shortcuts, one pixel wide, read the corner of the image alone.
_small_nf_resnet = partial(nf_resnet, num_classes=10, image_size=64)
_gesture_vgg = partial(vgg_bn_events, num_classes=11, image_size=128, one_hot=False)

ENTRIES: list[ModelEntry] = [
    staged("vggsws", f"spiking VGG with standardised weights, any depth and width; {_IMAGES}", vgg_sws, 5),
    staged("vggbn", f"spiking VGG with batch norm, any depth and width; {_IMAGES}", vgg_bn, 5),
    staged("preactresnet", f"spiking PreAct-ResNet, any depth and width; {_IMAGES}", preact_resnet, 4),
    staged("nfresnet", "spiking NF-ResNet, any depth and width; images 3x64x64", _small_nf_resnet, 4),
    staged(
        "vggsws_event",
        f"spiking VGG with standardised weights, any depth and width; {_SMALL_EVENTS}",
        partial(vgg_sws_events, image_size=_SMALL),
        5,
    ),
    staged(
        "vggbn_event",
        f"spiking VGG with batch norm, any depth and width; {_SMALL_EVENTS}",
        partial(vgg_bn_events, image_size=_SMALL),
        5,
    ),
    sized("vgg11sws", f"VGG-11 with standardised weights (OTTT); {_IMAGES}", vgg_sws, VGG11),
    sized("vgg11sws_event", f"VGG-11 with standardised weights (OTTT); {_EVENTS}", vgg_sws_events, VGG11),
    sized("vgg11bn_event48", f"VGG-11 with batch norm (SLTT); {_EVENTS}", vgg_bn_events, VGG11),
    sized("vgg11bn_event", "VGG-11 with batch norm (SLTT); event frames 2x128x128", _gesture_vgg, VGG11),
    sized("preactresnet18", f"spiking PreAct-ResNet of 18 layers (SLTT); {_IMAGES}", preact_resnet, [2, 2, 2, 2]),
    sized("nfresnet18", f"spiking NF-ResNet of 18 layers (OTTT, SLTT); {_IMAGENET}", nf_resnet, [2, 2, 2, 2]),
    sized("nfresnet34", f"spiking NF-ResNet of 34 layers (OTTT, SLTT); {_IMAGENET}", nf_resnet, [3, 4, 6, 3]),
]
