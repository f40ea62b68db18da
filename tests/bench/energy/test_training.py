"""Training work against closed forms of the layers, against torch's counter over a real step, and by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.utils.flop_counter import FlopCounterMode

from revbench.bench.cases import Case
from revbench.bench.energy.training import TrainingWork, training_work, work_of_step
from revbench.bench.summary import Summary, summarise
from revbench.bench.training import Training, prepare, world
from revbench.models.data import Batch
from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.rules import make_rule

B = 2


def case(model: str, **fields: Any) -> Case:
    width = 16 if model in ("spikingformer", "revsformer", "sdt") else 8
    return Case(model=model, **{"depth": 1, "width": width, "timesteps": 3, "batch_size": B, **fields})


def summary_of(of: Case) -> Summary:
    with world(replace(of, device="fake")):
        return summarise(prepare(replace(of, device="fake")).model)


@pytest.mark.parametrize("model", ["msresnet", "revsresnet", "vggbn", "spikingresnet", "sdt", "revsformer", "trevsnn"])
def test_closed_forms(model: str) -> None:
    """Forward D, recomputed as the summary says, D for weights, and D for inputs of all that reads no image.

    The product of attention has gradients of its own order: five products over channels instead of two over tokens.
    """
    work, found = training_work(case(model)), summary_of(case(model))
    assert work.forward_macs == B * found.total.macs
    assert work.recomputed_macs == B * found.recomputed.macs
    layers = {layer.name: layer.own.macs for layer in found if layer.own.macs}
    attention = sum(macs for name, macs in layers.items() if name.endswith(("functions.0", "attention")))
    first = next(macs for name, macs in layers.items() if "stem" in name)
    assert work.weight_gradient_macs == work.forward_macs - B * attention
    if not attention:
        assert work.input_gradient_macs == work.forward_macs - B * first
    assert bool(attention) == (model == "revsformer")


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "msresnet"},
        {"model": "msresnet", "activations": "checkpointed"},
        {"model": "spikingformer"},
        {"model": "sdt", "dtype": "bfloat16"},
        {"model": "vggsws", "rule": "ottt_a"},
        {"model": "vggbn", "rule": "sltt", "optimizer": "adamw"},
        {"model": "vggbn", "rule": "sltt-2"},
        {"model": "revsresnet", "activations": "stored"},
        {"model": "annresnet"},
    ],
    ids=lambda fields: " ".join(fields.values()),
)
def test_torch_counts_as_many_over_a_real_step(fields: dict[str, Any]) -> None:
    """All multiply-accumulates of a step on real tensors, as `torch.utils.flop_counter` sees them."""
    of = case(**fields)
    training = prepare(of)
    with FlopCounterMode(display=False) as counter:
        training.step()
    assert training_work(of).macs == counter.get_total_flops() // 2 > 0


@pytest.mark.parametrize("model", ["revsresnet", "trevsnn", "revsformer"])
def test_recomputation_is_all_that_reversible_networks_add(model: str) -> None:
    """The same step with stored activations, and nothing evaluated again."""
    work, stored = training_work(case(model)), training_work(case(model, activations="stored"))
    assert stored.recomputed_macs == stored.recomputed_neuron_updates == stored.recomputed_elements == 0
    assert work.recomputed_macs > 0
    assert 0.1 < work.recomputed_share < 1 / 3
    for name in ("forward_macs", "input_gradient_macs", "weight_gradient_macs", "neuron_updates", "surrogate_updates"):
        assert getattr(work, name) == getattr(stored, name)


def test_rules_pay_for_what_they_do() -> None:
    """SLTT-K learns in K of T timesteps; OTTT updates a trace of each spiking input in all timesteps but the first."""
    full, few = training_work(case("vggbn", rule="sltt")), training_work(case("vggbn", rule="sltt-1"))
    assert 3 * few.surrogate_updates == full.surrogate_updates > 0
    assert few.neuron_updates == full.neuron_updates
    assert full.trace_updates == 0
    inputs = 8 * 32**2 + 16 * 16**2 + 32 * 8**2 + 64 * 4**2 + 64
    assert training_work(case("vggsws", rule="ottt_a")).trace_updates == B * (3 - 1) * inputs


def test_optimizers_differ_in_what_they_write() -> None:
    """SGD with momentum writes at least the parameters; AdamW its two moments too."""
    sgd, adamw = training_work(case("msresnet")), training_work(case("msresnet", optimizer="adamw"))
    parameters = summary_of(case("msresnet")).total.parameters
    assert parameters <= sgd.optimizer_elements < adamw.optimizer_elements
    assert replace(sgd, optimizer_elements=0) == replace(adamw, optimizer_elements=0)


class Grouped(SpikingNetwork):
    """A convolution in groups behind one that is not; torch's counter is wrong about its weight gradient."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=6, width=6)
        self.timesteps, self.num_classes, self.num_layers, self.num_blocks = 1, 8, 2, 0
        self.stem = nn.Conv2d(1, 8, 1, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, groups=groups, bias=False)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """`[1, B, K]`."""
        logits: torch.Tensor = self.grouped(self.stem(x)).mean((-2, -1)).unsqueeze(0)
        return logits


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_gradients_of_grouped_convolutions(groups: int) -> None:
    """Each gradient multiplies as often as the forward pass, in groups or not."""
    network = Grouped(groups)
    batch = Batch(torch.ones(B, 1, 6, 6), torch.zeros(B, dtype=torch.long))
    training = Training(case("grouped"), network, make_rule("bptt"), batch, SGD(network.parameters(), lr=0.1))
    stem, grouped = B * 8 * 36, B * 8 * (8 // groups) * 9 * 16
    work = work_of_step(training)
    assert (work.forward_macs, work.weight_gradient_macs) == (stem + grouped, stem + grouped)
    assert work.input_gradient_macs == grouped
    assert isinstance(work, TrainingWork)
