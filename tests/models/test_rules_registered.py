"""Rules of plugins: they are listed, made and used as ours are, and refused where they would be in the way."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD

from revbench.models import plugins, registry
from revbench.models.data import synthetic_batch
from revbench.models.plugins import PluginError
from revbench.models.rules import BPTT, SLTT, NamedRule, UnknownRuleError, is_rule, make_rule, register_rule, rules

pytestmark = pytest.mark.usefixtures("own_registry")
Announce = Callable[..., None]
PLUGIN = """
from dataclasses import dataclass

from revbench.models.rules import NamedRule, PartwiseRule, register_rule


@dataclass(frozen=True, kw_only=True)
class Late(PartwiseRule):
    num_learning: int

    def parts(self, timesteps):
        return ((range(t, t + 1), t >= timesteps - self.num_learning) for t in range(timesteps))


register_rule(NamedRule("late-K", "The last K timesteps learn.", lambda number, **o: Late(num_learning=number, **o)))
"""


def test_a_rule_of_a_plugin_is_known(announce: Announce) -> None:
    """It is listed after ours, and made with its number and the options of all rules."""
    announce(late_plugin=PLUGIN)
    assert list(rules())[-1] == "late-K"
    assert is_rule("late-3")
    assert not is_rule("late")
    made = make_rule("late-3", checkpointing=True)
    assert (type(made).__name__, made.num_learning, made.checkpointing) == ("Late", 3, True)


def test_a_rule_of_a_plugin_trains(announce: Announce) -> None:
    """Where all timesteps learn, the gradients are those of SLTT; where one does, they are others."""
    announce(training_plugin=PLUGIN)
    found = {}
    for name in ("sltt", "late-2", "late-1"):
        torch.manual_seed(0)
        network = registry.build("msresnet", timesteps=2, depth=1, width=8)
        batch = synthetic_batch(network.input_shape, batch_size=2, timesteps=2, num_classes=10)
        make_rule(name).step(network, batch, SGD(network.parameters(), lr=0.0))
        found[name] = next(network.parameters()).grad
    assert found["sltt"].abs().max() > 0
    assert torch.equal(found["late-2"], found["sltt"])
    assert not torch.allclose(found["late-1"], found["sltt"])


@pytest.mark.parametrize(
    ("name", "taken"),
    [("bptt", "bptt"), ("sltt-3", "sltt-K"), ("sltt-K", "sltt-K"), ("ottt_a", "ottt_a")],
)
def test_a_name_means_one_rule(name: str, taken: str) -> None:
    """Also a name that a rule with a number would answer to; the first stays."""
    before = rules()
    with pytest.raises(PluginError, match=f"the rule '{name}' would be taken for '{taken}'; choose another name"):
        register_rule(NamedRule(name, "Mine.", BPTT))
    assert rules() == before


def test_a_rule_with_a_number_leaves_the_names_that_there_are() -> None:
    """Whichever of the two came first."""
    register_rule(NamedRule("mine-7", "Mine.", BPTT))
    with pytest.raises(PluginError, match="'mine-K' would be taken for 'mine-7'"):
        register_rule(NamedRule("mine-K", "Mine.", lambda number, **options: SLTT(num_learning=number, **options)))


@pytest.mark.parametrize("name", ["", "my rule", "a,b", "a=b", "(", None])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    """The command line gives commas and the like a meaning."""
    with pytest.raises(PluginError, match=r"a rule cannot be called .*; use letters, digits"):
        register_rule(NamedRule(name, "Mine.", BPTT))


def test_a_name_is_no_pattern() -> None:
    """A dot is a dot."""
    register_rule(NamedRule("v1.5", "Mine.", BPTT))
    assert is_rule("v1.5")
    assert not is_rule("v1x5")


def test_what_is_no_rule_is_refused() -> None:
    """At once where it can be seen, else where it is made."""
    with pytest.raises(PluginError, match=r"register_rule takes a NamedRule, not <class .*BPTT'>"):
        register_rule(BPTT)  # type: ignore[arg-type]
    register_rule(NamedRule("mine", "Mine.", lambda **options: None))  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="the rule 'mine' makes None, which is not a Rule"):
        make_rule("mine")


def test_a_plugin_that_fails_leaves_no_rule_behind(announce: Announce) -> None:
    """What was there before stays; and it fails in the same words the next time."""
    before, models = rules(), registry.entries()
    plugins.load_plugins.cache_clear()
    announce(half=PLUGIN + "\nraise RuntimeError('half way')")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"the plugin 'half_plugin' \(half\) cannot be loaded: half way"):
            rules()
    announce()
    assert rules() == before
    assert registry.entries() == models
    with pytest.raises(UnknownRuleError, match="there is no rule 'late-1'"):
        make_rule("late-1")
