"""Benchmarks of parts of revbench itself: run one with `python -m revbench.bench.benchmarks.neuron`."""
