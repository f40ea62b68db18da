"""The rule BPTT against a training step written down, and what it announces."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models import annotations, registry
from revbench.models.data import Batch, synthetic_batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules import BPTT, make_rule

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMIZERS: list[MakeOptimizer] = [
    lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
]


class Probe(nn.Module):
    """A linear read-out of three timesteps that notes the precision it computes in."""

    loss = SpikingNetwork.loss
    criterion = None

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)
        self.dtypes: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[3, B, 5]`."""
        logits = torch.stack([self.layer(x * (t + 1)) for t in range(3)])
        self.dtypes.append(logits.dtype)
        return logits


def probe_batch() -> Batch:
    """Input of the probe."""
    return Batch(torch.randn(6, 4), torch.randint(5, (6,)))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Plain SGD."""
    return torch.optim.SGD(model.parameters(), lr=0.1)


def network_and_batch(name: str) -> tuple[SpikingNetwork, Batch]:
    """A small network and what it reads."""
    network = registry.build(name, timesteps=2, depth=1, width=8)
    return network, synthetic_batch(network.input_shape, batch_size=2, timesteps=2, num_classes=10)


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", ["msresnet", "revsresnet"])
def test_a_step_is_the_one_written_down(name: str, make_optimizer: MakeOptimizer) -> None:
    """Loss, gradients, statistics and weights after two steps are those of the step in plain torch, to the bit."""
    model, batch = network_and_batch(name)
    twin = copy.deepcopy(model)
    optimizer, twin_optimizer = make_optimizer(model), make_optimizer(twin)
    for _ in range(2):
        loss = BPTT().step(model, batch, optimizer)
        twin_optimizer.zero_grad()
        expected = F.cross_entropy(twin(batch.inputs).mean(0), batch.targets)
        expected.backward()
        twin_optimizer.step()
        assert torch.equal(loss, expected)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True))
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        assert torch.equal(parameter.grad, other.grad)


def test_the_loss_is_that_of_the_mean_over_timesteps() -> None:
    """The loss is the cross entropy of the logits' mean over time, not the mean of the losses."""
    model, batch = Probe(), probe_batch()
    logits = model(batch.inputs).detach()
    loss = BPTT().step(model, batch, sgd(model))
    assert torch.equal(loss, F.cross_entropy(logits.mean(0), batch.targets))
    assert not torch.allclose(loss, torch.stack([F.cross_entropy(each, batch.targets) for each in logits]).mean())


def test_the_loss_is_detached() -> None:
    """The loss that is handed out keeps no graph alive."""
    model = Probe()
    loss = BPTT().step(model, probe_batch(), sgd(model))
    assert loss.grad_fn is None
    assert not loss.requires_grad
    assert loss.shape == ()


def test_gradients_found_are_cleared() -> None:
    """Gradients from before the step do not count, and those of the step are left."""
    model, batch = Probe(), probe_batch()
    twin = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    BPTT().step(model, batch, sgd(model))
    BPTT().step(twin, batch, sgd(twin))
    for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert parameter.grad is not None
        assert other.grad is not None
        assert torch.equal(parameter.grad, other.grad)
        assert parameter.grad.any()


def test_gradients_found_are_freed_before_the_forward_pass() -> None:
    """During the forward pass no old gradient takes memory."""
    model, batch = Probe(), probe_batch()
    optimizer = sgd(model)
    BPTT().step(model, batch, optimizer)
    seen: list[bool] = []
    model.register_forward_pre_hook(lambda *_: seen.append(all(p.grad is None for p in model.parameters())))
    BPTT().step(model, batch, optimizer)
    assert seen == [True]


def test_phases_are_announced_in_order() -> None:
    """Listeners hear forward, backward and optimizer begin and end, with each part inside its phase."""
    model, batch = Probe(), probe_batch()
    heard: list[object] = []
    model.register_forward_hook(lambda *_: heard.append("model"))
    model.layer.weight.register_hook(lambda _: heard.append("gradient"))
    optimizer = sgd(model)
    optimizer.register_step_post_hook(lambda *_: heard.append("update"))
    with annotations.listening(lambda name, begins: heard.append((name, begins))):
        BPTT().step(model, batch, optimizer)
    assert heard == [
        *(("forward", True), "model", ("forward", False)),
        *(("backward", True), "gradient", ("backward", False)),
        *(("optimizer", True), "update", ("optimizer", False)),
    ]


def test_nobody_is_told_after_listening() -> None:
    """Outside the block a listener hears nothing, and a phase that fails is ended for those inside it."""
    model = Probe()
    heard: list[tuple[str, bool]] = []
    with annotations.listening(lambda name, begins: heard.append((name, begins))), pytest.raises(RuntimeError):
        BPTT().step(model, Batch(torch.randn(6, 3), torch.zeros(6, dtype=torch.long)), sgd(model))
    BPTT().step(model, probe_batch(), sgd(model))
    assert heard == [("forward", True), ("forward", False)]


@pytest.mark.parametrize(
    ("autocast_dtype", "expected"),
    [(None, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float16)],
    ids=str,
)
def test_the_forward_pass_runs_in_the_autocast_dtype(autocast_dtype: torch.dtype | None, expected: torch.dtype) -> None:
    """The model runs under autocast to the dtype asked for; weights, gradients and loss stay float32."""
    model = Probe()
    loss = BPTT(autocast_dtype=autocast_dtype).step(model, probe_batch(), sgd(model))
    assert model.dtypes == [expected]
    assert loss.dtype == torch.float32
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


def test_backward_runs_outside_autocast() -> None:
    """Autocast is for the forward pass: neither backward nor the optimizer runs under it."""
    model = Probe()
    enabled: list[bool] = []
    model.layer.weight.register_hook(lambda _: enabled.append(torch.is_autocast_enabled("cpu")))
    optimizer = sgd(model)
    optimizer.register_step_pre_hook(lambda *_: enabled.append(torch.is_autocast_enabled("cpu")))
    BPTT(autocast_dtype=torch.bfloat16).step(model, probe_batch(), optimizer)
    assert enabled == [False, False]


def test_a_surrounding_autocast_does_not_leak_in() -> None:
    """Without an autocast dtype the step runs in the tensors' own precision wherever it is called."""
    model = Probe()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        BPTT().step(model, probe_batch(), sgd(model))
    assert model.dtypes == [torch.float32]


@pytest.mark.parametrize("name", ["revsresnet", "revsresnet_event"])
def test_a_step_under_autocast_recomputes_what_it_stored(name: str) -> None:
    """A reversible network under autocast trains with the gradients of its stored form, to a rounding of bfloat16."""
    found: list[Tensor] = []
    for activations in ("recomputed", "stored"):
        torch.manual_seed(0)
        network = registry.build(name, timesteps=2, depth=1, width=8, activations=activations)
        batch = synthetic_batch(network.input_shape, batch_size=2, timesteps=2, num_classes=10)
        BPTT(autocast_dtype=torch.bfloat16).step(network, batch, sgd(network))
        found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert found[0].shape == found[1].shape
    assert float((found[0] - found[1]).norm()) <= 2**-8 * float(found[1].norm())


def test_bptt_is_known_by_its_name() -> None:
    """`bptt` is how a case names this rule."""
    assert make_rule("bptt") == BPTT()
