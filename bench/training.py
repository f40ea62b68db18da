"""From a case to a training step that can be run: model, rule, batch, optimizer."""

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.optim import SGD, AdamW, Optimizer

from revbench.bench.cases import Case, OptimizerName
from revbench.bench.errors import DivergedError
from revbench.models import registry
from revbench.models.data import Batch, synthetic_batch
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.rules import Rule, make_rule
from revbench.models.rules.losses import LOSSES


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that a training step needs."""

    case: Case
    model: SpikingNetwork
    rule: Rule
    batch: Batch
    optimizer: Optimizer

    def step(self) -> Tensor:
        """Runs one training step; returns the loss."""
        return self.rule.step(self.model, self.batch, self.optimizer)

    @torch.no_grad()
    def infer(self) -> None:
        """Runs the forward pass of one inference; the model should be in evaluation mode."""
        with self.rule.autocast(self.device):
            self.model(self.batch.inputs)

    def warm_up(self, num_steps: int) -> None:
        """Runs training steps that are not looked at.

        Raises:
            DivergedError: the loss is not finite; the message names the step.
        """
        for number in range(1, num_steps + 1):
            loss = self.step()
            # Fake tensors hold no numbers.
            if not isinstance(loss, FakeTensor) and not math.isfinite(loss):
                raise DivergedError(float(loss), number)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.batch.inputs.device


def world(case: Case) -> AbstractContextManager[object]:
    """The context in which a case is prepared and run: fake tensors for the device `fake`, else nothing."""
    if case.device == "fake":
        from revbench.bench.memory.fake import fake_world  # noqa: PLC0415 - slow to import, seldom needed

        return fake_world()
    return nullcontext()


def prepare(case: Case) -> Training:
    """Builds the training step of a case, seeded; call it inside `world(case)`."""
    _seed_all(case.seed)
    device = torch.device("cuda" if case.device == "cuda" else "cpu")
    dtype = torch.float64 if case.dtype == "float64" else torch.float32
    # Made where they stay: moving a fake module's parameters is not supported.
    with device, default_dtype(dtype):
        model = registry.build(
            case.model,
            timesteps=case.timesteps,
            depth=case.depth,
            width=case.width,
            activations=_own_activations(case),
            states=case.states,
        )
    batch = synthetic_batch(
        model.input_shape,
        batch_size=case.batch_size,
        timesteps=model.timesteps,
        num_classes=model.num_classes,
        dtype=dtype,
        device=device,
    )
    autocast_dtype = getattr(torch, case.dtype) if case.dtype in ("bfloat16", "float16") else None
    rule = make_rule(
        case.rule,
        autocast_dtype=autocast_dtype,
        criterion=LOSSES[case.loss] if case.loss else None,
        checkpointing=case.activations == "checkpointed",
    )
    rule.check(model)
    return Training(case, model, rule, batch, make_optimizer(case.optimizer, model.parameters()))


def _own_activations(case: Case) -> str | None:
    """What the model is told: checkpointing takes one that stores, if it can do otherwise."""
    if case.activations != "checkpointed":
        return case.activations
    return "stored" if registry.entry(case.model).reversible else None


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Floating point tensors made inside this block have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_optimizer(
    name: OptimizerName, parameters: Iterable[nn.Parameter], *, foreach: bool | None = None
) -> Optimizer:
    """The optimizer of that name, with the state that papers train with: momentum, or both moments.

    Args:
        name: which.
        parameters: what it updates.
        foreach: whether it takes all parameters in one call; None for torch's choice, which is no on the CPU and yes on
            CUDA.
    """
    if name == "sgd":
        return SGD(parameters, lr=0.01, momentum=0.9, foreach=foreach)
    return AdamW(parameters, lr=1e-3, foreach=foreach)


def num_parameters(model: nn.Module) -> int:
    """Trainable and frozen parameters, each once."""
    return sum(parameter.numel() for parameter in model.parameters())
