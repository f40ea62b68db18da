"""What existing counters get wrong, one probe a test; the numbers are those that a person finds by hand.

The probes are those of three published tools (syops-counter 0.0.5, NeuroBench 2.3.0, SpikingJelly's counters), each of
which gave a wrong number without a word on several of them. Where a number depended on a random input, a brute-force
count replaces it.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.bench.energy.content import EVENTS, IMAGES, SPIKES, Content
from revbench.bench.energy.counts import Observation, Work
from revbench.bench.energy.observe import UncountedError, observe
from revbench.bench.energy.operators import RULES, Call, state_of
from revbench.bench.memory.fake import fake_world
from revbench.bench.summary import summarise
from revbench.models import registry
from revbench.models.neurons import IF, LIF


class Spikes(nn.Module):
    """Says that it is a layer of neurons, and returns what it is given."""

    is_spiking = True

    def forward(self, x: Tensor) -> Tensor:
        """The input."""
        return x


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """What the function returns."""
        return self.function(x)


def spikes(*shape: int, rate: float = 0.1) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < rate).float()


def counted(module: nn.Module, x: Tensor, content: Content = SPIKES, *, timesteps: int = 1) -> Observation:
    return observe(module, x, content=content, timesteps=timesteps, strict=True)


CONVOLUTIONS = {
    "padding": lambda: nn.Conv2d(8, 16, 3, padding=1, bias=False),
    "stride": lambda: nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
    "dilation": lambda: nn.Conv2d(8, 16, 3, padding=2, dilation=2, bias=False),
    "groups": lambda: nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(8, 16, 2, stride=2, bias=False),
    "same padding": lambda: nn.Conv2d(8, 16, 3, padding="same", bias=False),
    "circular padding": lambda: nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular", bias=False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_at_borders_and_strides(name: str) -> None:
    """Padding, stride, dilation, groups, transposition: the accumulations that a kernel of ones counts."""
    layer, x = CONVOLUTIONS[name](), spikes(3, 8, 11, 10)
    nn.init.ones_(layer.weight)
    found = counted(layer, x)
    assert found.acs == found.sops == int(layer(x).sum()) > 0
    assert found.macs == 0


def test_time_in_front_of_the_batch() -> None:
    """`[T, B, ...]`: 256 accumulations an image for T = 4, 64 in each timestep, not a quarter of that."""
    x = torch.ones(4, 16, 8)
    found = counted(nn.Linear(8, 8, bias=False), x.flatten(0, 1), timesteps=4)
    assert (found.batch_size, found.acs // found.batch_size) == (16, 256)
    assert [(row.timestep, row.acs) for row in found.synaptic] == [(t, 64 * 16) for t in range(4)]


def test_layers_of_other_classes_count() -> None:
    """A subclass that takes `[T, B, C, H, W]`, as SpikingJelly's layers, and a bare layer without a network around."""

    class SequenceConvolution(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    x = spikes(2, 3, 4, 5, 5)
    layer = SequenceConvolution(4, 4, 1, bias=False)
    assert observe(layer, x, timesteps=2, batch_size=3, content=SPIKES).acs == 4 * int(x.sum()) > 0
    assert counted(nn.Linear(8, 8, bias=False), torch.ones(1, 8), IMAGES).macs == 64


def test_functional_attention_counts() -> None:
    """Products by `@` or by one operator: 320 multiply-accumulates of the layer, and 400 of both products."""
    layer = nn.Linear(8, 8, bias=False)
    forms: list[Callable[[Tensor], Tensor]] = [
        lambda y: y @ y.transpose(-2, -1) @ y,
        lambda y: F.scaled_dot_product_attention(y, y, y),
    ]
    for form in forms:
        x = torch.rand(1, 5, 8) + 0.5
        found = counted(nn.Sequential(layer, Applied(form)), x, IMAGES)
        assert (found.dense_macs, found.macs, found.acs) == (720, 720, 0)


def test_attention_of_spikes_adds() -> None:
    """Pairs of spikes that meet, and then the levels that they came to, added where the other operand spikes."""
    s = spikes(2, 6, 5, rate=0.4)
    scores = s @ s.transpose(-2, -1)
    found = counted(Applied(lambda y: y @ y.transpose(-2, -1) @ y), s)
    first = int(scores.sum())
    second = int(((scores != 0).float() @ s).sum())
    assert (found.acs, found.macs, found.dense_macs) == (first + second, 0, 2 * 2 * 6 * 6 * 5)


def test_recurrent_layers_and_fused_attention_count() -> None:
    """5120 multiply-accumulates of an LSTM, 11840 of attention, also where one operator would hide all of it."""
    x = torch.rand(2, 5, 8) + 0.5
    lstm = nn.LSTM(8, 8, batch_first=True)
    assert counted(lstm, x, IMAGES).dense_macs == 5120
    attention = nn.MultiheadAttention(16, 2, batch_first=True)

    class SelfAttention(nn.Module):
        def __init__(self, needs_weights: bool) -> None:
            super().__init__()
            self.attention = attention
            self.needs_weights = needs_weights

        def forward(self, y: Tensor) -> Tensor:
            attended: Tensor = self.attention(y, y, y, need_weights=self.needs_weights)[0]
            return attended

    x = torch.rand(2, 5, 16) + 0.5
    for needs_weights in (True, False):
        assert counted(SelfAttention(needs_weights), x, IMAGES).dense_macs == 11840


@pytest.mark.parametrize(
    ("values", "kind", "accumulations"),
    [([0, 1, 2, 0], "levels", 12), ([-1, 0, 1, 0], "levels", 8), ([0, 0.5, 0.5, 0], "spikes", 8)],
    ids=["integers", "ternary", "scaled"],
)
def test_spikes_of_other_values(values: list[float], kind: str, accumulations: int) -> None:
    """An integer level counts as that many additions; a sign and one common scale cost nothing more."""
    scale = 0.5 if 0.5 in values else 1.0
    found = counted(
        nn.Linear(4, 4, bias=False), torch.tensor([values], dtype=torch.float32), Content(kind="spikes", scale=scale)
    )
    assert (found.synaptic[0].kind, found.acs, found.macs) == (kind, accumulations, 0)
    assert found.synaptic[0].events == 2


def test_real_numbers_that_look_like_spikes_are_real() -> None:
    """All ones, all zeros, weights of zero: what decides is what the input is declared to be."""
    layer = nn.Linear(8, 8, bias=False)
    ones, zeros = counted(layer, torch.ones(4, 8), IMAGES), counted(layer, torch.zeros(4, 8), IMAGES)
    assert (ones.macs, ones.acs, ones.synaptic[0].kind) == (4 * 64, 0, "real")
    assert (zeros.macs, zeros.acs, zeros.dense_macs, zeros.synaptic[0].kind) == (0, 0, 4 * 64, "real")
    nn.init.zeros_(layer.weight)
    assert counted(layer, torch.rand(4, 8) + 0.5, IMAGES).macs == 4 * 64


def test_neurons_leak_add_compare_and_reset() -> None:
    """One multiplication a neuron and timestep for the leak; the reset costs only neurons that spike."""
    x = torch.full((4, 3, 10), 0.7)
    leaky = observe(LIF(decay_input=False, v_reset=None), x, timesteps=4, batch_size=3)
    spikes_fired = sum(row.spikes for row in leaky.firing)
    assert spikes_fired > 0
    updates = 4 * 3 * 10
    assert leaky.neuron_work == Work(multiplications=updates, additions=updates + spikes_fired, comparisons=updates)
    hard = observe(IF(), x, timesteps=4, batch_size=3)
    fired = sum(row.spikes for row in hard.firing)
    assert hard.neuron_work == Work(additions=updates, comparisons=updates + fired)


def test_an_addition_of_spikes_counts_alike_in_place() -> None:
    """Three additions, where neither operand is zero, however it is written."""
    a = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    for add in (lambda y: y + y.clone(), lambda y: y.clone().add_(y), lambda y: torch.add(y, y)):
        assert counted(Applied(add), a).elementwise_work(folded=False) == Work(additions=3)


def test_a_bias_is_added_in_every_row() -> None:
    """72 operations an image of a linear layer of 8 by 8: 64 and 8."""
    found = counted(nn.Linear(8, 8), torch.rand(16, 8) + 0.5, IMAGES)
    assert (found.macs + found.elementwise_work(folded=True).additions) / found.batch_size == 72


def test_half_precision_counts_are_exact() -> None:
    """1803, which a sum in bfloat16 rounds to 1800."""
    x = torch.zeros(1, 2048, dtype=torch.bfloat16)
    x[:, :1803] = 1
    found = counted(nn.Linear(2048, 1, bias=False, dtype=torch.bfloat16), x)
    assert (found.acs, found.synaptic[0].events) == (1803, 1803)


def test_children_of_the_same_name_are_three_layers() -> None:
    """Three blocks, each with neurons called `act`."""
    blocks = nn.Sequential(*(nn.Sequential() for _ in range(3)))
    for block in blocks:
        block.add_module("act", LIF())
    found = observe(blocks, torch.rand(2, 1, 4), timesteps=2, batch_size=1)
    assert list(dict.fromkeys(row.layer for row in found.firing)) == ["0.act", "1.act", "2.act"]


def test_batch_norm_of_other_devices_counts_alike() -> None:
    """The operators that CUDA and ROCm have for it are in the table, with the work of the CPU's."""
    x, ones = torch.rand(2, 3, 4, 4), torch.ones(3)
    aten = torch.ops.aten
    effects = []
    for packet in (aten.native_batch_norm, aten.cudnn_batch_norm, aten.miopen_batch_norm):
        assert state_of(packet) == "counted"
        arguments = (x, ones, ones, ones, ones, False, 0.1, 1e-5)
        effects.append(RULES[packet](Call(packet.default, arguments, {}, lambda y: IMAGES if y is x else None)))
    assert effects[0] == effects[1] == effects[2]
    assert effects[0].work == Work(additions=x.numel(), multiplications=x.numel())


def test_fake_tensors_are_refused_and_dense_counts_are_there() -> None:
    """Without values there is nothing to count; the summary has dense operations of any size."""
    with fake_world():
        network = registry.build("msresnet18", timesteps=4)
        with pytest.raises(NotImplementedError, match="hold no values"):
            observe(network, torch.zeros(1, 3, 32, 32))
        assert summarise(network).total.macs > 0


def test_what_cannot_be_counted_is_said() -> None:
    """An operator that no rule knows makes a lower bound with its name, and an error in strict mode; never a zero."""
    module = nn.Sequential(nn.Linear(4, 4, bias=False), Applied(torch.special.i0))
    found = observe(module, torch.ones(2, 4))
    assert (found.is_lower_bound, found.unknown) == (True, {"aten.i0": 1})
    assert found.macs == 2 * 16
    with pytest.raises(UncountedError, match=r"i0, called in 1"):
        counted(module, torch.ones(2, 4), IMAGES)


def test_a_failure_is_an_error() -> None:
    """What the network raises is not replaced by a number."""

    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        counted(Applied(fail), torch.ones(1, 4))


def test_event_frames_are_levels() -> None:
    """Counts of events are added as often as they say; frames that hold no integers are multiplied."""
    layer = nn.Conv2d(2, 4, 1, bias=False)
    frames = torch.tensor([3.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0]).view(1, 2, 2, 2)
    found = counted(layer, frames, EVENTS)
    assert (found.acs, found.sops, found.macs) == (24, 12, 0)
    assert counted(layer, frames * 0.3, EVENTS).macs == 12
