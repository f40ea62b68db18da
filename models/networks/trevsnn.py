r"""T-RevSNN: reversible in time (Hu et al., ICML 2024, arXiv 2405.16466, and its code).

T timesteps are T columns of 4 levels with their own weights. Only the levels' ends have a memory, the states $c_l$:

$$c_l^t = L_l^t(c_{l-1}^t,\; c_{l+1}^{t-1}) + \alpha_l^t \odot c_l^{t-1}, \qquad c_{-1} = x,\; c^0 = 0$$

with a learnable carry $\alpha$ a channel; all other neurons see their own timestep alone. The previous state can be
solved for, from the deepest level upwards, so a column's graph is rebuilt in the backward pass, level by level.

Where paper and code differ, the code is the default, since it made the published numbers: each level reads the next
deeper state (`fusion="all"`: all deeper ones, the paper's equation), every column reads the whole encoded image
(`encoding="groups"`: a T-th of its channels). The published code stores the states of every timestep whatever its
text says; here that is a choice (`states`), see `reversible.keeping`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.spiking import CIFAR, EVENTS, IMAGENET, InputShape, SpikingNetwork
from revbench.models.networks.standardised import residual_convolution
from revbench.models.networks.stepwise_loss import StepwiseLoss
from revbench.models.networks.trevsnn_levels import Block, Group, Level, Pool, Projection, SpikingPath
from revbench.models.reversible import Activations, Carry, Coupling, ReversibleSequence, States

Fusion = Literal["next", "all"]
Encoding = Literal["whole", "groups"]

NUM_LEVELS = 4
STRIDES = (1, 2, 4, 4)
"""Of each level, relative to the first."""
STEM_STRIDE = 4
MAX_HEADS = 4
LABEL_SMOOTHING = 0.1
EVENT_LOSS = StepwiseLoss(mse_share=1e-3, one_hot=False)
"""TET: of each timestep, with a thousandth of the squared distance of all logits from 1."""


class TRevSNN(SpikingNetwork):
    """T-RevSNN of any width, number of blocks and timesteps.

    Static images are encoded once and read out at up to four timesteps, T among them; the earlier read-outs are
    auxiliary heads. Event frames are encoded each in its own timestep and read out at each by one head.

    Args:
        widths: channels of the four levels.
        num_blocks: blocks of each level; the published networks have 2.
        kernel_size: of depthwise convolutions; 5 in the published recipe for images, 3 for events.
        input_shape: what the network reads; heights and widths that the levels divide.
        timesteps: T, any.
        num_classes: K.
        fusion: which deeper states a level reads: the `next` or `all`.
        encoding: what a timestep reads of the encoded image: the `whole`, or a T-th of the channels (`groups`).
        auxiliary_heads: whether images are read out before T.
        scaled_residuals: whether the residuals of all blocks but the last of a level have a learnt scale (the paper's
            ReZero, which begins at 1).
        activations: `recomputed`, or `stored` for ordinary autograd over the same weights.
        states: how states survive to the backward pass: `coded`, `stored` (the published code) or `inverted`.
        published_dead_parameters: whether the carries of the first timestep exist, which have nothing to carry; they
            are part of the published parameter counts.
        published_retained_graphs: holds the graphs of a timestep's levels together in the backward pass, as the
            published code does by retaining them; with `states="stored"` it is what the paper's memory was.

    Raises:
        ValueError: a size that the network cannot have.
    """

    undividable = (
        "T-RevSNN has weights of its own for every timestep and is read out after few of them, so that a rule which "
        "looks at one timestep alone leaves most without a gradient; its bptt is flat in T already"
    )

    def __init__(
        self,
        *,
        widths: Sequence[int],
        num_blocks: int,
        kernel_size: int,
        input_shape: InputShape,
        timesteps: int,
        num_classes: int,
        fusion: Fusion = "next",
        encoding: Encoding = "whole",
        auxiliary_heads: bool = True,
        scaled_residuals: bool = True,
        activations: Activations = "recomputed",
        states: States = "coded",
        published_dead_parameters: bool = True,
        published_retained_graphs: bool = False,
    ) -> None:
        _check(widths, num_blocks, input_shape, timesteps, fusion, encoding)
        super().__init__()
        self.input_shape = input_shape
        self.timesteps = timesteps
        self.num_classes = num_classes
        self.widths = tuple(widths)
        self.num_blocks = NUM_LEVELS * num_blocks
        self.num_layers = 2 + 2 * self.num_blocks
        images = input_shape.kind == "images"
        self.stem: nn.Module = _image_stem(input_shape.channels, widths[0]) if images else nn.Identity()
        self.read_outs = _read_outs(timesteps, auxiliary_heads) if images else tuple(range(1, timesteps + 1))
        shared = [Projection(width, kernel_size, scaled=False) for width in widths]

        def level(t: int, place: int) -> Level:
            width = widths[place]
            own = [Projection(width, kernel_size, scaled=scaled_residuals) for _ in range(num_blocks - 1)]
            blocks = [Block(width, kernel_size, projection) for projection in (*own, shared[place])]
            tops = [
                SpikingPath(widths[above], width, upsampling=STRIDES[above] // STRIDES[place])
                for above in _above(place, fusion, t)
            ]
            return Level(self._bottom(place, t, encoding), tops, blocks)

        self.sequence = ReversibleSequence(
            self._couplings(level, fusion),
            activations,
            states=states,
            outputs=range(NUM_LEVELS, NUM_LEVELS + len(self.read_outs)),
            published_graphs_held=NUM_LEVELS + 1 if published_retained_graphs else 1,
        )
        self.heads = nn.ModuleList()
        if images:
            self.heads.extend(residual_convolution(widths[-1], num_classes, 1) for _ in self.read_outs[:-1])
        self.heads.append(_spiking_head(widths[-1], num_classes))
        self.dead_carries = nn.ModuleList(Carry(width) for width in widths if published_dead_parameters)
        _initialise(self)

    def _bottom(self, place: int, t: int, encoding: Encoding) -> nn.Module:
        channels, widths = self.input_shape.channels, self.widths
        if place == 0 and self.input_shape.kind == "events":
            return residual_convolution(channels, widths[0], 3)
        if place == 0:
            return nn.Identity() if encoding == "whole" else Group(widths[0], t, self.timesteps)
        if STRIDES[place] == STRIDES[place - 1]:
            return SpikingPath(widths[place - 1], widths[place])
        return SpikingPath(widths[place - 1], widths[place], kernel_size=3, stride=2)

    def _couplings(self, level: Callable[[int, int], Level], fusion: Fusion) -> Iterator[Coupling]:
        """Streams: the 4 states, the pooled features of each read-out, then what is read: image or frames."""
        features = NUM_LEVELS
        inputs = NUM_LEVELS + len(self.read_outs)
        for t in range(self.timesteps):
            read = inputs if self.input_shape.kind == "images" else inputs + t
            for place, width in enumerate(self.widths):
                sources = (read if place == 0 else place - 1, *_above(place, fusion, t))
                yield Coupling(place, sources, level(t, place), Carry(width) if t else None, creates=t == 0, timestep=t)
            if t + 1 in self.read_outs:
                spiking = self.input_shape.kind == "events" or t + 1 == self.timesteps
                yield Coupling(features, (NUM_LEVELS - 1,), Pool(spiking=spiking), creates=True, timestep=t)
                features += 1

    def state_size(self, place: int) -> tuple[int, int]:
        """Height and width of the state of a level."""
        stride = STRIDES[place] * (STEM_STRIDE if self.input_shape.kind == "images" else 1)
        return self.input_shape.height // stride, self.input_shape.width // stride

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every read-out, in time: `[R, B, K]`; R is T for event frames and at most 4 for images."""
        if self.input_shape.kind == "events":
            features = self.sequence(*x.unbind(0))
            logits: Tensor = self.heads[0](torch.cat(features))
            return logits.view(self.timesteps, -1, self.num_classes)
        pooled = self.sequence(self.stem(x))
        return torch.stack([head(f).flatten(1) for head, f in zip(self.heads, pooled, strict=True)])

    def scores(self, logits: Tensor) -> Tensor:
        """The last read-out of images, of which the others are helpers in training; the mean over event frames."""
        return logits.mean(0) if self.input_shape.kind == "events" else logits[-1]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        r"""The published losses.

        Images, R read-outs: $\sum_i \frac{i}{R} CE_i + CE_R$ with label smoothing 0.1 (CE of the last alone for R = 1).
        Events: $(1 - \lambda)\,mean_t CE_t + \lambda\,mean((o - 1)^2)$ with $\lambda$ = 0.001, over all timesteps, as
        the authors say it is meant (the published code looks at the last timestep only).
        """
        if self.input_shape.kind == "events":
            return EVENT_LOSS(logits, targets)
        entropies = [F.cross_entropy(each, targets, label_smoothing=LABEL_SMOOTHING) for each in logits]
        weighted = [(i + 1) / len(entropies) * entropy for i, entropy in enumerate(entropies)]
        return entropies[0] if len(entropies) == 1 else torch.stack(weighted).sum() + entropies[-1]


def _check(
    widths: Sequence[int], num_blocks: int, shape: InputShape, timesteps: int, fusion: Fusion, encoding: Encoding
) -> None:
    for word, value, valid in (("fusion", fusion, Fusion), ("encoding", encoding, Encoding)):
        if value not in get_args(valid):
            raise ValueError(f"the {word} of T-RevSNN is {' or '.join(get_args(valid))}, not {value!r}")
    if len(widths) != NUM_LEVELS or min(widths) < 1:
        raise ValueError(f"T-RevSNN has {NUM_LEVELS} levels, each of a width of at least 1, not {list(widths)}")
    if num_blocks < 1 or timesteps < 1:
        raise ValueError("T-RevSNN has at least one block in each level and at least one timestep")
    divisor = max(STRIDES) * (STEM_STRIDE if shape.kind == "images" else 1)
    if shape.height % divisor or shape.width % divisor or not shape.height * shape.width:
        raise ValueError(
            f"T-RevSNN cannot take {shape.kind} of {shape.height}x{shape.width}: "
            f"height and width must be multiples of {divisor}, such as {_near(shape.height, divisor)}"
        )
    if encoding == "groups" and shape.kind == "events":
        raise ValueError("event frames are encoded each in its own timestep, so the encoding is 'whole'")
    if encoding == "groups" and widths[0] % timesteps:
        valid_steps = [t for t in range(1, widths[0] + 1) if widths[0] % t == 0]
        raise ValueError(
            f"{widths[0]} encoded channels cannot be split in {timesteps} equal groups; T must be one of {valid_steps}"
        )


def _near(size: int, divisor: int) -> int:
    return max(divisor, round(size / divisor) * divisor)


def _above(place: int, fusion: Fusion, t: int) -> tuple[int, ...]:
    """The deeper states, of the timestep before, that a level reads; none in the first timestep."""
    if t == 0:
        return ()
    return tuple(range(place + 1, NUM_LEVELS if fusion == "all" else min(place + 2, NUM_LEVELS)))


def _read_outs(timesteps: int, auxiliary_heads: bool) -> tuple[int, ...]:
    """The timesteps, from 1, after which images are read out: T/4, T/2, 3T/4, T, each at most once."""
    num_heads = MAX_HEADS if auxiliary_heads else 1
    return tuple(sorted({-(-i * timesteps // num_heads) for i in range(1, num_heads + 1)}))


def _image_stem(in_channels: int, width: int) -> nn.Sequential:
    # The published activation between the two is the identity, and keeps a tensor for it.
    return nn.Sequential(
        residual_convolution(in_channels, width, 7, stride=2), residual_convolution(width, width, 3, stride=2)
    )


def _spiking_head(width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(residual_convolution(width, num_classes, 1), residual_convolution(num_classes, num_classes, 1))


def _initialise(network: nn.Module) -> None:
    """Normal of deviation 0.02 for the weights of convolutions, 0 for biases.

    The published code cuts the normal off at 2, which is 100 deviations away.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


TINY, SMALL, TINY_EVENTS = (64, 128, 256, 384), (96, 192, 384, 512), (32, 64, 128, 256)
"""Widths of the published networks: "ResNet-18, 384" and "512", and that for events."""


def trevsnn(
    num_blocks: int, *, timesteps: int, width: int = 64, num_classes: int = 10, image_size: int = 32, **choices: Any
) -> TRevSNN:
    """T-RevSNN of any depth and width, small enough for a CPU; the levels are 1, 2, 4 and 6 times as wide as `width`.

    `choices` are those of `TRevSNN`: fusion, encoding, auxiliary_heads, scaled_residuals, activations, states and the
    published flaws.
    """
    return TRevSNN(
        widths=[width, 2 * width, 4 * width, 6 * width],
        num_blocks=num_blocks,
        kernel_size=3,
        input_shape=CIFAR.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        **choices,
    )


def trevsnn_images(
    widths: Sequence[int],
    *,
    timesteps: int,
    num_blocks: int = 2,
    num_classes: int = 1000,
    image_size: int = IMAGENET.height,
    **choices: Any,
) -> TRevSNN:
    """The ImageNet networks: widths `TINY` (15.2 M parameters as the paper counts) or `SMALL` (29.8 M)."""
    return TRevSNN(
        widths=widths,
        num_blocks=num_blocks,
        kernel_size=5,
        input_shape=IMAGENET.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        **choices,
    )


def trevsnn_events(
    widths: Sequence[int],
    *,
    timesteps: int,
    num_blocks: int = 2,
    num_classes: int = 10,
    image_size: int = EVENTS.height,
    **choices: Any,
) -> TRevSNN:
    """The network for event frames (`tiny_dvs`, T = 8), which does not lower their resolution in its stem."""
    return TRevSNN(
        widths=widths,
        num_blocks=num_blocks,
        kernel_size=3,
        input_shape=EVENTS.square(image_size),
        timesteps=timesteps,
        num_classes=num_classes,
        **choices,
    )
