"""What the tests of the models share."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from own_plugins import own_plugins

from revbench.models import plugins

Announce = Callable[..., None]


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    """Weights and inputs are the same in every run; one thread, for tensors this small are slowed down by more."""
    torch.manual_seed(0)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def own_registry() -> Iterator[None]:
    """What a test registers or loads is gone after it, and plugins are looked for anew."""
    with own_plugins():
        yield


@pytest.fixture
def announce(own_registry: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Announce:
    """Writes modules and announces them as plugins: `announce(my_plugin="source")`."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(**sources: str) -> None:
        for module, source in sources.items():
            (tmp_path / f"{module}.py").write_text(source)
        points = [EntryPoint(name=f"{m}_plugin", value=m, group=plugins.PLUGIN_GROUP) for m in sources]

        def entry_points(*, group: str) -> list[EntryPoint]:
            return [point for point in points if point.group == group]

        monkeypatch.setattr(plugins, "entry_points", entry_points)

    return install
