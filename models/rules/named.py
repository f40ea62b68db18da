"""Rules by name, as suites and the command line give them.

A plugin adds its own: a module that calls `register_rule`, announced as those of models are (see `registry`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from revbench.models import plugins
from revbench.models.plugins import PluginError
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
        found = re.fullmatch(re.escape(self.name).replace("K", "([1-9][0-9]*)"), name)
        return [int(number) for number in found.groups()] if found else None


_rules: dict[str, NamedRule] = plugins.table()


def register_rule(rule: NamedRule) -> None:
    """Adds a rule.

    Raises:
        PluginError: this is no named rule, or its name is taken, also as that of a rule with a number, or cannot be
            typed.
    """
    if not isinstance(rule, NamedRule):
        raise PluginError(f"register_rule takes a NamedRule, not {rule!r}")
    plugins.check_name("rule", rule.name)
    for other in _rules.values():
        if other.number_in(rule.name) is not None or rule.number_in(other.name) is not None or other.name == rule.name:
            raise PluginError(f"the rule {rule.name!r} would be taken for {other.name!r}; choose another name")
    _rules[rule.name] = rule


def rules() -> dict[str, NamedRule]:
    """All rules by name, plugins included.

    Raises:
        PluginError: a plugin could not be loaded.
    """
    plugins.load_plugins()
    return dict(_rules)


def is_rule(name: str) -> bool:
    """Whether there is a rule of this name."""
    return any(rule.number_in(name) is not None for rule in rules().values())


def make_rule(name: str, **options: Any) -> Rule:
    """The rule of that name.

    Args:
        name: such as `bptt` or `sltt-2`.
        options: the attributes of `Rule`.

    Raises:
        UnknownRuleError: there is none.
        TypeError: that of a plugin makes something else.
    """
    for rule in rules().values():
        numbers = rule.number_in(name)
        if numbers is not None:
            made = rule.make(*numbers, **options)
            if not isinstance(made, Rule):
                raise TypeError(f"the rule {name!r} makes {made!r}, which is not a Rule")
            return made
    raise UnknownRuleError(f"there is no rule {name!r}; valid: {', '.join(rules())}, with a number from 1 for K")


for _rule in (
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
):
    register_rule(_rule)
