"""Plugins: modules that register models and rules of their own, announced by entry points.

They are loaded when a model or a rule is first asked for by name. One that fails leaves nothing behind.
"""

import re
from functools import cache
from importlib.metadata import entry_points
from typing import Any

PLUGIN_GROUP = "revbench.plugins"


class PluginError(Exception):
    """A plugin could not be loaded, or registers what cannot be registered."""


_tables: list[dict[str, Any]] = []


def table() -> dict[str, Any]:
    """A new table of what can be named, to which plugins may add."""
    made: dict[str, Any] = {}
    _tables.append(made)
    return made


def check_name(what: str, name: object) -> None:
    """Does nothing if it can be typed on the command line, where commas, blanks, `=`, `:` and `@` mean something.

    Args:
        what: of what it is the name, for the message.
        name: the name.

    Raises:
        PluginError: it cannot.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise PluginError(f"a {what} cannot be called {name!r}; use letters, digits, -, _ and .")


@cache
def load_plugins() -> None:
    """Loads all plugins, once.

    Raises:
        PluginError: one could not be loaded.
    """
    for point in entry_points(group=PLUGIN_GROUP):
        before = [dict(each) for each in _tables]
        try:
            point.load()
        except Exception as error:
            # What it registered before it failed would be in its own way the next time.
            for each, kept in zip(_tables, before, strict=True):
                each.clear()
                each.update(kept)
            raise PluginError(f"the plugin {point.name!r} ({point.value}) cannot be loaded: {error}") from error
