"""Memory: the tracker of live bytes, and the counters of CUDA beside it."""
