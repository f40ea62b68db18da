"""The digits and the events made of them."""

from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits

from revbench.bench.learning.digits import digits_for
from revbench.bench.learning.saccades import CONTRAST, SUBSTEPS, _moved, _path, saccade_events
from revbench.models.networks.spiking import CIFAR, InputShape

EVENTS = InputShape(kind="events", channels=2, height=24, width=32)


def test_the_split_is_fixed_and_disjoint() -> None:
    """Every fifth digit of the file is a test digit; all classes are in both parts."""
    digits = digits_for(CIFAR, timesteps=4)
    _, targets = load_digits(return_X_y=True)
    assert digits.test_targets.tolist() == targets[::5].tolist()
    assert len(digits.train_targets) + len(digits.test_targets) == len(targets) == 1797
    assert min(digits.train_targets.bincount()) >= 130
    assert min(digits.test_targets.bincount()) >= 25


def test_images_are_standardised_and_enlarged() -> None:
    """Mean 0 and deviation 1 over the training images; each image averages to its 8x8 original."""
    digits = digits_for(CIFAR, timesteps=4)
    assert digits.train_inputs.shape == (1437, 3, 32, 32)
    assert digits.test_inputs.shape == (360, 3, 32, 32)
    assert float(digits.train_inputs.mean()) == pytest.approx(0, abs=1e-4)
    assert float(digits.train_inputs.std()) == pytest.approx(1, abs=1e-4)
    assert torch.equal(digits.train_inputs[:, 0], digits.train_inputs[:, 2])
    raw = torch.from_numpy(load_digits().data).view(-1, 8, 8)[0].float()
    small = digits.test_inputs[0, 0].view(8, 4, 8, 4).mean((1, 3))
    assert float(torch.corrcoef(torch.stack([small.flatten(), raw.flatten()]))[0, 1]) > 0.97


def test_events_have_the_form_of_the_network() -> None:
    """Whole numbers of both polarities in every timestep, and the same each time."""
    digits = digits_for(EVENTS, timesteps=5)
    frames = digits.train_inputs
    assert frames.shape == (5, 1437, 2, 24, 32)
    assert torch.equal(frames, frames.round())
    assert float(frames.min()) == 0
    assert (frames.mean((1, 3, 4)) > 0.02).all()
    assert torch.equal(digits_for(EVENTS, timesteps=5).test_inputs, digits.test_inputs)


def test_events_are_those_of_a_pixel_by_pixel_count() -> None:
    """A loop over pixels and substeps gives the same counts."""
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    frames = saccade_events(images, timesteps=2, height=10, width=12)
    expected = torch.zeros_like(frames)
    seen = [_frame(images, step, 2 * SUBSTEPS) for step in range(2 * SUBSTEPS + 1)]
    for n in range(2):
        for y in range(10):
            for x in range(12):
                charge = 0.0
                for step in range(2 * SUBSTEPS):
                    charge += float(seen[step + 1][n, y, x]) - float(seen[step][n, y, x])
                    while charge >= CONTRAST:
                        expected[step // SUBSTEPS, n, 0, y, x] += 1
                        charge -= CONTRAST
                    while charge <= -CONTRAST:
                        expected[step // SUBSTEPS, n, 1, y, x] += 1
                        charge += CONTRAST
    assert torch.equal(frames, expected)
    assert float(frames.sum()) > 100


def _frame(images: torch.Tensor, step: int, num_steps: int) -> torch.Tensor:
    return _moved(images, _path(num_steps)[step], 10, 12)


def test_the_path_is_a_closed_triangle() -> None:
    """It ends where it began, visits its corners, and moves at one speed within each saccade."""
    path = _path(12)
    assert path[0] == pytest.approx(path[-1])
    assert path[4] == pytest.approx((0.125, 0.125))
    assert path[8] == pytest.approx((-0.125, 0.125))
    lengths = [((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5 for a, b in pairwise(path)]
    assert lengths[:4] == pytest.approx([lengths[0]] * 4)


def test_an_image_that_stands_on_nothing_makes_no_events() -> None:
    """A frame without contrast has no events; a brighter digit has more."""
    assert saccade_events(torch.zeros(1, 1, 8, 8), timesteps=2, height=16, width=16).sum() == 0
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2:6, 2:6] = 1
    faint, bright = (saccade_events(c * image, timesteps=2, height=16, width=16).sum() for c in (0.4, 1.0))
    assert 0 < faint < bright
