"""Whole networks: against an oracle that convolves with kernels of ones, against two other counters, and by hand."""

from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from tiny_spiking import Tiny
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.energy.content import SPIKES
from revbench.bench.energy.counts import Elementwise, Observation, Work
from revbench.bench.energy.observe import observe, observe_network
from revbench.bench.energy.operators import FREE, RULES
from revbench.bench.energy.products import PRODUCTS
from revbench.bench.memory.timeline import peak
from revbench.bench.memory.tracker import Tracker
from revbench.bench.reversibility.liveliness import enliven
from revbench.bench.summary import summarise
from revbench.models import annotations, registry
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.networks.standardised import StandardisedConv2d
from revbench.models.networks.trevsnn_levels import ScaledDepthwise
from revbench.models.networks.trevsnn_merged import MergedTRevSNN
from revbench.models.neurons import IF, Neuron

FAMILIES = {
    "msresnet": 8, "revsresnet": 8, "spikingformer": 16, "revsformer": 16, "sdt": 16, "trevsnn": 8, "vggsws": 8,
    "vggbn": 8, "preactresnet": 8, "nfresnet": 8, "spikingresnet": 8, "annresnet": 8, "msresnet_event": 4,
    "revsresnet_event": 4, "spikingformer_event": 16, "sdt_event": 16, "vggsws_event": 4,
}  # fmt: skip
T, B = 3, 2


def built(name: str, *, timesteps: int = T) -> SpikingNetwork:
    """A small network that fires: its batch norms have seen the batch, and its potentials are not too small."""
    torch.manual_seed(0)
    network = registry.build(name, timesteps=timesteps, depth=1, width=FAMILIES[name])
    enliven(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.constant_(module.bias, 0.3)
            nn.init.constant_(module.weight, 2.0)
    with torch.no_grad():
        network.train()(batch(network))
    return network


def batch(network: SpikingNetwork) -> Tensor:
    shape = network.input_shape.of_batch(B, network.timesteps)
    generator = torch.Generator().manual_seed(0)
    if network.input_shape.kind == "images":
        return torch.randn(shape, generator=generator)
    return torch.poisson(torch.full(shape, 0.2), generator)


def oracle(network: SpikingNetwork, x: Tensor) -> dict[str, list[int]]:
    """Synaptic operations of every convolution and linear layer, frame by frame: what a kernel of ones sums up."""
    found: dict[str, list[int]] = defaultdict(list)
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):

            def look(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                events = (inputs[0] != 0).double()
                if isinstance(module, nn.Linear):
                    rows = events.flatten(0, -2).sum(-1) * module.out_features
                else:
                    assert isinstance(module, nn.Conv2d)
                    ones = torch.ones_like(module.weight, dtype=torch.float64)
                    convolution = F.conv2d(
                        events, ones, None, module.stride, module.padding, module.dilation, module.groups
                    )
                    rows = convolution.sum((1, 2, 3))
                found[name] += rows.long().tolist()

            handles.append(module.register_forward_pre_hook(look))
    with torch.no_grad():
        network.eval()(x)
    for handle in handles:
        handle.remove()
    return dict(found)


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_all_families(name: str) -> None:
    """Each layer equals the oracle, in all and in each timestep; no operator is unknown, and dense counts agree."""
    network = built(name)
    x = batch(network)
    found = observe_network(network, x, strict=True)
    expected = oracle(network, x)
    layers = {row.layer for row in found.synaptic if row.operator != "bmm"}
    assert layers == expected.keys()
    for layer, frames in expected.items():
        rows = [row for row in found.synaptic if row.layer == layer]
        assert sum(row.sops for row in rows) == sum(frames), layer
        if len(frames) == T * B and rows[0].timestep is not None:
            by_step = torch.tensor(frames).view(T, -1).sum(1).tolist()
            assert [row.sops for row in sorted(rows, key=lambda row: row.timestep or 0)] == by_step
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(x)
    assert found.dense_macs == counter.get_total_flops() // 2 == B * summarise(network).total.macs
    if name != "annresnet":
        assert 0.002 < found.firing_rate < 0.9
        assert found.acs > 0
        assert not found.not_spike_driven


@pytest.mark.parametrize("name", ["msresnet", "sdt", "vggsws", "trevsnn", "sdt_event"])
def test_encoders_as_often_as_they_run(name: str) -> None:
    """Static images go through the stem once and are multiplied; event frames go through it each, and are added."""
    network = built(name)
    found = observe_network(network, batch(network))
    reads_input = [row for row in found.synaptic if row.origin == "input"]
    images = network.input_shape.kind == "images"
    assert [row.timestep for row in reads_input] == ([None] if images else list(range(T)))
    assert all((row.kind == "real") == images for row in reads_input)
    assert sum(row.macs for row in reads_input) > 0 if images else sum(row.acs for row in reads_input) > 0


def test_merged_trevsnn_adds_where_the_trained_one_multiplies() -> None:
    """Depthwise convolutions behind others read real numbers; once merged, all but the stem reads spikes."""
    network = built("trevsnn")
    merged = MergedTRevSNN(network.eval())
    x = batch(network)
    multiplying = {row.layer for row in observe_network(merged, x, strict=True).synaptic if row.kind == "real"}
    assert multiplying == {"stem.0", "stem.1"}
    trained = {row.layer for row in observe_network(network, x).synaptic if row.kind == "real"}
    assert any("pointwise" in layer for layer in trained)
    assert isinstance(network.stem, nn.Sequential)
    assert {type(m) for m in network.modules()} & {StandardisedConv2d, ScaledDepthwise}


@pytest.mark.parametrize("network", ["annresnet", "torchvision"])
def test_fvcore_agrees_on_dense_networks(network: str) -> None:
    """Convolutions and linear layers; one fused multiply-add is one operation in both."""
    from torchvision.models import resnet18

    model: nn.Module = built(network) if network in FAMILIES else resnet18(num_classes=10)
    x = torch.randn(1, 3, 32, 32)
    analysis = FlopCountAnalysis(model.eval(), x).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    operators = analysis.by_operator()
    found = observe(model, x, strict=True)
    assert found.dense_macs == operators["conv"] + operators["linear"]
    assert 0.2 < found.macs / found.dense_macs < 1  # padding and rectified zeros


def test_a_network_by_hand() -> None:
    """Input 1 with weights 1 and 1/2: one neuron fires in every timestep, the other in every second."""
    network = Tiny()
    nn.init.constant_(network.mixer.weight, 10.0)
    found = observe_network(network, torch.ones(1, 1, 1, 1), strict=True)
    rows = [(row.layer, row.timestep, row.kind, row.sops, row.acs, row.macs, row.dense_macs) for row in found.synaptic]
    assert rows == [
        ("stem", None, "real", 2, 0, 2, 2),
        *(("mixer", t, "spikes", 3 * n, 3 * n, 0, 6) for t, n in enumerate([1, 2, 1, 2])),
        *(("head", t, "levels", 6, 6, 0, 6) for t in range(4)),
    ]
    fired = [(row.layer, row.timestep, row.neurons, row.spikes) for row in found.firing]
    assert fired == [
        *(("neuron", t, 2, n) for t, n in enumerate([1, 2, 1, 2])),
        *(("last_neuron", t, 3, 3) for t in range(4)),
    ]
    assert found.firing[1].rate == 1.0
    assert found.firing_rate == 18 / 20
    integrate_and_fire = Work(additions=2 * 4 + 6, comparisons=2 * 4)
    leaky = Work(additions=3 * 4, multiplications=2 * 3 * 4, comparisons=3 * 4 + 12)
    assert found.neuron_work == integrate_and_fire + leaky
    assert (found.sops, found.acs, found.macs, found.dense_macs) == (18 + 24, 18 + 24, 2, 2 + 24 + 24)
    by_role = {(row.layer, row.role): row for row in found.elementwise}
    assert by_role["norm", "normalisation"] == Elementwise(
        layer="norm", role="normalisation", work=Work(additions=12, multiplications=12), folded=Work(additions=12)
    )
    assert by_role["head", "bias"].work == Work(additions=8)
    assert by_role["", "pooling"].work == Work(additions=6 + 12)


class Leaking(nn.Module):
    """Neurons of a faulty kind: what they return is no spike."""

    is_spiking = True

    def forward(self, x: Tensor) -> Tensor:
        """Real numbers."""
        return x.sigmoid()


@pytest.mark.parametrize("fault", ["no spikes", "norm behind spikes"])
def test_layers_that_should_be_spike_driven_are_named(fault: str) -> None:
    """Whether the neurons are at fault or what stands between them and the layer."""
    network = Tiny(Leaking() if fault == "no spikes" else nn.Sequential(IF(v_reset=None), NormInTime()))
    found = observe_network(network, torch.ones(2, 1, 1, 1))
    assert found.not_spike_driven == ["mixer"]
    assert all(row.macs > 0 and row.acs == 0 for row in found.synaptic if row.layer == "mixer")
    assert not observe_network(Tiny(), torch.ones(2, 1, 1, 1)).not_spike_driven


class NormInTime(nn.Module):
    """A layer norm over channels of one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, 1, 1]`."""
        return F.layer_norm(x.flatten(2), x.shape[2:3]).view(x.shape) + 0.1


def test_silent_and_saturated_layers_are_named() -> None:
    """A layer that never fires and one that always does."""
    network = Tiny()
    nn.init.constant_(network.mixer.weight, 10.0)
    found = observe_network(network, torch.ones(1, 1, 1, 1))
    assert found.layers_firing(0.0, 1.0) == ([], ["last_neuron"])
    assert observe_network(network, -torch.ones(1, 1, 1, 1)).layers_firing(0.0, 1.0)[0][0] == "neuron"


@pytest.mark.parametrize("name", ["revsresnet", "vggbn"])
def test_it_leaves_the_network_as_it_was(name: str) -> None:
    """Flags, activations, buffers, hooks; and it counts the same again, also in inference mode."""
    network = built(name)
    network.train()
    x = batch(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    attributes = [sorted(vars(module)) for module in network.modules()]
    found = observe_network(network, x)
    assert all(module.training for module in network.modules())
    assert [sorted(vars(module)) for module in network.modules()] == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert {getattr(module, "activations", "recomputed") for module in network.modules()} == {"recomputed"}
    with torch.inference_mode():
        assert observe_network(network, x) == found


@pytest.mark.parametrize("name", ["msresnet", "trevsnn", "spikingformer", "vggbn"])
def test_batches_add_up(name: str) -> None:
    """Two images together count what they count one by one."""
    network = built(name)
    x = batch(network)
    both = observe_network(network, x)
    single = [observe_network(network, image.unsqueeze(0)) for image in x]
    for sums in ("acs", "macs", "sops", "dense_macs"):
        assert getattr(both, sums) == sum(getattr(found, sums) for found in single) > 0
    assert both.neuron_work == single[0].neuron_work + single[1].neuron_work
    assert both.acs_by_image == tuple(float(found.acs) for found in single)
    assert both.macs_by_image == tuple(float(found.macs) for found in single)
    assert both.acs_by_image[0] != both.acs_by_image[1]


def test_compiled_and_plain_neurons_count_alike() -> None:
    """The fused sweep and the plain loop are the same neurons."""
    network = built("sdt")
    x = batch(network)

    def counted() -> tuple[Observation, int]:
        found = observe_network(network, x, strict=True)
        return found, sum(row.neurons for row in found.firing)

    fused, num_neurons = counted()
    for module in network.modules():
        if isinstance(module, Neuron):
            module.backend = "reference"
    plain, again = counted()
    assert (plain.acs, plain.macs, num_neurons) == (fused.acs, fused.macs, again)
    assert plain.neuron_work == fused.neuron_work


def test_tables_do_not_overlap() -> None:
    """An operator is in one state."""
    assert not FREE & RULES.keys()
    assert not PRODUCTS & (FREE | RULES.keys())


@pytest.mark.parametrize("name", ["msresnet", "revsresnet", "sdt"])
def test_counting_needs_little_memory(name: str) -> None:
    """Live bytes at the worst instant, beside those of a plain forward pass in inference form."""
    network = built(name)
    network.eval()
    x = batch(network)

    def peak_bytes(observed: bool) -> int:
        tracker = Tracker(network, SGD(network.parameters()), [x])
        with tracker, annotations.phase("forward"), torch.no_grad():
            observe_network(network, x) if observed else network(x)
        return peak(tracker.timeline()).total_bytes

    assert peak_bytes(False) <= peak_bytes(True) < 1.2 * peak_bytes(False)


class Scaled(nn.Module):
    """Neurons, a constant factor before and behind a pooling, and a layer that reads the result; or their sum."""

    def __init__(self, *, skips: bool = False) -> None:
        super().__init__()
        self.neuron = IF()
        self.layer = nn.Conv2d(2, 3, 1)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, 2, 4, 4]` to frames."""
        pooled = F.avg_pool2d((self.neuron(x) / 0.25).flatten(0, 1), 2) * 0.3
        convolved: Tensor = self.layer(pooled + x.flatten(0, 1)[..., :2, :2] if self.skips else pooled)
        return convolved


def test_constant_factors_follow_the_spikes() -> None:
    """4 and 0.3 and a fourth: levels of 0.3, one for each spike, that could be folded into the weights."""
    x = torch.full((2, 3, 2, 4, 4), 0.6)
    found = observe(Scaled(), x, timesteps=2, batch_size=3, strict=True)
    spikes = sum(row.spikes for row in found.firing)
    assert spikes == x[0].numel()  # all in the second timestep
    assert [row.kind for row in found.synaptic] == ["levels"] * 2
    assert [row.scale for row in found.synaptic] == pytest.approx([4 / 4 * 0.3] * 2)
    assert [row.acs for row in found.synaptic] == [0, 3 * spikes]
    scaling = [row for row in found.elementwise if row.role == "scaling"]
    assert sum(row.work.multiplications for row in scaling) == x.numel() + x.numel() // 4
    assert not any(row.folded for row in scaling)


def test_spikes_with_real_numbers_added_are_no_spikes() -> None:
    """A shortcut around the neurons makes what they send real, and the layer behind it is named."""
    x = torch.full((2, 3, 2, 4, 4), 0.6)
    assert observe(Scaled(skips=True), x, timesteps=2, batch_size=3).not_spike_driven == ["layer"]


def test_norms_are_folded_into_what_is_right_before() -> None:
    """With a bias there they vanish, without one their shift is left, and behind anything else all of them stays."""
    x = torch.rand(2, 3, 5, 5)
    size = x.numel()
    left = {
        Work(): nn.Sequential(nn.Conv2d(3, 3, 1, bias=True), nn.BatchNorm2d(3)),
        Work(additions=size): nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)),
        Work(additions=size, multiplications=size): nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    }
    for expected, layers in left.items():
        (norm,) = (row for row in observe(layers, x, strict=True).elementwise if row.role == "normalisation")
        assert (norm.work, norm.folded) == (Work(additions=size, multiplications=size), expected)


class StepByStep(nn.Module):
    """A layer that is called once a timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The layer on each of T parts."""
        return torch.stack([self.layer(part) for part in x.unbind(0)])


def test_layers_that_are_called_in_each_timestep() -> None:
    """Calls are timesteps, in order."""
    x = torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1).expand(3, 5, 4)
    found = observe(StepByStep(), x, timesteps=3, batch_size=5, content=SPIKES)
    assert [(row.timestep, row.acs) for row in found.synaptic] == [(0, 0), (1, 5 * 16), (2, 5 * 16)]
