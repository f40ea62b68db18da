"""The models that can be named on the command line.

A plugin adds its own: a module that calls `register`, announced by an entry point of the group `revbench.plugins`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from revbench.models.networks.msresnet import msresnet, msresnet_events
from revbench.models.networks.revsresnet import revsresnet, revsresnet_events
from revbench.models.networks.spiking import SpikingNetwork

PLUGIN_GROUP = "revbench.plugins"


class UnknownModelError(Exception):
    """No model of this name is registered."""


class PluginError(Exception):
    """A plugin could not be loaded, or registers a name that is taken."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model that can be named.

    Attributes:
        name: what the user types.
        summary: one line for `revbench list`.
        build: makes the network from `timesteps` and, where given, `depth` (families only, always given), `width`
            (families only) and `activations` (reversible models only).
        family: whether depth (blocks in each stage) and width are free.
        reversible: whether the activations can be `recomputed` or `stored`.
        counterpart: the model that the paper compares with.
    """

    name: str
    summary: str
    build: Callable[..., SpikingNetwork]
    family: bool = False
    reversible: bool = False
    counterpart: str | None = None


_entries: dict[str, ModelEntry] = {}


def register(entry: ModelEntry) -> None:
    """Adds a model.

    Raises:
        PluginError: the name is taken.
    """
    if entry.name in _entries:
        raise PluginError(f"a model called {entry.name!r} is registered already; choose another name")
    _entries[entry.name] = entry


def entries() -> dict[str, ModelEntry]:
    """All models by name, plugins included.

    Raises:
        PluginError: a plugin could not be loaded.
    """
    _load_plugins()
    return dict(_entries)


def build(name: str, *, timesteps: int, **options: Any) -> SpikingNetwork:
    """The network of that name; options that are None are left to the model.

    Raises:
        UnknownModelError: no such model.
    """
    known = entries()
    if name not in known:
        raise UnknownModelError(f"there is no model {name!r}; known: {', '.join(known)}")
    given = {key: value for key, value in options.items() if value is not None}
    return known[name].build(timesteps=timesteps, **given)


@cache
def _load_plugins() -> None:
    for point in entry_points(group=PLUGIN_GROUP):
        before = dict(_entries)
        try:
            point.load()
        except Exception as error:
            # What it registered before it failed would be in its own way the next time.
            _entries.clear()
            _entries.update(before)
            raise PluginError(f"the plugin {point.name!r} ({point.value}) cannot be loaded: {error}") from error


def _sized(name: str, summary: str, builder: Callable[..., SpikingNetwork], blocks: list[int], **entry: Any) -> None:
    register(ModelEntry(name=name, summary=summary, build=lambda **options: builder(blocks, **options), **entry))


def _family(name: str, summary: str, builder: Callable[..., SpikingNetwork], num_stages: int, **entry: Any) -> None:
    def build(*, depth: int, **options: Any) -> SpikingNetwork:
        return builder([depth] * num_stages, **options)

    register(ModelEntry(name=name, summary=summary, build=build, family=True, **entry))


_IMAGES, _EVENTS = "images 3x32x32", "event frames 2x128x128"
_family("msresnet", f"MS-ResNet, any depth and width; {_IMAGES}", msresnet, 4)
_family(
    "revsresnet", f"RevSResNet, any depth and width; {_IMAGES}", revsresnet, 4, reversible=True, counterpart="msresnet"
)
_family("msresnet_event", f"MS-ResNet, any depth and width; {_EVENTS}", msresnet_events, 3)
_family(
    "revsresnet_event",
    f"RevSResNet, any depth and width; {_EVENTS}",
    revsresnet_events,
    3,
    reversible=True,
    counterpart="msresnet_event",
)
for _layers, _blocks, _twin, _twin_blocks in (
    (18, [2, 2, 2, 2], 21, [1, 1, 1, 1]),
    (34, [3, 4, 6, 3], 37, [1, 2, 3, 2]),
    (104, [3, 8, 32, 8], 109, [2, 4, 16, 4]),
):
    _sized(f"msresnet{_layers}", f"MS-ResNet of {_layers} layers; {_IMAGES}", msresnet, _blocks)
    _sized(
        f"revsresnet{_twin}",
        f"RevSResNet of {_twin} layers; {_IMAGES}",
        revsresnet,
        _twin_blocks,
        reversible=True,
        counterpart=f"msresnet{_layers}",
    )
_sized("msresnet20_event", f"MS-ResNet of 20 layers; {_EVENTS}", msresnet_events, [3, 3, 3])
_sized(
    "revsresnet24_event",
    f"RevSResNet of 24 layers; {_EVENTS}",
    revsresnet_events,
    [1, 2, 2],
    reversible=True,
    counterpart="msresnet20_event",
)
