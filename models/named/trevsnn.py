"""T-RevSNN (ICML 2024)."""

from functools import partial
from typing import Any

from revbench.models.entry import deepened, sized
from revbench.models.networks.trevsnn import SMALL, TINY, TINY_EVENTS, TRevSNN, trevsnn, trevsnn_events, trevsnn_images
from revbench.models.networks.trevsnn_split import trevsnn_split


def _small_events(num_blocks: int, *, width: int = 32, **options: Any) -> TRevSNN:
    """Levels 1, 2, 4 and 8 times as wide, as those of the published network for events.

    Their first level has the resolution of the frames, which therefore are small here.
    """
    widths = [width, 2 * width, 4 * width, 8 * width]
    return trevsnn_events(widths, num_blocks=num_blocks, image_size=16, **options)


ENTRIES = [
    deepened("trevsnn", "T-RevSNN, any depth and width; images 3x32x32", trevsnn, reversible=True, states=True),
    deepened(
        "trevsnn_unscaled",
        "T-RevSNN without the learnt scale of residuals, any depth from 2 on and width; images 3x32x32",
        partial(trevsnn, scaled_residuals=False),
        reversible=True,
        states=True,
    ),
    deepened(
        "trevsnn_split",
        "T-RevSNN of the parameters of T = 4, divided among T timesteps; any depth and width; images 3x32x32",
        trevsnn_split,
        reversible=True,
        states=True,
    ),
    deepened(
        "trevsnn_event",
        "T-RevSNN, any depth and width; event frames 2x16x16",
        _small_events,
        reversible=True,
        states=True,
    ),
    sized("trevsnn_cifar", "T-RevSNN tiny; images 3x32x32", trevsnn, 2, reversible=True, states=True),
    sized(
        "trevsnn_tiny",
        "T-RevSNN, ResNet-18 (384); images 3x224x224",
        trevsnn_images,
        TINY,
        reversible=True,
        states=True,
        counterpart="msresnet34_imagenet",
    ),
    sized(
        "trevsnn_small",
        "T-RevSNN, ResNet-18 (512); images 3x224x224",
        trevsnn_images,
        SMALL,
        reversible=True,
        states=True,
        counterpart="sdt8_512",
    ),
    sized(
        "trevsnn_tiny_event",
        "T-RevSNN tiny; event frames 2x128x128",
        trevsnn_events,
        TINY_EVENTS,
        reversible=True,
        states=True,
    ),
]
