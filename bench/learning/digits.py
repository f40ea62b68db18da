"""Handwritten digits, which come with scikit-learn: 1797 images of 8x8 pixels in 10 classes, real data, no download.

The split is fixed: every fifth image of the file is a test image (360), the others (1437) are trained on. Images are
enlarged bilinearly; those of a network for event frames are turned into events (`saccades`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from revbench.bench.learning.saccades import saccade_events
from revbench.models.data import Batch
from revbench.models.networks.spiking import InputShape

TEST_EVERY = 5
LARGEST = 16.0


@dataclass(frozen=True, slots=True)
class Digits:
    """Inputs, images `[N, C, H, W]` or event frames `[T, N, 2, H, W]`, and class indices `[N]`."""

    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    def train_batch(self, chosen: Tensor, *, like: Tensor) -> Batch:
        """The training digits of those indices, on the device and in the dtype of `like`."""
        return Batch(samples(self.train_inputs, chosen).to(like), self.train_targets[chosen].to(like.device))


def samples(inputs: Tensor, chosen: Tensor) -> Tensor:
    """Those of the inputs, images `[N, C, H, W]` or event frames `[T, N, 2, H, W]`, of the indices `chosen`."""
    return inputs[chosen] if inputs.ndim == 4 else inputs[:, chosen]


def digits_for(shape: InputShape, timesteps: int) -> Digits:
    """The digits as a network with that input reads them; float32.

    Images are standardised, with mean and deviation of the training images, and the same in every channel.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, seldom needed

    raw, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(raw).float().view(-1, 1, 8, 8) / LARGEST
    labels = torch.from_numpy(targets).long()
    is_test = torch.arange(len(labels)) % TEST_EVERY == 0
    if shape.kind == "events":
        frames = saccade_events(images, timesteps=timesteps, height=shape.height, width=shape.width)
        return Digits(frames[:, ~is_test], labels[~is_test], frames[:, is_test], labels[is_test])
    images = F.interpolate(images, (shape.height, shape.width), mode="bilinear", align_corners=False)
    images = (images - images[~is_test].mean()) / images[~is_test].std()
    images = images.expand(-1, shape.channels, -1, -1)
    return Digits(images[~is_test], labels[~is_test], images[is_test], labels[is_test])
