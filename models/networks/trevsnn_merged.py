r"""T-RevSNN for inference: what is linear between two spikes becomes one convolution on binary input.

Standardisation, gains, scales, batch norms and carries are constants at inference. A depthwise and a 1x1 convolution
with nothing in between are one dense convolution; so are a 1x1 convolution and the depthwise one after it, but for the
bias of the first, which the zero padding of the second cuts off at the borders: it becomes a map. Auxiliary heads go,
and the two linear maps of the last head are one (T-RevSNN specification, sections 2.2 and 2.3).

All convolutions but the encoding ones then add weights and multiply nothing. The dense kernels hold more numbers than
their factors; the paper counts the factors, see `num_deployed_parameters`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.trevsnn import NUM_LEVELS, TRevSNN
from revbench.models.networks.trevsnn_levels import Block, Group, Level, Projection, ScaledDepthwise, SpikingPath
from revbench.models.neurons.memoryless import MemorylessNeuron


def num_deployed_parameters(network: TRevSNN) -> int:
    """Parameters as the paper counts them: without auxiliary heads, and with the last head as one layer.

    15,216,912 for the published tiny network, 29,787,312 for the small one.
    """
    training_only = [*network.heads[:-1], *list(network.heads[-1].children())[1:]]
    left_out: int = sum(p.numel() for module in training_only for p in module.parameters())
    return sum(p.numel() for p in network.parameters()) - left_out


class MergedTRevSNN(SpikingNetwork):
    """The network of the module's text, made of a trained one; logits `[1, B, K]`, or `[T, B, K]` for event frames.

    Args:
        network: the trained network; it is left as it is. Batch norms are taken with their running statistics.
    """

    def __init__(self, network: TRevSNN) -> None:
        super().__init__()
        self.input_shape = network.input_shape
        self.timesteps = network.timesteps
        self.num_classes = network.num_classes
        self.num_layers = network.num_layers
        self.num_blocks = network.num_blocks
        with torch.no_grad():
            self.stem = nn.Sequential(*(_constant(layer) for layer in network.stem.children()))
            self.levels = nn.ModuleList()
            self.sources: list[tuple[int, ...]] = []
            for coupling in network.sequence.couplings:
                if isinstance(coupling.function, Level):
                    carry = None if coupling.carry is None else coupling.carry.effective()
                    size = network.state_size(coupling.target)
                    self.levels.append(MergedLevel(coupling.function, carry, size))
                    self.sources.append(coupling.sources)
            self.head = _merged_head(list(network.heads[-1].children()))
        self.last_neuron = MemorylessNeuron()
        self.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        """See the class."""
        images = self.input_shape.kind == "images"
        encoded = [self.stem(x)] * self.timesteps if images else list(x.unbind(0))
        states: list[Tensor] = []
        logits = []
        for t, seen in enumerate(encoded):
            for place in range(NUM_LEVELS):
                index = NUM_LEVELS * t + place
                below, *above = self.sources[index]
                given = [seen if place == 0 else states[below], *(states[s] for s in above)]
                before = states[place] if t else None
                states[place : place + 1] = [self.levels[index](before, *given)]
            if not images or t + 1 == self.timesteps:
                logits.append(self.head(self.last_neuron(states[-1]).mean((-2, -1))))
        return torch.stack(logits)


class MergedLevel(nn.Module):
    """A level and its carry: every convolution but an encoding one reads spikes.

    Args:
        level: of the trained network.
        carry: the factors `[C, 1, 1]`; None in the first timestep.
        size: height and width of the state.
    """

    def __init__(self, level: Level, carry: Tensor | None, size: tuple[int, int]) -> None:
        super().__init__()
        self.bottom = _merged_input(level.bottom)
        self.tops = nn.ModuleList(_merged_input(top) for top in level.tops)
        self.blocks = nn.ModuleList(MergedBlock(block, size) for block in level.blocks if isinstance(block, Block))
        self.register_buffer("carry", carry)

    def forward(self, before: Tensor | None, below: Tensor, *above: Tensor) -> Tensor:
        """The state after the level: `[B, C, H, W]`."""
        z: Tensor = self.bottom(below)
        for top, state in zip(self.tops, above, strict=True):
            z = z + top(state)
        for block in self.blocks:
            z = block(z)
        return z if before is None else self.get_buffer("carry") * before + z


class MergedBlock(nn.Module):
    """A residual block as two dense convolutions on spikes, `[B, C, H, W]` to the same."""

    def __init__(self, block: Block, size: tuple[int, int]) -> None:
        super().__init__()
        self.neuron = MemorylessNeuron()
        self.expansion = _expansion(block.depthwise, block.pointwise)
        self.hidden_neuron = MemorylessNeuron()
        self.projection = MergedProjection(block.projection, size)

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        merged: Tensor = z + self.projection(self.hidden_neuron(self.expansion(self.neuron(z))))
        return merged


class MergedProjection(nn.Module):
    """A 1x1 convolution and the depthwise one after it as one: spikes `[B, 4C, H, W]` to `[B, C, H, W]`."""

    def __init__(self, projection: Projection, size: tuple[int, int]) -> None:
        super().__init__()
        first, second = projection.pointwise, projection.depthwise
        weight, bias = second.weight, _bias(second)
        if isinstance(second, ScaledDepthwise):
            weight, bias = weight * second.scale.view(-1, 1, 1, 1), bias * second.scale.flatten()
        padding = int(second.padding[0])
        self.convolution = _convolution(weight * first.standardised_weight(), None, padding=padding)
        # What the second makes of the first one's bias, and its own: a constant but for the borders.
        inner = _bias(first).view(1, -1, 1, 1).expand(-1, -1, *size)
        self.bias_map = nn.Parameter(F.conv2d(inner, weight, bias, padding=padding, groups=len(bias)))

    def forward(self, spikes: Tensor) -> Tensor:
        """See the class."""
        projected: Tensor = self.convolution(spikes) + self.bias_map
        return projected


def _merged_input(module: nn.Module) -> nn.Module:
    """What makes a level's input: an encoding as it is, a path of spikes with its batch norm merged."""
    if isinstance(module, SpikingPath):
        return MergedPath(module)
    if isinstance(module, Group):
        return MergedGroup(module)
    return _constant(module) if isinstance(module, StandardisedConv2d) else module


class MergedPath(nn.Module):
    """Spike, convolution with bias, nearest upsampling."""

    def __init__(self, path: SpikingPath) -> None:
        super().__init__()
        norm, convolution = path.norm, path.convolution
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.neuron = MemorylessNeuron()
        self.convolution = _convolution(
            convolution.weight * scale.view(-1, 1, 1, 1),
            norm.bias - norm.running_mean * scale,
            stride=convolution.stride[0],
            padding=int(convolution.padding[0]),
        )
        self.upsampling = path.upsampling

    def forward(self, state: Tensor) -> Tensor:
        """See `SpikingPath`."""
        path: Tensor = self.convolution(self.neuron(state))
        return path if self.upsampling == 1 else F.interpolate(path, scale_factor=self.upsampling)


class MergedGroup(nn.Module):
    """A group of the encoded channels and its projection."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.start, self.stop = group.start, group.stop
        self.projection = _constant(group.projection)

    def forward(self, x: Tensor) -> Tensor:
        """See `Group`."""
        projected: Tensor = self.projection(x[:, self.start : self.stop])
        return projected


def _constant(layer: nn.Module) -> nn.Conv2d:
    """A standardised convolution with its weight as it is used."""
    assert isinstance(layer, StandardisedConv2d)
    return _convolution(
        layer.standardised_weight(), _bias(layer), stride=layer.stride[0], padding=int(layer.padding[0])
    )


def _expansion(depthwise: nn.Conv2d, pointwise: StandardisedConv2d) -> nn.Conv2d:
    """A depthwise convolution and the 1x1 convolution after it as one."""
    first, second = depthwise.weight, pointwise.standardised_weight()
    bias = _bias(pointwise) + second.flatten(1) @ _bias(depthwise)
    return _convolution(second * first.transpose(0, 1), bias, padding=int(depthwise.padding[0]))


def _merged_head(layers: Sequence[nn.Module]) -> nn.Linear:
    """Two 1x1 convolutions on one pixel as one linear map."""
    first, second = (_constant(layer) for layer in layers)
    head = nn.Linear(first.in_channels, second.out_channels, device=first.weight.device, dtype=first.weight.dtype)
    head.weight.copy_(second.weight.flatten(1) @ first.weight.flatten(1))
    head.bias.copy_(second.weight.flatten(1) @ _bias(first) + _bias(second))
    return head


def _convolution(weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    out_channels, in_channels, kernel_size, _ = weight.shape
    with torch.device("meta"):
        layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().clone())
    layer.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return layer


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
