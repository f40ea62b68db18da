"""The memory of one training step of anyone's network, for tests: the fixture `memory_budget` of the pytest plugin."""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from revbench.bench.cases import OptimizerName
from revbench.bench.gate.announced import Step, announced
from revbench.bench.gate.reading import Highest, Holder, Metric, highest, no_collection
from revbench.bench.memory.attribute import Attributor
from revbench.bench.memory.explain import shown_layers
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.timeline import KINDS, StorageKind
from revbench.bench.memory.tracker import Tracker
from revbench.bench.training import make_optimizer
from revbench.models import registry, target
from revbench.models.data import Batch, synthetic_batch
from revbench.models.networks.outside import adapt, own_timesteps
from revbench.models.networks.spiking import CIFAR, InputShape, SpikingNetwork
from revbench.models.rules import Rule, make_rule

Model = str | nn.Module | Callable[[], nn.Module]
AnyBatch = int | Batch | tuple[Tensor, Tensor]
MakesOptimizer = Callable[[Any], Optimizer]
TIMESTEPS = 4
NUM_ROWS = 12


class StepBytes(int):
    """Bytes that know the training step that they are of, so that a failing assertion can tell who holds them."""

    step: "StepMemory"
    metric: Metric

    def table(self, num_rows: int = NUM_ROWS) -> str:
        """Who holds these bytes, the largest first; the rows add up to them."""
        highest = self.step.highest[self.metric]
        held = sorted(highest.by_holder.items(), key=lambda item: (-item[1], item[0]))
        rows = [(*holder[:2], holder.kind.replace("_", " "), number) for holder, number in held]
        if rest := rows[num_rows:]:
            rows = [*rows[:num_rows], (f"{len(rest)} more", "", "", sum(row[-1] for row in rest))]
        where = f"in {highest.phase}" if highest.phase else ""
        rows.append((self.metric.removesuffix("_bytes").replace("_", " "), "", where, highest.num_bytes))
        lines = [("layer", "timestep", "kind", "bytes"), *((*names, f"{number:,}") for *names, number in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        justified = (str.ljust, str.ljust, str.ljust, str.rjust)
        return "\n".join(
            "  ".join(put(word, width) for put, word, width in zip(justified, line, widths, strict=True)).rstrip()
            for line in lines
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class StepMemory:
    """The live bytes of one training step in steady state.

    Attributes:
        name: of the network and the rule.
        highest: the instant of each metric, with those who hold the bytes.
    """

    name: str
    highest: Mapping[Metric, Highest]

    @property
    def peak_bytes(self) -> StepBytes:
        """The largest sum of live storages."""
        return self._bytes("peak_bytes")

    @property
    def activation_peak_bytes(self) -> StepBytes:
        """That of what a batch costs beyond parameters, gradients, optimizer state, buffers and inputs."""
        return self._bytes("activation_peak_bytes")

    @property
    def by_kind(self) -> dict[StorageKind, int]:
        """The peak's parts by kind; they add up to it."""
        held = self.by_holder.items()
        return {kind: sum(number for holder, number in held if holder.kind == kind) for kind in KINDS}

    @property
    def by_holder(self) -> Mapping[Holder, int]:
        """The peak's parts by layer, timesteps and kind."""
        return self.highest["peak_bytes"].by_holder

    def table(self, num_rows: int = NUM_ROWS) -> str:
        """Who holds the bytes at the peak, the largest first; the rows add up to it."""
        return self.peak_bytes.table(num_rows)

    def __repr__(self) -> str:
        """One line."""
        return f"<training step of {self.name}: peak {self.peak_bytes:,} B>"

    def _bytes(self, metric: Metric) -> StepBytes:
        found = StepBytes(self.highest[metric].num_bytes)
        found.step, found.metric = self, metric
        return found


def step_memory(
    model: Model,
    rule: str | Rule | Step = "bptt",
    batch: AnyBatch = 1,
    *,
    timesteps: int | None = None,
    input_shape: str | InputShape | None = None,
    num_classes: int | None = None,
    optimizer: OptimizerName | MakesOptimizer = "sgd",
    **options: Any,
) -> StepMemory:
    """Looks at the second of two training steps.

    Args:
        model: what is trained. A function that makes a module, or a name of `revbench list`, is traced on fake tensors:
            nothing is computed and any size costs seconds. A module that is made already is copied and run on its own,
            real tensors on the CPU.
        rule: a name such as `bptt` or `sltt`, a `Rule`, or a function `step(model, batch, optimizer)` that runs a whole
            training step of yours, from clearing the gradients to the optimizer.
        batch: images of a synthetic batch; or a batch, or (inputs, targets), whose shapes and types count.
        timesteps: T; by default that of the inputs `[T, B, C, H, W]`, or the module's own `timesteps` or `T`, or 4.
        input_shape: of a synthetic batch, such as `3x32x32` or `Tx2x48x48`; by default the module's own `input_shape`,
            or 3x32x32.
        num_classes: by default the module's own `num_classes`, if it has one.
        optimizer: `sgd` (with momentum), `adamw`, or a function of the parameters.
        options: of a model by name: `depth`, `width`, `activations`, `states`.

    Raises:
        NotImplementedError: the rule does not apply to the network.
        TypeError: an argument is none of what it may be.
        ValueError: a batch without images.
    """
    is_made = isinstance(model, nn.Module)
    if not is_made and not isinstance(model, str) and not callable(model):
        raise TypeError(f"a model is a name, an nn.Module or a function that makes one, not {model!r}")
    with _own_randomness(), nullcontext() if is_made else fake_world(), no_collection():
        try:
            module = _module(model, timesteps, options)
            given = batch if isinstance(batch, int) else _given(batch, numbers=is_made)
            step, network, data = _prepared(module, rule, given, timesteps, input_shape, num_classes)
            parameters = module.parameters()
            updates = optimizer(parameters) if callable(optimizer) else make_optimizer(optimizer, parameters)
            step(network, data, updates)
            found = _looked_at(step, network, data, updates)
        except Exception as error:
            if not is_made and hasattr(error, "operator"):
                error.add_note("It was traced on tensors without numbers; a module that is made already has them.")
            raise
    return StepMemory(name=_name(model, module, rule), highest=found)


def _looked_at(step: Step, network: nn.Module, data: Batch, optimizer: Optimizer) -> dict[Metric, Highest]:
    attributor = Attributor(network)
    tracker = Tracker(network, optimizer, [data.inputs, data.targets], attributor)
    with tracker:
        step(network, data, optimizer)
    return highest(attributor.attribution(tracker.timeline()), shown_layers(network))


def _name(model: Model, module: nn.Module, rule: str | Rule | Step) -> str:
    named = model if isinstance(model, str) else type(module).__name__
    by = rule if isinstance(rule, str) else getattr(rule, "__name__", type(rule).__name__)
    return f"{named} ({by})"


def _module(model: Model, timesteps: int | None, options: dict[str, Any]) -> nn.Module:
    if isinstance(model, str):
        return registry.build(model, timesteps=timesteps or TIMESTEPS, **options)
    if options:
        raise TypeError(f"{', '.join(options)} cannot be chosen of a module of your own, only of a model by name")
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)  # its weights will be trained
    module = model()
    if not isinstance(module, nn.Module):
        raise TypeError(f"the function makes {module!r}, not an nn.Module")
    return module


def _prepared(
    module: nn.Module,
    rule: str | Rule | Step,
    batch: int | Batch,
    timesteps: int | None,
    input_shape: str | InputShape | None,
    num_classes: int | None,
) -> tuple[Step, nn.Module, Batch]:
    """What runs a step, the network that it runs, and the batch."""
    shape = _shape_of(batch.inputs) if isinstance(batch, Batch) else _told_shape(module, input_shape)
    if timesteps is None and isinstance(batch, Batch) and shape.kind == "events":
        timesteps = batch.inputs.shape[0]
    timesteps = timesteps or own_timesteps(module) or TIMESTEPS
    own_classes = getattr(module, "num_classes", None)
    num_classes = num_classes or (own_classes if type(own_classes) is int else None)
    data = batch if isinstance(batch, Batch) else _synthetic(batch, shape, timesteps, num_classes or 1, module)
    if callable(rule) and not isinstance(rule, Rule):
        return announced(rule), module, data
    network = module if isinstance(module, SpikingNetwork) else adapt(module, shape, timesteps, num_classes)
    chosen = rule if isinstance(rule, Rule) else make_rule(rule)
    return chosen.step, network, data  # type: ignore[return-value] # a rule takes networks of the suite alone


def _given(batch: AnyBatch, *, numbers: bool) -> Batch:
    """The batch; without numbers one of the same shapes and types."""
    pair = (batch.inputs, batch.targets) if isinstance(batch, Batch) else batch
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(each, Tensor) for each in pair):
        raise TypeError(f"a batch is a number of images, a Batch or (inputs, targets), not {batch!r}")
    return Batch(*(each if numbers else torch.empty(each.shape, dtype=each.dtype) for each in pair))


def _shape_of(inputs: Tensor) -> InputShape:
    """What a batch of inputs is: `[B, C, H, W]` or `[T, B, C, H, W]`; other forms are for steps of one's own."""
    *_, channels, height, width = (1, 1, *inputs.shape)[-3:]
    return InputShape(kind="events" if inputs.ndim == 5 else "images", channels=channels, height=height, width=width)


def _told_shape(module: nn.Module, told: str | InputShape | None) -> InputShape:
    shape = told or getattr(module, "input_shape", None) or CIFAR
    return target.parse_input(shape) if isinstance(shape, str) else shape


def _synthetic(batch: int, shape: InputShape, timesteps: int, num_classes: int, module: nn.Module) -> Batch:
    if type(batch) is not int or batch < 1:
        raise ValueError(f"a batch has at least 1 image, not {batch!r}")
    first = next(module.parameters(), None)
    dtype = torch.float32 if first is None or not first.is_floating_point() else first.dtype
    return synthetic_batch(shape, batch_size=batch, timesteps=timesteps, num_classes=num_classes, dtype=dtype)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """The same numbers every time inside this block, and outside of it those that would have come."""
    before, torch_before = random.getstate(), torch.random.get_rng_state()
    random.seed(0)
    torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        random.setstate(before)
        torch.random.set_rng_state(torch_before)
