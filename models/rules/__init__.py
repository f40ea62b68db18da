"""Training rules: how gradients are obtained."""

from revbench.models.rules.base import Rule
from revbench.models.rules.bptt import BPTT
from revbench.models.rules.named import NamedRule, UnknownRuleError, is_rule, make_rule, register_rule, rules
from revbench.models.rules.ottt import OTTT
from revbench.models.rules.partwise import SLTT, PartwiseRule, TruncatedBPTT

__all__ = [
    "BPTT",
    "OTTT",
    "SLTT",
    "NamedRule",
    "PartwiseRule",
    "Rule",
    "TruncatedBPTT",
    "UnknownRuleError",
    "is_rule",
    "make_rule",
    "register_rule",
    "rules",
]
