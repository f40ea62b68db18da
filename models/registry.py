"""The models that can be named on the command line.

A plugin adds its own: a module that calls `register`, announced by an entry point of the group `revbench.plugins`.
Without one, `package.module:function` names a function that makes a model (see `target`).
"""

from typing import Any

from revbench.models import plugins, target
from revbench.models.entry import ModelEntry
from revbench.models.named import online, published, residual, resnet19, transformers, trevsnn
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.plugins import PLUGIN_GROUP, PluginError

__all__ = ["PLUGIN_GROUP", "ModelEntry", "PluginError", "UnknownModelError", "build", "entries", "entry", "register"]


class UnknownModelError(Exception):
    """No model of this name is registered."""


_entries: dict[str, ModelEntry] = plugins.table()


def register(entry: ModelEntry) -> None:
    """Adds a model.

    Raises:
        PluginError: this is no entry, or its name is taken or cannot be typed.
    """
    if not isinstance(entry, ModelEntry):
        raise PluginError(f"register takes a ModelEntry, not {entry!r}")
    plugins.check_name("model", entry.name)
    if entry.name in _entries:
        raise PluginError(f"a model called {entry.name!r} is registered already; choose another name")
    _entries[entry.name] = entry


def entries() -> dict[str, ModelEntry]:
    """All models by name, plugins included.

    Raises:
        PluginError: a plugin could not be loaded.
    """
    plugins.load_plugins()
    return dict(_entries)


def entry(name: str) -> ModelEntry:
    """What is known of the model of that name.

    Raises:
        UnknownModelError: no such model.
        TargetError: a function of someone's module that cannot be imported or called.
    """
    if target.is_target(name):
        return target.entry(name)
    known = entries()
    if name not in known:
        raise UnknownModelError(f"there is no model {name!r}; known: {', '.join(known)}")
    return known[name]


def build(name: str, *, timesteps: int, **options: Any) -> SpikingNetwork:
    """The network of that name; options that are None are left to the model.

    Raises:
        UnknownModelError: no such model.
        TargetError: a function of someone's module that cannot be imported or called.
    """
    given = {key: value for key, value in options.items() if value is not None}
    return entry(name).build(timesteps=timesteps, **given)


for _entry in (
    *residual.ENTRIES,
    *transformers.ENTRIES,
    *trevsnn.ENTRIES,
    *online.ENTRIES,
    *resnet19.ENTRIES,
    *published.ENTRIES,
):
    register(_entry)
