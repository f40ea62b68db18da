r"""Event frames from still images, by moving the image as an eye does: the idea of N-MNIST (Orchard et al., 2015).

The image, enlarged to 3/4 of the frame, moves along a triangle in three straight saccades, back to where it began, over
`SUBSTEPS` small steps a timestep. Where a pixel's intensity rises or falls, events of that polarity follow: each pixel
adds up its changes, and every whole multiple of `CONTRAST` that the sum passes is an event and is taken off. A frame
counts the events of one timestep: channel 0 those that rise, channel 1 those that fall. Nothing is random.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SUBSTEPS = 6
CONTRAST = 0.25
AMPLITUDE = 0.125
"""Of the movement, as a share of the frame: the image just reaches its edges."""
SIZE = 0.75


def saccade_events(images: Tensor, *, timesteps: int, height: int, width: int) -> Tensor:
    """Counts of events `[T, N, 2, height, width]` for images `[N, 1, h, w]` of intensities from 0 to 1."""
    positions = _path(timesteps * SUBSTEPS)
    charge = images.new_zeros(len(images), height, width)
    before = _moved(images, positions[0], height, width)
    frames = images.new_zeros(timesteps, len(images), 2, height, width)
    for step, position in enumerate(positions[1:]):
        now = _moved(images, position, height, width)
        charge += now - before
        events = torch.trunc(charge / CONTRAST)
        charge -= events * CONTRAST
        frames[step // SUBSTEPS, :, 0] += events.clamp(min=0)
        frames[step // SUBSTEPS, :, 1] += (-events).clamp(min=0)
        before = now
    return frames


def _path(num_steps: int) -> list[tuple[float, float]]:
    """`num_steps` + 1 positions (x, y) on the triangle, in shares of the frame."""
    corners = [(0.0, -AMPLITUDE), (AMPLITUDE, AMPLITUDE), (-AMPLITUDE, AMPLITUDE), (0.0, -AMPLITUDE)]
    positions = []
    for step in range(num_steps + 1):
        along = 3 * step / num_steps
        leg = min(int(along), 2)
        (x, y), (to_x, to_y) = corners[leg], corners[leg + 1]
        share = along - leg
        positions.append((x + share * (to_x - x), y + share * (to_y - y)))
    return positions


def _moved(images: Tensor, position: tuple[float, float], height: int, width: int) -> Tensor:
    """The images in frames of that size `[N, height, width]`, their centres moved by the position."""
    x, y = position
    # The sampling grid of torch spans -1 to 1, so a share of the frame is two units.
    transform = images.new_tensor([[1 / SIZE, 0.0, -2 * x / SIZE], [0.0, 1 / SIZE, -2 * y / SIZE]])
    grid = F.affine_grid(transform.expand(len(images), 2, 3), [len(images), 1, height, width], align_corners=False)
    moved: Tensor = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved[:, 0]
