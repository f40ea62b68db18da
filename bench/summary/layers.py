"""The layers of a network as a tree of plain values."""

from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What can be added up over layers.

    Attributes:
        parameters: elements, trainable and frozen; each parameter counts at the first layer that owns it.
        frozen: those of them that want no gradient.
        neurons: elements of a spiking layer's output at one timestep, for one image.
        macs: multiply-accumulates of convolutions and matrix products, for one image over all timesteps.
    """

    parameters: int = 0
    frozen: int = 0
    neurons: int = 0
    macs: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            parameters=self.parameters + other.parameters,
            frozen=self.frozen + other.frozen,
            neurons=self.neurons + other.neurons,
            macs=self.macs + other.macs,
        )

    def __bool__(self) -> bool:
        return bool(self.parameters or self.neurons or self.macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A module of the network, with the modules inside it.

    Attributes:
        name: as in `named_modules()`; empty for the network itself.
        kind: its class.
        is_container: whether its class is made to hold other modules in a row, and does nothing itself.
        is_recomputed: whether the backward pass evaluates it once more.
        calls: how often the forward pass called it.
        first_call: place of its first call among all calls; infinite for a layer that was never called.
        output_shapes: of the tensors that its last call returned.
        own: what it does itself, without the layers inside it.
        children: the layers inside it.
    """

    name: str
    kind: str
    is_container: bool
    is_recomputed: bool
    calls: int
    first_call: float
    output_shapes: tuple[Shape, ...]
    own: Counts
    children: tuple["Layer", ...]

    def __iter__(self) -> Iterator["Layer"]:
        """Itself and all layers below it, each before those inside it."""
        yield self
        for child in self.children:
            yield from child

    @property
    def total(self) -> Counts:
        """What it does, with the layers inside it."""
        return sum((layer.own for layer in self), Counts())

    @property
    def recomputed(self) -> Counts:
        """The part of `total` that the backward pass evaluates once more."""
        return sum((layer.own for layer in self if layer.is_recomputed), Counts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A network and its layers; iterating gives all layers, the network itself first.

    Attributes:
        kind: the network's class.
        num_layers: weighted layers, counted as in the model's name.
        timesteps: T.
        batch_size: images of the pass that was looked at; the shapes contain it, the counts do not.
        input_shape: of that pass.
        network: the root of the tree.
    """

    kind: str
    num_layers: int
    timesteps: int
    batch_size: int
    input_shape: Shape
    network: Layer

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.network)

    @property
    def total(self) -> Counts:
        """Over all layers."""
        return self.network.total

    @property
    def recomputed(self) -> Counts:
        """Over the layers that the backward pass evaluates once more."""
        return self.network.recomputed
