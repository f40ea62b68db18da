"""Plugins for one test: what it registers or loads is gone after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from revbench.models import plugins


@contextmanager
def own_plugins() -> Iterator[None]:
    """Inside this block plugins are looked for anew; after it the tables of models and rules are as before."""
    before = [dict(each) for each in plugins._tables]
    plugins.load_plugins.cache_clear()
    try:
        yield
    finally:
        for each, kept in zip(plugins._tables, before, strict=True):
            each.clear()
            each.update(kept)
        plugins.load_plugins.cache_clear()
