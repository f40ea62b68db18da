"""The registry of models and rules, as suites ask for it."""

from revbench.bench.errors import ConfigError, nearest
from revbench.models import registry, target
from revbench.models.registry import ModelEntry
from revbench.models.rules import is_rule, rules


class Catalog:
    """What suites must know about models and rules; see `suites.ModelCatalog`.

    Raises:
        ConfigError: a plugin cannot be loaded.
    """

    def __init__(self) -> None:
        try:
            self.entries: dict[str, ModelEntry] = registry.entries()
        except registry.PluginError as error:
            raise ConfigError(" ".join(str(error).split())) from error
        self._targets: dict[str, ModelEntry] = {}

    def names(self) -> list[str]:
        """All models and families."""
        return list(self.entries)

    def check(self, name: str) -> None:
        """Raises ConfigError if there is no model of this name, nor a function of someone's module that it means."""
        if target.is_target(name):
            self._entry(name)
        elif name not in self.entries:
            raise ConfigError(f"there is no model {name!r}; {nearest(name, self.names())}")

    def with_input(self, name: str, shape: str) -> str:
        """The function of someone's module, with the form of its input.

        Raises:
            ConfigError: another model has an input of its own, or the form is none.
        """
        if not target.is_target(name):
            raise ConfigError(f"the model {name!r} has an input of its own; leave out --input")
        try:
            return target.with_input(name, shape)
        except target.TargetError as error:
            raise ConfigError(str(error)) from error

    def rules(self) -> list[str]:
        """All rules; a K in a name stands for a number."""
        return list(rules())

    def is_rule(self, name: str) -> bool:
        """Whether there is a rule of this name."""
        return is_rule(name)

    def takes_depth(self, name: str) -> bool:
        """Whether depth and width are chosen by the case."""
        return self._entry(name).family

    def takes_width(self, name: str) -> bool:
        """Whether the width is chosen by the case."""
        return self.takes_depth(name) and "width" not in self._entry(name).fixed

    def is_reversible(self, name: str) -> bool:
        """Whether it can recompute its activations."""
        return self._entry(name).reversible

    def has_states(self, name: str) -> bool:
        """Whether it has states that can survive in several ways."""
        return self._entry(name).states

    def _entry(self, name: str) -> ModelEntry:
        if target.is_target(name) and name not in self._targets:
            try:
                self._targets[name] = target.entry(name)
            except target.TargetError as error:
                raise ConfigError(str(error)) from error
        return self._targets.get(name) or self.entries[name]

    def counterparts(self) -> dict[str, str]:
        """The model that each is compared with, where there is one."""
        return {name: entry.counterpart for name, entry in self.entries.items() if entry.counterpart}
