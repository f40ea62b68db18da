"""Where storages are born, on small networks whose every tensor is known, and on the networks themselves."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from revbench.bench.cases import Case
from revbench.bench.memory.attribute import Attributor
from revbench.bench.memory.measure import attribute, trace
from revbench.bench.memory.places import Attribution, Place, cells_at, cells_at_peak
from revbench.bench.memory.timeline import KINDS, Timeline
from revbench.bench.memory.tracker import Tracker
from revbench.bench.training import prepare, world
from revbench.models import annotations
from revbench.models.networks.standardised import StandardisedConv2d

KB = 1024
SIDE = 16
"""A square float32 matrix of this side is 1 KiB."""


class Double(nn.Module):
    """Two new matrices forwards and two backwards, the last of them by the first node."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sigmoid().exp()


class Weight(nn.Module):
    """A product with a matrix, from either side."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(SIDE))

    def forward(self, x: Tensor) -> Tensor:
        """`[SIDE, SIDE]`."""
        return x @ self.weight


class Repeats(nn.Module):
    """Calls a layer with parameters several times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.weight = Weight()

    def forward(self, x: Tensor) -> Tensor:
        """`[SIDE, SIDE]`."""
        for _ in range(self.times):
            x = self.weight(x)
        return x


class Loops(nn.Module):
    """Calls its layers once a timestep, one of which has a loop of its own; and others before, once and twice."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.before = Double()
        self.weight = Weight()
        self.step = nn.Sequential(Double())
        self.repeats = Repeats(timesteps)
        self.twice = Double()

    def forward(self, x: Tensor) -> Tensor:
        """The sum over time."""
        x = self.twice(self.twice(self.before(x)))
        return torch.stack([self.step(self.repeats(self.weight(x))).sum() for _ in range(self.timesteps)]).sum()


def attributed(model: nn.Module, run: Callable[[Tensor], Tensor] | None = None) -> Attribution:
    """Forward, loss and backward of a model over one matrix."""
    x = torch.zeros(SIDE, SIDE, requires_grad=True)
    attributor = Attributor(model)
    optimizer = torch.optim.SGD(list(model.parameters()) or [x], lr=0.1, momentum=0.9)
    with Tracker(model, optimizer, [x], attributor) as tracker:
        with annotations.phase("forward"):
            loss = (run or model)(x).sum()
        with annotations.phase("backward"):
            loss.backward()
        with annotations.phase("optimizer"):
            optimizer.step()
    return attributor.attribution(tracker.timeline())


def births(found: Attribution, **wanted: str) -> list[Place]:
    """The places of all storages of a matrix or more that are as wanted, in the order of birth."""
    changes = zip(found.timeline.storage_of[::-1], found.timeline.delta_bytes[::-1], strict=True)
    at_birth = {int(storage): int(delta) for storage, delta in changes}
    everywhere = [found.places[index] for storage, index in enumerate(found.place_of) if at_birth[storage] >= KB]
    return [place for place in everywhere if all(getattr(place, key) == value for key, value in wanted.items())]


def test_the_innermost_module_that_runs_forwards_and_backwards() -> None:
    """Two layers, one of them inside another: results of each belong to it, gradients to the layer that they pass."""
    found = attributed(nn.Sequential(Double(), nn.Sequential(Double())))
    for layer in ("0", "1.0"):
        assert len(births(found, layer=layer, phase="forward")) == 2
        assert len(births(found, layer=layer, phase="backward")) == 2
    assert {place.layer for place in births(found)} == {"0", "1.0", "(no layer)"}
    assert [place.phase for place in births(found, layer="(no layer)")] == ["before", "optimizer"]


def test_the_networks_own_code_and_what_is_outside() -> None:
    """A network without parts is its own layer; input and loss belong to none."""
    found = attributed(Double())
    assert len(births(found, layer="(network)", phase="forward")) == 2
    assert len(births(found, layer="(network)", phase="backward")) == 2
    assert births(found, layer="(no layer)")[0] == Place("(no layer)", "all", "before")


def test_gradients_and_optimizer_state_belong_to_the_layer_of_the_parameter() -> None:
    """Whatever node or optimizer made them; parameters and buffers too, those of the network itself as well."""

    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(Weight())
            self.own = nn.Parameter(torch.ones(SIDE, SIDE))
            self.register_buffer("memory", torch.ones(SIDE, SIDE))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x @ self.own) + self.memory

    found = attributed(Owner())
    end = cells_at(found, len(found.timeline.delta_bytes))
    held = {(cell.kind, cell.place.layer): cell.num_bytes for cell in end if cell.num_bytes >= KB}
    for kind in ("parameters", "gradients", "optimizer_state"):
        assert (held[kind, "inner.0"], held[kind, "(network)"]) == (KB, KB)
    assert held["buffers", "(network)"] == KB
    phases = {cell.kind: cell.place.phase for cell in end if cell.place.layer == "inner.0"}
    assert phases == {"parameters": "before", "gradients": "backward", "optimizer_state": "optimizer"}


def test_a_parameter_of_two_layers_belongs_to_the_first() -> None:
    """With its gradient and its state."""
    model = nn.Sequential(Weight(), Weight())
    model[1].weight = model[0].weight
    end = cells_at(found := attributed(model), len(found.timeline.delta_bytes))
    owned = {cell.kind: cell.place.layer for cell in end if cell.num_bytes >= KB}
    assert [owned[kind] for kind in ("parameters", "gradients", "optimizer_state")] == ["0"] * 3


def test_backward_passes_run_in_one_thread() -> None:
    """Since every thread numbers the nodes of the graph for itself."""
    seen: list[bool] = []

    def run(x: Tensor) -> Tensor:
        seen.append(torch.autograd.is_multithreading_enabled())  # type: ignore[attr-defined]
        return x.exp()

    attributed(nn.Sequential(Double()), run)
    assert seen == [False]
    assert torch.autograd.is_multithreading_enabled()  # type: ignore[attr-defined]


@pytest.mark.parametrize("timesteps", [3, 4])
def test_a_loop_over_time_inside_the_model(timesteps: int) -> None:
    """The k-th call of a layer is timestep k, forwards and backwards and for all inside; what is before it is not."""
    found = attributed(Loops(timesteps))
    for t in range(1, timesteps + 1):
        assert len(births(found, layer="step.0", timesteps=str(t), phase="forward")) == 2
        assert len(births(found, layer="step.0", timesteps=str(t), phase="backward")) == 2
        assert len(births(found, layer="weight", timesteps=str(t), phase="forward")) == 1
    inner = [place.timesteps for place in births(found, layer="repeats.weight", phase="forward")]
    assert inner == [str(t) for t in range(1, timesteps + 1) for _ in range(timesteps)]
    assert {place.timesteps for place in births(found, layer="before")} == {"all"}
    assert {place.timesteps for place in births(found, layer="twice")} == {"all"}


def test_calls_that_are_no_loop_over_time() -> None:
    """A layer without parameters that is called T times says nothing, nor a single timestep."""
    weightless = Loops(2)
    weightless.weight = weightless.repeats = nn.Identity()  # type: ignore[assignment]
    for model in (weightless, Loops(1)):
        assert {place.timesteps for place in births(attributed(model))} == {"all"}


def test_a_model_that_is_called_once_a_timestep() -> None:
    """By a rule that does not say so: the calls of the whole model are the timesteps."""
    model = nn.Sequential(Weight(), Double())
    model.timesteps = 2  # type: ignore[assignment]
    found = attributed(model, lambda x: model(x) + model(x + 1))
    for t in ("1", "2"):
        assert len(births(found, layer="1", timesteps=t, phase="forward")) == 2
        assert len(births(found, layer="1", timesteps=t, phase="backward")) == 2


def test_declared_timesteps_count_before_all_else() -> None:
    """One timestep, some, or all of them; in the backward pass those of the forward pass."""
    model = nn.Sequential(Double(), Weight())
    model.timesteps = 4  # type: ignore[assignment]

    def run(x: Tensor) -> Tensor:
        total = torch.zeros(())
        for part in (range(1), range(1, 3), range(4)):
            with annotations.timesteps(part):
                total = total + model(x).sum()
        return total

    found = attributed(model, run)
    for phase in ("forward", "backward"):
        seen = [place.timesteps for place in births(found, layer="0", phase=phase)]
        assert set(seen) == {"1", "2-3", "all"}
    assert annotations.current_timesteps() is None


def test_a_second_evaluation_belongs_to_the_layers_that_it_evaluates() -> None:
    """PyTorch's checkpointing, within a loop over time: same layers and timesteps, born in the backward pass."""

    class Checkpointed(nn.Module):
        timesteps = 3

        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(Weight(), Double())

        def forward(self, x: Tensor) -> Tensor:
            states = [checkpoint(self.block, x, use_reentrant=False).sum() for _ in range(3)]
            return torch.stack(states)

    found = attributed(Checkpointed())
    for t in ("1", "2", "3"):
        assert len(births(found, layer="block.1", timesteps=t, phase="forward")) == 2
        # Evaluated once more, and the gradients.
        assert len(births(found, layer="block.1", timesteps=t, phase="backward")) == 4


def test_an_error_inside_leaves_nothing_behind() -> None:
    """Hooks are gone, and the calls that the error ended do not stay innermost."""

    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError

    model = nn.Sequential(Double(), Fails())

    def run(x: Tensor) -> Tensor:
        with pytest.raises(ZeroDivisionError):
            model(x)
        return x.exp()

    found = attributed(model, run)
    assert len(births(found, layer="1")) == 0
    assert len(births(found, layer="(no layer)", phase="forward")) == 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.autograd.is_multithreading_enabled()  # type: ignore[attr-defined]


SMALL = Case(model="msresnet", depth=1, width=4, timesteps=4, batch_size=2, device="fake")
REVERSIBLE = replace(SMALL, model="revsresnet")
TREVSNN = replace(SMALL, model="trevsnn")
CASES = [
    SMALL,
    replace(SMALL, device="cpu"),
    REVERSIBLE,
    replace(REVERSIBLE, device="cpu", optimizer="adamw"),
    replace(SMALL, activations="checkpointed"),
    replace(SMALL, rule="sltt-2"),
    replace(REVERSIBLE, rule="tbptt-2"),
    replace(SMALL, model="nfresnet", rule="ottt_o"),
    TREVSNN,
    replace(TREVSNN, activations="stored"),
    replace(TREVSNN, states="inverted", dtype="bfloat16"),
    replace(SMALL, model="revsformer", width=32),
]


@cache
def both(case: Case) -> tuple[Attribution, Timeline]:
    """The step with places, and the next one, which draws the same timesteps, without."""
    with world(case):
        training = prepare(case)
        training.warm_up(1)
        random.seed(0)
        found = attribute(training)
        random.seed(0)
        return found, trace(training)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.label()} {case.device}")
def test_places_change_nothing_and_add_up(case: Case) -> None:
    """The timeline is the same, change by change, and the cells of the peak add up to it."""
    found, plain = both(case)
    for name in ("storage_of", "delta_bytes", "kind_of"):
        assert np.array_equal(getattr(found.timeline, name), getattr(plain, name))
    assert found.timeline.phase_ends == plain.phase_ends
    assert len(found.place_of) == len(found.timeline.kind_of)
    assert sum(cell.num_bytes for cell in cells_at_peak(found)) == plain.live_bytes().max()
    assert all(cell.num_bytes > 0 for cell in cells_at_peak(found))


def bytes_by(found: Attribution, what: str) -> dict[str, int]:
    """What is born in forward and backward passes, in bytes, by a field of its place."""
    born: dict[str, int] = {}
    seen = set()
    for storage, delta in zip(found.timeline.storage_of, found.timeline.delta_bytes, strict=True):
        place = found.places[found.place_of[storage]]
        if storage not in seen and place.phase in ("forward", "backward"):
            key = getattr(place, what)
            born[key] = born.get(key, 0) + int(delta)
        seen.add(storage)
    return born


def test_weights_that_a_rule_standardises_once_belong_to_their_layers() -> None:
    """The standardised weights of all convolutions, saved until the backward pass, and no byte of them outside."""
    found, _ = both(replace(SMALL, model="nfresnet", rule="ottt_o"))
    model = prepare(replace(SMALL, model="nfresnet", rule="ottt_o", device="cpu")).model
    layers = {path: m for path, m in model.named_modules() if isinstance(m, StandardisedConv2d)}
    saved = {cell.place.layer: cell.num_bytes for cell in cells_at_peak(found) if cell.kind == "saved"}
    smallest = min(layer.weight.numel() * layer.weight.element_size() for layer in layers.values())
    # The last convolution's is used up where the peak is, in its backward pass.
    assert len(layers) > 5
    assert [path for path in layers if saved.get(path, 0) < smallest] == list(layers)[-1:]
    assert saved["(no layer)"] < smallest


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.label()} {case.device}")
def test_nearly_all_has_a_layer(case: Case) -> None:
    """Outside the layers are the loss and what the network does itself."""
    by_layer = bytes_by(both(case)[0], "layer")
    outside = by_layer.get("(no layer)", 0) + by_layer.get("(network)", 0)
    assert outside < 0.15 * sum(by_layer.values())


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (SMALL, {"all"}),
        # Each function is evaluated twice.
        (replace(REVERSIBLE, timesteps=2), {"all"}),
        (replace(SMALL, rule="sltt"), {"all", "1", "2", "3", "4"}),
        (replace(SMALL, rule="tbptt-2"), {"all", "1-2", "3-4"}),
        (TREVSNN, {"all", "1", "2", "3", "4"}),
        (replace(TREVSNN, activations="stored"), {"all", "1", "2", "3", "4"}),
    ],
    ids=["bptt", "reversible", "sltt", "tbptt-2", "trevsnn", "trevsnn stored"],
)
def test_timesteps_of_rules_and_of_columns(case: Case, expected: set[str]) -> None:
    """Rules that go step by step and T-RevSNN's columns are told apart; each timestep has about its share."""
    born = bytes_by(both(case)[0], "timesteps")
    assert born.keys() == expected
    single = [num_bytes for label, num_bytes in born.items() if label != "all"]
    assert not single or min(single) > 0.5 * max(single)
    assert not single or sum(single) > 0.5 * sum(born.values())


def test_gradients_belong_to_no_timestep() -> None:
    """Those that one timestep begins and others add to."""
    found, _ = both(replace(SMALL, rule="sltt"))
    end = cells_at(found, len(found.timeline.delta_bytes))
    assert {cell.place.timesteps for cell in end if cell.kind == "gradients"} == {"all"}


def test_recomputation_belongs_to_the_function_that_is_recomputed() -> None:
    """And restored streams to the sequence."""
    found, _ = both(REVERSIBLE)
    index = KINDS.index("recomputation")
    layers = {
        found.places[place].layer
        for place, kind in zip(found.place_of, found.timeline.kind_of, strict=True)
        if kind == index and found.places[place].phase == "backward"
    }
    assert layers
    assert all(".functions." in layer for layer in layers)
