"""revbench: what training a spiking neural network costs in memory, time and energy, and how that grows."""

__version__ = "0.1.0"
