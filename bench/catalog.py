"""The registry of models and rules, as suites ask for it."""

from revbench.bench.errors import ConfigError
from revbench.models import registry
from revbench.models.registry import ModelEntry
from revbench.models.rules import RULES, is_rule


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

    def names(self) -> list[str]:
        """All models and families."""
        return list(self.entries)

    def rules(self) -> list[str]:
        """All rules; a K in a name stands for a number."""
        return list(RULES)

    def is_rule(self, name: str) -> bool:
        """Whether there is a rule of this name."""
        return is_rule(name)

    def takes_depth(self, name: str) -> bool:
        """Whether depth and width are chosen by the case."""
        return self.entries[name].family

    def is_reversible(self, name: str) -> bool:
        """Whether it can recompute its activations."""
        return self.entries[name].reversible

    def has_states(self, name: str) -> bool:
        """Whether it has states that can survive in several ways."""
        return self.entries[name].states

    def counterparts(self) -> dict[str, str]:
        """The model that each is compared with, where there is one."""
        return {name: entry.counterpart for name, entry in self.entries.items() if entry.counterpart}
