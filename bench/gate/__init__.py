"""The regression gate: baselines of bytes that are kept with the code, and what a check says when they grow."""
