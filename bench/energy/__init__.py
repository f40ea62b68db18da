"""What a network computes, counted on its real values: synaptic operations, neuron updates, and the energy of both."""
