"""The switch `published_buffers`: a network of RevSNN's family holds memory as the published code does.

By default the networks here are lean, the counterparts as well. RevSNN's printed ratios (AAAI 2024: 3.79 for
RevSResNet37, 3.00 for RevSFormer-4-384) are those of a code that is not. The switch brings back

* the neurons' buffers (`neurons.published`), and when they go: those of a reversible sequence after the forward pass
  of the whole sequence, in the backward pass after each function; all others after the training step, by the trainer's
  `reset_net`. Hence the peak of a reversible network grows with its depth;
* what lives without use while a function of a reversible sequence runs backwards (`DEAD_STREAMS`);
* max pooling that keeps its input and int64 indices;
* the map of N x N tokens that attention keeps, and images that are repeated in front of the patch splitting, whose
  first convolution so runs T times.

Values and gradients are those of the lean network; in the transformers up to rounding, where sums are taken in another
order. Left out: the copies that the published forward pass makes on the way (the stem's output of the residual networks
repeated T times, streams concatenated and divided again in each block, divided streams made contiguous). All are gone
at its end.
"""

from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from revbench.models.networks.layers import OverFrames, over_frames
from revbench.models.networks.max_pooling import MaxPooledNeuron
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.spiking_attention import SpikingSelfAttention
from revbench.models.networks.tokenizers import Encode, SpikingTokenizer
from revbench.models.neurons import Neuron
from revbench.models.neurons.published import PublishedNeuron
from revbench.models.reversible import ReversibleSequence

Network = TypeVar("Network", bound=SpikingNetwork)

DEAD_STREAMS = (3, 1)
"""Tensors of a stream's size that live without use in the backward pass of F (target 0) and of G (target 1).

Both keep the function's value until its gradients are found. The streams of a block are two halves of one tensor, and
so are their gradients: while that of F runs, y2 and the gradient of y1 are needed no more, but their other halves are.
"""


def with_published_buffers(network: Network) -> Network:
    """The same network, changed in place.

    The trainer's reset comes at the beginning of the network's next forward pass: after the optimizer's step as
    published, and before anything of the next step exists, so that no step sees the buffers of another.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Neuron):
                setattr(module, name, _published(child))
        if isinstance(module, SpikingSelfAttention):
            module.published_map_kept = True
        elif isinstance(module, SpikingTokenizer) and network.input_shape.kind == "images":
            module.register_forward_pre_hook(partial(_repeat_images, network.timesteps))
        elif isinstance(module, ReversibleSequence) and module.activations == "recomputed":
            module.register_forward_hook(release)
            for coupling in module.couplings:
                coupling.function.register_forward_pre_hook(partial(_before_backward, DEAD_STREAMS[coupling.target]))
    network.register_forward_pre_hook(release)
    return network


def release(module: nn.Module, *_: Any) -> None:
    """Resets the neurons inside `module`: the published `reset_net`. The other arguments are those of a hook."""
    for part in module.modules():
        if isinstance(part, PublishedNeuron):
            part.release()


def _published(neuron: Neuron) -> nn.Module:
    published = PublishedNeuron(neuron.dynamics)
    if isinstance(neuron, MaxPooledNeuron):
        return nn.Sequential(published, OverFrames(nn.MaxPool2d(3, neuron.pool.stride, padding=1)))
    return published


def _repeat_images(timesteps: int, _: nn.Module, arguments: tuple[Tensor, Encode]) -> tuple[Tensor, Encode]:
    images, _encode = arguments
    return images.repeat(timesteps, 1, 1, 1, 1), over_frames


def _before_backward(dead_streams: int, function: nn.Module, sources: tuple[Tensor, ...]) -> None:
    """Where a function is evaluated for its backward pass: what lives until that ends, and the reset then.

    The gradient of what the function reads is the last that its backward pass finds.
    """
    source = sources[0]
    if torch.is_grad_enabled() and source.requires_grad:
        dead = source.new_empty((dead_streams, *source.shape))
        source.register_hook(partial(_after_backward, function, dead))


def _after_backward(function: nn.Module, _dead: Tensor, _grad: Tensor) -> None:
    release(function)
