"""Spikingformer: the spiking transformer that RevSFormer is compared with (RevSNN, AAAI 2024, section 3 and its code).

Patch splitting, then blocks `x <- x + SSA(x)`, `x <- x + MLP(x)` over the map of tokens `[T, B, D, H, W]`, and a linear
read-out of the tokens' mean, of every timestep. Nothing is spiking but what the convolutions and the attention read.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from revbench.models.networks.published import with_published_buffers
from revbench.models.networks.spiking import CIFAR, EVENTS, InputShape, SpikingNetwork, pooled_logits
from revbench.models.networks.spiking_attention import MLP, SpikingSelfAttention, check_heads, heads_for
from revbench.models.networks.tokenizers import SpikingTokenizer, check_geometry

IMAGE_POOLING = (False, False, True, True)
EVENT_POOLING = (True, True, True, True)
IMAGE_TAU, EVENT_TAU = 2.0, 1.5


class Block(nn.Module):
    """Attention and MLP, each added to the map that it reads.

    Args:
        width: D.
        num_heads: a divisor of D.
        tau: of the neurons.
        published_dead_parameters: owns the two layer norms that the published blocks have and never use.
    """

    def __init__(self, width: int, num_heads: int, *, tau: float, published_dead_parameters: bool) -> None:
        super().__init__()
        self.attention = SpikingSelfAttention(width, num_heads, tau=tau)
        self.mlp = MLP(width, tau=tau)
        self.unused_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * published_dead_parameters))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, D, H, W]` to the same."""
        x = x + self.attention(x)
        return x + self.mlp(x)  # type: ignore[no-any-return]


class Spikingformer(SpikingNetwork):
    """Spikingformer of any size.

    Args:
        depth: blocks.
        width: D, a multiple of 8.
        num_heads: a divisor of D.
        pooling: where the patch splitting halves the resolution, see `tokenizers`.
        tau: of all neurons.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        published_dead_parameters: owns the 4 D parameters of each block that the published count includes although
            nothing reads them; they never get a gradient.

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
        published_dead_parameters: bool = True,
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
        self.blocks = nn.Sequential(
            *(
                Block(width, num_heads, tau=tau, published_dead_parameters=published_dead_parameters)
                for _ in range(depth)
            )
        )
        self.head = read_out(width, num_classes)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        return pooled_logits(self.head, self.blocks(self.tokenizer(x, self.stem_once)))


def num_layers(depth: int) -> int:
    """Weighted layers one behind the other: five in the patch splitting, four in a block (Q, K, V as one), the head."""
    return 6 + 4 * depth


def read_out(in_features: int, num_classes: int) -> nn.Linear:
    """The head, initialised as published: normal of deviation 0.02 (truncated at 100 deviations), bias 0."""
    head = nn.Linear(in_features, num_classes)
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def spikingformer(
    depth: int,
    *,
    timesteps: int,
    width: int = 384,
    num_classes: int = 10,
    num_heads: int | None = None,
    image_size: int = 32,
    published_dead_parameters: bool = True,
    published_buffers: bool = False,
) -> Spikingformer:
    """Spikingformer for images, 2-384 and 4-384 in the paper.

    Published: 12 heads for CIFAR-10 and 8 for CIFAR-100; by default heads have 32 channels, or more where 32 do not
    divide the width. The sides of the images must be multiples of 4.

    `published_buffers`: see `networks.published`.
    """
    network = Spikingformer(
        depth=depth,
        width=width,
        num_heads=heads_for(width, 32) if num_heads is None else num_heads,
        pooling=IMAGE_POOLING,
        tau=IMAGE_TAU,
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
    )
    return with_published_buffers(network) if published_buffers else network


def spikingformer_events(
    depth: int,
    *,
    timesteps: int,
    width: int = 256,
    num_classes: int = 10,
    num_heads: int | None = None,
    image_size: int = 128,
    published_dead_parameters: bool = True,
    published_buffers: bool = False,
) -> Spikingformer:
    """Spikingformer for event frames, 2-256 in the paper.

    Published: 16 heads; by default heads have 16 channels, or more where 16 do not divide the width. The sides of the
    frames must be multiples of 16.

    `published_buffers`: see `networks.published`.
    """
    network = Spikingformer(
        depth=depth,
        width=width,
        num_heads=heads_for(width, 16) if num_heads is None else num_heads,
        pooling=EVENT_POOLING,
        tau=EVENT_TAU,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
    )
    return with_published_buffers(network) if published_buffers else network
