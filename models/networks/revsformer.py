"""RevSFormer: the reversible spiking transformer of RevSNN (Zhang & Zhang, AAAI 2024, section 3 and its code).

Patch splitting as in Spikingformer; the map of tokens `[T, B, D, H, W]` is both streams, each of full width D, of one
reversible sequence of all blocks, `Y1 = X1 + SSA(X2)`, `Y2 = X2 + MLP(Y1)`. The linear read-out sees the tokens' means
of both streams, 2 D numbers, of every timestep.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from revbench.models.networks.published import with_published_buffers
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape, SpikingNetwork
from revbench.models.networks.spiking_attention import MLP, SpikingSelfAttention, check_heads, heads_for
from revbench.models.networks.spikingformer import (
    EVENT_POOLING,
    EVENT_TAU,
    IMAGE_POOLING,
    IMAGE_TAU,
    num_layers,
    read_out,
)
from revbench.models.networks.tokenizers import SpikingTokenizer, check_geometry
from revbench.models.reversible import Activations, Coupling, ReversibleSequence


class RevSFormer(SpikingNetwork):
    """RevSFormer of any size.

    Args:
        depth: blocks.
        width: D, a multiple of 8.
        num_heads: a divisor of D.
        pooling: where the patch splitting halves the resolution, see `tokenizers`.
        tau: of all neurons.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        activations: `recomputed`, or `stored` for ordinary autograd over the same weights.

    Raises:
        ValueError: the width, the heads and the image size do not fit together.
    """

    head_reads_spikes = False

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        num_heads: int,
        pooling: Sequence[bool],
        tau: float,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int,
        activations: Activations = "recomputed",
    ) -> None:
        super().__init__()
        check_geometry(input_shape, width, pooling)
        check_heads(width, num_heads)
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.num_blocks = depth
        self.num_layers = num_layers(depth)
        self.tokenizer = SpikingTokenizer(input_shape.channels, width, pooling, tau=tau)
        couplings = []
        for _ in range(depth):
            couplings.append(Coupling(0, (1,), SpikingSelfAttention(width, num_heads, tau=tau)))
            couplings.append(Coupling(1, (0,), MLP(width, tau=tau)))
        self.blocks = ReversibleSequence(couplings, activations)
        self.head = read_out(2 * width, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        streams = self.blocks(*(self.tokenizer(x, self.stem_once),) * 2)
        logits: Tensor = self.head(torch.cat([y.mean((-2, -1)) for y in streams], dim=-1))
        return logits


def revsformer(
    depth: int,
    *,
    timesteps: int,
    width: int = 384,
    num_classes: int = 10,
    num_heads: int | None = None,
    image_size: int = 32,
    activations: Activations = "recomputed",
    published_buffers: bool = False,
) -> RevSFormer:
    """RevSFormer for images, 2-384 and 4-384 in the paper; heads and image sizes as in `spikingformer`.

    `published_buffers`: see `networks.published`.
    """
    network = RevSFormer(
        depth=depth,
        width=width,
        num_heads=heads_for(width, 32) if num_heads is None else num_heads,
        pooling=IMAGE_POOLING,
        tau=IMAGE_TAU,
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        activations=activations,
    )
    return with_published_buffers(network) if published_buffers else network


def revsformer_events(
    depth: int,
    *,
    timesteps: int,
    width: int = 256,
    num_classes: int = 10,
    num_heads: int | None = None,
    image_size: int = 128,
    activations: Activations = "recomputed",
    published_buffers: bool = False,
) -> RevSFormer:
    """RevSFormer for event frames, 2-256 in the paper; heads and image sizes as in `spikingformer_events`.

    `published_buffers`: see `networks.published`.
    """
    network = RevSFormer(
        depth=depth,
        width=width,
        num_heads=heads_for(width, 16) if num_heads is None else num_heads,
        pooling=EVENT_POOLING,
        tau=EVENT_TAU,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        activations=activations,
    )
    return with_published_buffers(network) if published_buffers else network
