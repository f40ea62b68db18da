"""Rules by name, as suites and the command line give them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from revbench.models.rules.base import Rule
from revbench.models.rules.bptt import BPTT
from revbench.models.rules.ottt import OTTT
from revbench.models.rules.partwise import SLTT, TruncatedBPTT


class UnknownRuleError(Exception):
    """There is no rule of this name."""


@dataclass(frozen=True, slots=True)
class NamedRule:
    """A rule that can be named.

    Attributes:
        name: what the user types; a K in it stands for a whole number from 1.
        summary: one line for `revbench list`.
        make: makes the rule from the number, if the name has one, and the options of `Rule`.
    """

    name: str
    summary: str
    make: Callable[..., Rule]

    def number_in(self, name: str) -> list[int] | None:
        """The number in a name, if it is one of this rule's; None if it is not."""
        found = re.fullmatch(self.name.replace("K", "([1-9][0-9]*)"), name)
        return [int(number) for number in found.groups()] if found else None


RULES = {
    rule.name: rule
    for rule in (
        NamedRule("bptt", "Backpropagation through the whole simulation.", BPTT),
        NamedRule(
            "tbptt-K",
            "Truncated BPTT, K timesteps at a time.",
            lambda number, **options: TruncatedBPTT(length=number, **options),
        ),
        NamedRule("sltt", "SLTT (ICCV 2023): each timestep learns by itself.", SLTT),
        NamedRule(
            "sltt-K",
            "SLTT-K: K timesteps learn, drawn anew for each batch.",
            lambda number, **options: SLTT(num_learning=number, **options),
        ),
        NamedRule("ottt_a", "OTTT_A (NeurIPS 2022): traces of spikes, one update a batch.", OTTT),
        NamedRule(
            "ottt_o",
            "OTTT_O: the same with an update in each timestep.",
            lambda **options: OTTT(updates="timestep", **options),
        ),
        NamedRule(
            "ottt_a_strict",
            "OTTT_A by the paper's formula, where its code departs from it.",
            lambda **options: OTTT(strict=True, **options),
        ),
        NamedRule(
            "ottt_o_strict",
            "OTTT_O by the paper's formula.",
            lambda **options: OTTT(strict=True, updates="timestep", **options),
        ),
    )
}


def is_rule(name: str) -> bool:
    """Whether there is a rule of this name."""
    return any(rule.number_in(name) is not None for rule in RULES.values())


def make_rule(name: str, **options: Any) -> Rule:
    """The rule of that name.

    Args:
        name: such as `bptt` or `sltt-2`.
        options: the attributes of `Rule`.

    Raises:
        UnknownRuleError: there is none.
    """
    for rule in RULES.values():
        numbers = rule.number_in(name)
        if numbers is not None:
            return rule.make(*numbers, **options)
    raise UnknownRuleError(f"there is no rule {name!r}; valid: {', '.join(RULES)}, with a number from 1 for K")
