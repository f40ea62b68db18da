"""Temporal gradients, kept in some neurons and cut in the others; values are the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from revbench.bench.similarity.metric import Kept
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron


def cut_neurons(network: SpikingNetwork, kept: Kept) -> list[Neuron]:
    """The layers of neurons that do not keep their temporal gradients.

    Raises:
        NotImplementedError: the network has no stage ends.
    """
    ends = set(network.stage_end_neurons())
    neurons = [module for module in network.modules() if isinstance(module, Neuron)]
    match kept:
        case "stage_ends":
            return [neuron for neuron in neurons if neuron not in ends]
        case "elsewhere":
            return [neuron for neuron in neurons if neuron in ends]
        case "nowhere":
            return neurons


@contextmanager
def without_temporal_gradients(neurons: list[Neuron]) -> Iterator[None]:
    """In forward passes inside this block, gradients do not go from a timestep of these neurons to the one before."""
    known = [neuron.dynamics for neuron in neurons]
    for neuron in neurons:
        neuron.dynamics = replace(neuron.dynamics, temporal_gradient=False)
    try:
        yield
    finally:
        for neuron, dynamics in zip(neurons, known, strict=True):
            neuron.dynamics = dynamics
