"""The Spike-driven Transformer (SDT; Yao et al., NeurIPS 2023, section 3 and its code).

Patch splitting, then blocks `x <- x + SDSA(x)`, `x <- x + MLP(x)` over the map of tokens `[T, B, D, H, W]`; of every
timestep the mean of the tokens, a layer of neurons, and a linear read-out. All neurons are LIF with time constant 2.
The residual stream is the membrane potential, real numbers; all weights but the first convolution's meet spikes.
What the published code owns or configures but never applies (drop path, dropout, talking heads) is left out, but for
the talking heads' parameters, which the published counts include.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from revbench.models.networks.spike_driven_attention import SpikeDrivenAttention
from revbench.models.networks.spiking import CIFAR, EVENTS, IMAGENET, InputShape, SpikingNetwork
from revbench.models.networks.spiking_attention import MLP, check_heads
from revbench.models.networks.spikingformer import num_layers
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.tokenizers import SpikeDrivenTokenizer, check_geometry
from revbench.models.neurons import LIF


class Block(nn.Module):
    """Attention and MLP, each added to the map that it reads; the arguments are those of the attention."""

    def __init__(self, width: int, num_heads: int, *, max_filters: bool, published_dead_parameters: bool) -> None:
        super().__init__()
        self.attention = SpikeDrivenAttention(
            width, num_heads, max_filters=max_filters, published_dead_parameters=published_dead_parameters
        )
        self.mlp = MLP(width, tau=2.0)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, D, H, W]` to the same."""
        x = x + self.attention(x)
        return x + self.mlp(x)  # type: ignore[no-any-return]


class SpikeDrivenTransformer(SpikingNetwork):
    """SDT of any size.

    Args:
        depth: blocks.
        width: D, a multiple of 8.
        num_heads: a divisor of D; changes nothing without max filters.
        pooling: where the patch splitting halves the resolution, see `tokenizers`.
        max_filters: the code's DVS mode, see `spike_driven_attention`.
        input_shape: what the network reads.
        timesteps: T.
        num_classes: K.
        published_dead_parameters: owns the heads^2 parameters of each block that the published count includes although
            nothing reads them; they never get a gradient.
        loss: by default the cross entropy of the logits' mean over time.

    Raises:
        ValueError: the width, the heads and the image size do not fit together.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        num_heads: int,
        pooling: Sequence[bool],
        max_filters: bool = False,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int,
        published_dead_parameters: bool = True,
        loss: StepwiseLoss | None = None,
    ) -> None:
        super().__init__()
        check_geometry(input_shape, width, pooling)
        check_heads(width, num_heads)
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.criterion = loss
        self.num_blocks = depth
        self.num_layers = num_layers(depth)
        self.tokenizer = SpikeDrivenTokenizer(input_shape.channels, width, pooling)
        self.blocks = nn.Sequential(
            *(
                Block(width, num_heads, max_filters=max_filters, published_dead_parameters=published_dead_parameters)
                for _ in range(depth)
            )
        )
        self.last_neuron = LIF(tau=2.0)
        self.head = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # published as truncated, but at 100 deviations
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        tokens_mean = self.blocks(self.tokenizer(x, self.stem_once)).mean((-2, -1))
        logits: Tensor = self.head(self.last_neuron(tokens_mean))
        return logits


def sdt(
    depth: int,
    *,
    timesteps: int,
    width: int = 512,
    num_classes: int = 10,
    num_heads: int = 8,
    image_size: int = 32,
    published_dead_parameters: bool = True,
) -> SpikeDrivenTransformer:
    """SDT for small images, 2-512 and 2-256 for CIFAR; the sides must be multiples of 4."""
    return SpikeDrivenTransformer(
        depth=depth,
        width=width,
        num_heads=num_heads,
        pooling=(False, False, True, True),
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
    )


def sdt_imagenet(
    depth: int,
    *,
    timesteps: int,
    width: int = 512,
    num_classes: int = 1000,
    num_heads: int = 8,
    image_size: int = 224,
    published_dead_parameters: bool = True,
) -> SpikeDrivenTransformer:
    """SDT for ImageNet; the sides of the images must be multiples of 16."""
    return SpikeDrivenTransformer(
        depth=depth,
        width=width,
        num_heads=num_heads,
        pooling=(True, True, True, True),
        input_shape=IMAGENET.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
    )


def sdt_events(
    depth: int,
    *,
    timesteps: int,
    width: int = 256,
    num_classes: int = 11,
    num_heads: int = 8,
    image_size: int = 128,
    published_dead_parameters: bool = True,
) -> SpikeDrivenTransformer:
    """SDT for event frames 2x128x128, published for DVS128 Gesture; the sides must be multiples of 8."""
    return SpikeDrivenTransformer(
        depth=depth,
        width=width,
        num_heads=num_heads,
        pooling=(False, True, True, True),
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
    )


def sdt_events64(
    depth: int,
    *,
    timesteps: int,
    width: int = 256,
    num_classes: int = 10,
    num_heads: int = 8,
    image_size: int = 64,
    published_dead_parameters: bool = True,
) -> SpikeDrivenTransformer:
    """SDT with max filters for event frames 2x64x64, published for CIFAR10-DVS; the sides must be multiples of 4.

    The loss is that of TET: of each timestep, with a thousandth of the squared distance of all logits from 1.
    """
    return SpikeDrivenTransformer(
        depth=depth,
        width=width,
        num_heads=num_heads,
        pooling=(False, False, True, True),
        max_filters=True,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        published_dead_parameters=published_dead_parameters,
        loss=StepwiseLoss(mse_share=0.001, one_hot=False),
    )
