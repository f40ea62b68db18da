"""One forward pass of a network, watched: which module ran, what it returned, and how much it multiplied."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from revbench.bench.summary.layers import Counts, Layer, Shape, Summary
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron
from revbench.models.reversible import ReversibleSequence
from revbench.models.reversible.surroundings import RandomState, replayed

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, ReversibleSequence)


def summarise(model: SpikingNetwork, batch_size: int = 1) -> Summary:
    """The layers of a network, from one forward pass in training form; it leaves the network as it was.

    Works on real and on fake parameters; with fake ones nothing is computed, whatever the size.

    Args:
        model: the network.
        batch_size: images of the pass.

    Raises:
        ValueError: no images.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, not {batch_size}")
    shape = model.input_shape.of_batch(batch_size, model.timesteps)
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    watch = _Watch(model, model.timesteps, batch_size)
    with (
        getattr(example, "fake_mode", None) or nullcontext(),
        torch.inference_mode(False),  # in inference mode products are hidden in larger operators
        torch.no_grad(),
        replayed(RandomState.capture(example.device)),
        left_as_found(model),
        watch.hooked(),
        watch,
    ):
        model.train()
        model(torch.zeros(shape, dtype=example.dtype, device=example.device))
    return Summary(
        kind=type(model).__name__,
        num_layers=model.num_layers,
        timesteps=model.timesteps,
        batch_size=batch_size,
        input_shape=shape,
        network=_Tree(watch, model, batch_size).layer("", model),
    )


def is_spiking(module: nn.Module) -> bool:
    """Whether the module's output is spikes of neurons: a `Neuron`, or a module that says so by `is_spiking = True`."""
    return isinstance(module, Neuron) or getattr(module, "is_spiking", False) is True


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Gives every module its attributes back, among them the training flag; buffers are copies inside this block."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    for module, attributes in before:
        buffers = attributes["_buffers"].items()
        vars(module)["_buffers"] = {name: None if b is None else b.clone() for name, b in buffers}
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


@dataclass(slots=True)
class _Seen:
    """What is known of a module after the pass."""

    first_call: float = inf
    calls: int = 0
    output_shapes: tuple[Shape, ...] = ()
    neurons: int = 0
    flops: int = 0


class _Watch(TorchDispatchMode):
    """Attributes every operation to the innermost module that is running."""

    def __init__(self, model: nn.Module, timesteps: int, batch_size: int) -> None:
        super().__init__()
        self.seen = {module: _Seen() for module in model.modules()}
        self.running = [self.seen[model]]
        self.timesteps = timesteps
        self.batch_size = batch_size
        self.num_calls = 0

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Follows the calls of the modules inside this block."""
        with ExitStack() as hooks:
            for module, seen in self.seen.items():
                hooks.callback(module.register_forward_pre_hook(partial(self._begin, seen)).remove)
                hooks.callback(module.register_forward_hook(partial(self._end, seen)).remove)
            yield

    def _begin(self, seen: _Seen, module: nn.Module, inputs: Any) -> None:
        seen.first_call = min(seen.first_call, self.num_calls)
        seen.calls += 1
        self.num_calls += 1
        self.running.append(seen)

    def _end(self, seen: _Seen, module: nn.Module, inputs: Any, output: Any) -> None:
        self.running.pop()
        seen.output_shapes = tuple(tuple(leaf.shape) for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        if is_spiking(module):
            seen.neurons += sum(map(self._neurons, seen.output_shapes))

    def _neurons(self, shape: Shape) -> int:
        """Neurons that spikes `[T, B, ...]` or `[T * B, ...]` belong to; `[B, ...]` has no time: one timestep."""
        T, B = self.timesteps, self.batch_size
        has_time = (len(shape) > 2 and shape[:2] == (T, B)) or shape[:1] == (T * B,)
        return torch.Size(shape).numel() // (T * B if has_time else B)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula: Any = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.running[-1].flops += formula(*args, **kwargs, out_val=result)
        return result


class _Tree:
    """Makes layers of modules; a module or parameter with several places is counted at the first."""

    def __init__(self, watch: _Watch, model: nn.Module, batch_size: int) -> None:
        self.seen = watch.seen
        self.batch_size = batch_size
        self.placed: set[nn.Module | nn.Parameter] = set()
        self.recomputed = {
            module
            for sequence in model.modules()
            if isinstance(sequence, ReversibleSequence) and sequence.activations == "recomputed"
            for module in sequence.modules()
            if module is not sequence
        }

    def layer(self, name: str, module: nn.Module) -> Layer:
        """The module as a layer, with all that is inside it."""
        self.placed.add(module)
        seen = self.seen[module]
        parameters = [p for p in module._parameters.values() if p is not None and p not in self.placed]
        self.placed.update(parameters)
        own = Counts(
            parameters=sum(p.numel() for p in set(parameters)),
            frozen=sum(p.numel() for p in set(parameters) if not p.requires_grad),
            neurons=seen.neurons,
            macs=seen.flops // 2 // self.batch_size,
        )
        children = [
            self.layer(f"{name}.{child_name}".lstrip("."), child)
            for child_name, child in module.named_children()
            if child not in self.placed
        ]
        return Layer(
            name=name,
            kind=type(module).__name__,
            is_container=isinstance(module, CONTAINERS),
            is_recomputed=module in self.recomputed,
            calls=seen.calls,
            first_call=seen.first_call,
            output_shapes=seen.output_shapes,
            own=own,
            children=tuple(children),
        )
