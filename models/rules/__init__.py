"""Training rules: how gradients are obtained."""

from revbench.models.rules.base import Rule
from revbench.models.rules.bptt import BPTT

__all__ = ["BPTT", "RULES", "Rule"]

RULES: dict[str, type[Rule]] = {"bptt": BPTT}
