"""Training rules: how gradients are obtained."""

from revbench.models.rules.base import Rule
from revbench.models.rules.bptt import BPTT
from revbench.models.rules.named import RULES, UnknownRuleError, is_rule, make_rule
from revbench.models.rules.ottt import OTTT
from revbench.models.rules.partwise import SLTT, TruncatedBPTT

__all__ = ["BPTT", "OTTT", "RULES", "SLTT", "Rule", "TruncatedBPTT", "UnknownRuleError", "is_rule", "make_rule"]
