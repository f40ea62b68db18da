"""RevSResNet and its counterpart MS-ResNet (RevSNN, AAAI 2024)."""

from functools import partial

from revbench.models.entry import ModelEntry, sized, staged
from revbench.models.networks.msresnet import msresnet, msresnet_events, msresnet_imagenet
from revbench.models.networks.revsresnet import revsresnet, revsresnet_events

_IMAGES, _EVENTS = "images 3x32x32", "event frames 2x128x128"
_SMALL_EVENTS, _SMALL = "event frames 2x48x48", 48
"""Of the families: frames small enough that a CPU learns digits in minutes."""


def _families() -> list[ModelEntry]:
    return [
        staged("msresnet", f"MS-ResNet, any depth and width; {_IMAGES}", msresnet, 4),
        staged(
            "revsresnet",
            f"RevSResNet, any depth and width; {_IMAGES}",
            revsresnet,
            4,
            reversible=True,
            counterpart="msresnet",
        ),
        staged(
            "msresnet_event",
            f"MS-ResNet, any depth and width; {_SMALL_EVENTS}",
            partial(msresnet_events, image_size=_SMALL),
            3,
        ),
        staged(
            "revsresnet_event",
            f"RevSResNet, any depth and width; {_SMALL_EVENTS}",
            partial(revsresnet_events, image_size=_SMALL),
            3,
            reversible=True,
            counterpart="msresnet_event",
        ),
    ]


def _pair(layers: int, blocks: list[int], twin: int, twin_blocks: list[int]) -> list[ModelEntry]:
    return [
        sized(f"msresnet{layers}", f"MS-ResNet of {layers} layers; {_IMAGES}", msresnet, blocks),
        sized(
            f"revsresnet{twin}",
            f"RevSResNet of {twin} layers; {_IMAGES}",
            revsresnet,
            twin_blocks,
            reversible=True,
            counterpart=f"msresnet{layers}",
        ),
    ]


ENTRIES = [
    *_families(),
    *_pair(18, [2, 2, 2, 2], 21, [1, 1, 1, 1]),
    *_pair(34, [3, 4, 6, 3], 37, [1, 2, 3, 2]),
    *_pair(104, [3, 8, 32, 8], 109, [2, 4, 16, 4]),
    sized("msresnet34_imagenet", "MS-ResNet of 34 layers; images 3x224x224", msresnet_imagenet, [3, 4, 6, 3]),
    sized("msresnet20_event", f"MS-ResNet of 20 layers; {_EVENTS}", msresnet_events, [3, 3, 3]),
    sized(
        "revsresnet24_event",
        f"RevSResNet of 24 layers; {_EVENTS}",
        revsresnet_events,
        [1, 2, 2],
        reversible=True,
        counterpart="msresnet20_event",
    ),
]
