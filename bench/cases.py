"""A case is one point of a suite: everything that identifies a training step to be measured, and nothing else."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

DType = Literal["float32", "float64", "bfloat16", "float16"]
Device = Literal["cpu", "cuda", "fake"]
Activations = Literal["recomputed", "stored", "checkpointed"]
States = Literal["stored", "coded", "inverted"]
LossName = Literal["mean_logits", "stepwise", "stepwise_mse", "stepwise_ones", "tet"]
OptimizerName = Literal["sgd", "adamw"]
DTYPES: tuple[str, ...] = get_args(DType)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training step to be measured.

    Attributes:
        model: a registered model (`revsresnet37`) or family (`revsresnet`), see `revbench list`.
        rule: how gradients are obtained, such as `bptt` or `sltt-2`.
        loss: of the logits of all timesteps, see `rules.losses`; None for the model's own.
        depth: blocks per stage, for families; None for models of a fixed size.
        width: channels of the first stage, for families; None for the model's own.
        activations: `recomputed` or `stored`, for reversible models; `checkpointed` (by PyTorch's activation
            checkpointing, block by block) for all; None for the model's own way.
        states: how the states of T-RevSNN survive to the backward pass: `stored`, `coded` or `inverted`; None for the
            model's own way.
        timesteps: simulation length T.
        batch_size: images per training step.
        dtype: float32 and float64 as they are; bfloat16 and float16 under autocast.
        optimizer: with the state that it keeps (SGD with momentum, AdamW).
        device: `cpu`, `cuda`, or `fake` (tensors without data: the memory pass is predicted).
        seed: of weights and input.
        checkpoint: digest of the file whose weights the energy passes take; None where they train the network.
    """

    model: str
    rule: str = "bptt"
    loss: LossName | None = None
    depth: int | None = None
    width: int | None = None
    activations: Activations | None = None
    states: States | None = None
    timesteps: int = 4
    batch_size: int = 1
    dtype: DType = "float32"
    optimizer: OptimizerName = "sgd"
    device: Device = "cpu"
    seed: int = 0
    checkpoint: str | None = None

    @cached_property
    def id(self) -> str:
        """The identity of the case: 16 hexadecimal digits of the SHA-256 of its fields, but for those that are None.

        So a field that a later version adds leaves the identity of the cases that do not use it.
        """
        said = {name: value for name, value in self.as_dict().items() if value is not None}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """The fields, in order."""
        return asdict(self)

    def label(self, names: Iterable[str] | None = None) -> str:
        """The case in one line for a person: `revsresnet depth=4 T=4 batch=8`.

        Args:
            names: the fields to tell beside the model; by default those that say something.
        """
        chosen = _TOLD if names is None else tuple(names)
        values = ((name, getattr(self, name)) for name in _TOLD if name in chosen)
        told = (_told(name, value) for name, value in values if names is not None or value != _USUAL.get(name))
        return " ".join((self.model, *filter(None, told)))


_SHORT = {"timesteps": "T", "batch_size": "batch"}
_TOLD = (
    "rule",
    "loss",
    "depth",
    "width",
    "activations",
    "states",
    "timesteps",
    "batch_size",
    "dtype",
    "optimizer",
    "seed",
    "checkpoint",
)
_USUAL: dict[str, object] = {"rule": "bptt", "dtype": "float32", "optimizer": "sgd", "seed": 0}


def _told(name: str, value: object) -> str:
    if value is None:
        return ""
    is_named = isinstance(value, int) or name == "checkpoint"
    return f"{_SHORT.get(name, name)}={value}" if is_named else str(value)


CASE_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Case))
