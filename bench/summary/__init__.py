"""What a network consists of: shapes, parameters, neurons and multiply-accumulates of its layers, from one pass."""

from revbench.bench.summary.layers import Counts, Layer, Summary
from revbench.bench.summary.observe import summarise
from revbench.bench.summary.table import print_summary, summary

__all__ = ["Counts", "Layer", "Summary", "print_summary", "summarise", "summary"]
