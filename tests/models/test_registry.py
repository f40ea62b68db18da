"""The registry: models by name, options, plugins and their failures."""

from collections.abc import Callable

import pytest
import torch

from revbench.models import plugins, registry
from revbench.models.networks.msresnet import msresnet
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.registry import ModelEntry, PluginError, UnknownModelError

pytestmark = pytest.mark.usefixtures("own_registry")
Announce = Callable[..., None]
PLUGIN = """
from revbench.models.networks.msresnet import msresnet
from revbench.models.registry import ModelEntry, register

register(
    ModelEntry(name="{name}", summary="from a plugin", build=lambda **options: msresnet([1, 1, 1, 1], **options))
)
"""


def tiny(name: str = "tiny") -> ModelEntry:
    """An entry of a small network."""
    return ModelEntry(name=name, summary="for tests", build=lambda **options: msresnet([1, 1, 1, 1], **options))


def test_the_published_networks_are_registered() -> None:
    """The networks of the specifications, and the families that the scaling suites turn up."""
    known = registry.entries()
    families = {name for name, entry in known.items() if entry.family}
    assert families >= {
        *("msresnet", "revsresnet", "msresnet_event", "revsresnet_event"),
        *("vggsws", "vggbn", "preactresnet", "nfresnet", "spikingresnet", "annresnet"),
        *("spikingformer", "revsformer", "spikingformer_event", "revsformer_event", "sdt"),
    }
    assert set(known) - families >= {
        *("msresnet18", "msresnet34", "msresnet104", "msresnet20_event"),
        *("revsresnet21", "revsresnet37", "revsresnet109", "revsresnet24_event"),
        *("vgg11sws", "vgg11sws_event", "vgg11bn_event48", "vgg11bn_event"),
        *("preactresnet18", "nfresnet18", "nfresnet34", "spikingresnet19", "resnet19"),
        *("spikingformer2_384", "spikingformer4_384", "spikingformer2_256_event"),
        *("revsformer2_384", "revsformer4_384", "revsformer2_256_event"),
        *("sdt8_384", "sdt6_512", "sdt8_512", "sdt10_512", "sdt8_768"),
        *("sdt2_512", "sdt2_256", "sdt2_256_event", "sdt2_256_event64"),
    }


def test_entries_describe_their_models() -> None:
    """Each entry has its own name and a summary in one line; reversible networks of RevSNN have a counterpart."""
    known = registry.entries()
    for name, entry in known.items():
        assert entry.name == name
        assert entry.summary
        assert "\n" not in entry.summary
        if name.startswith("rev"):
            assert entry.reversible
            assert entry.counterpart is not None
        if entry.counterpart is not None:
            assert not known[entry.counterpart].reversible
            assert known[entry.counterpart].family == entry.family


@pytest.mark.parametrize(
    ("name", "counterpart"),
    [
        ("revsresnet21", "msresnet18"),
        ("revsresnet37", "msresnet34"),
        ("revsresnet109", "msresnet104"),
        ("revsresnet24_event", "msresnet20_event"),
        ("revsresnet", "msresnet"),
        ("revsresnet_event", "msresnet_event"),
        ("revsformer2_384", "spikingformer2_384"),
        ("revsformer4_384", "spikingformer4_384"),
        ("revsformer2_256_event", "spikingformer2_256_event"),
        ("revsformer", "spikingformer"),
        ("revsformer_event", "spikingformer_event"),
        ("spikingresnet", "annresnet"),
        ("spikingresnet19", "resnet19"),
    ],
)
def test_counterparts_are_those_of_the_papers(name: str, counterpart: str) -> None:
    """A network is compared with the network that the paper compares it with, over the same input."""
    known = registry.entries()
    assert known[name].counterpart == counterpart
    depth = 1 if known[name].family else None
    with torch.device("meta"):
        shapes = {registry.build(model, timesteps=2, depth=depth).input_shape for model in (name, counterpart)}
    assert len(shapes) == 1


def test_every_model_can_be_built() -> None:
    """All entries build a network with the timesteps asked for, families with depth and width as well."""
    for name, entry in registry.entries().items():
        options = {"depth": 2, "width": 8} if entry.family else {}
        with torch.device("meta"):
            network = registry.build(name, timesteps=7, **options)
        assert isinstance(network, SpikingNetwork)
        assert network.timesteps == 7


def test_options_that_are_none_are_left_to_the_model() -> None:
    """None means that the model decides: also for options that it does not have."""
    with torch.device("meta"):
        network = registry.build("msresnet18", timesteps=4, depth=None, width=None, activations=None, num_classes=None)
    assert network.num_layers == 18
    assert network.get_submodule("head").get_parameter("weight").shape == (10, 512)


def test_options_that_a_model_does_not_have_are_refused() -> None:
    """A value for an option that the model lacks is an error that names it."""
    with pytest.raises(TypeError, match="activations"):
        registry.build("msresnet18", timesteps=4, activations="stored")
    with pytest.raises(TypeError, match="depth"):
        registry.build("revsresnet37", timesteps=4, depth=2)


def test_an_unknown_model_is_named_beside_the_known() -> None:
    """The message says what was asked for and what there is."""
    with pytest.raises(UnknownModelError, match=r"there is no model 'resnet50'; known: .*revsresnet37.*msresnet104"):
        registry.build("resnet50", timesteps=4)


def test_a_registered_model_can_be_built() -> None:
    """What `register` adds is listed and built with the options given."""
    registry.register(tiny())
    assert registry.entries()["tiny"].summary == "for tests"
    assert registry.build("tiny", timesteps=3, num_classes=7).num_blocks == 4


def test_a_name_is_given_once() -> None:
    """A second model of the same name is refused, and the first stays."""
    first, second = tiny(), tiny()
    registry.register(first)
    with pytest.raises(PluginError, match="a model called 'tiny' is registered already"):
        registry.register(second)
    assert registry.entries()["tiny"] is first


@pytest.mark.parametrize("name", ["", "my net", "my,net", "nets:mine", "mine@3x8x8", "-mine", "mine=2", 3])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    """The command line gives commas, colons and the like a meaning."""
    with pytest.raises(PluginError, match=r"a model cannot be called .*; use letters, digits"):
        registry.register(tiny(name))
    assert name not in registry.entries()


def test_what_is_no_entry_is_refused() -> None:
    """The message says what there should be."""
    with pytest.raises(PluginError, match="register takes a ModelEntry, not <function msresnet"):
        registry.register(msresnet)  # type: ignore[arg-type]


def test_the_entries_that_are_handed_out_are_a_copy() -> None:
    """Whoever changes the dictionary changes their own."""
    registry.entries().clear()
    assert "revsresnet37" in registry.entries()


def test_plugins_add_models(announce: Announce) -> None:
    """Modules announced by entry points are loaded when models are first asked for, and add theirs."""
    announce(plugin_a=PLUGIN.format(name="model_a"), plugin_b=PLUGIN.format(name="model_b"))
    assert {"model_a", "model_b", "revsresnet37"} <= set(registry.entries())
    assert registry.build("model_b", timesteps=2).num_blocks == 4


def test_plugins_are_loaded_once(announce: Announce, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later questions load nothing again."""
    announce(plugin_c=PLUGIN.format(name="model_c"))
    registry.entries()
    monkeypatch.setattr(plugins, "entry_points", lambda **_: pytest.fail("plugins were looked for again"))
    assert "model_c" in registry.entries()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
        ("def", "invalid syntax"),
        (PLUGIN.format(name="revsresnet37"), "a model called 'revsresnet37' is registered already"),
    ],
    ids=["error", "import", "syntax", "name taken"],
)
def test_a_plugin_that_cannot_be_loaded_is_named(announce: Announce, source: str, reason: str) -> None:
    """The message says which plugin, from which module, and why; the cause is kept."""
    announce(broken=source)
    with pytest.raises(PluginError, match=rf"the plugin 'broken_plugin' \(broken\) cannot be loaded: .*{reason}") as it:
        registry.build("revsresnet37", timesteps=4)
    assert it.value.__cause__ is not None


def test_a_broken_plugin_is_reported_every_time(announce: Announce) -> None:
    """A failure is not remembered as success: the next question fails in the same words."""
    announce(half=PLUGIN.format(name="model_d") + "\nraise RuntimeError('half way')")
    for _ in range(2):
        with pytest.raises(PluginError, match="cannot be loaded: half way"):
            registry.entries()
