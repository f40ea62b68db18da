"""Spiking neurons: surrogate derivatives, dynamics, and the fused multi-step form."""

from revbench.models.neurons.dynamics import Dynamics
from revbench.models.neurons.modules import IF, LIF, Neuron
from revbench.models.neurons.surrogates import ArcTan, Rectangle, Sigmoid, Surrogate, Triangle

__all__ = ["IF", "LIF", "ArcTan", "Dynamics", "Neuron", "Rectangle", "Sigmoid", "Surrogate", "Triangle"]
