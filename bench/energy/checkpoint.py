"""Weights from a file: a state_dict, as safetensors or as `torch.save` writes it. Nothing but tensors is read.

A case names the weights by the digest of their file, so that records of other weights are never taken for its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from revbench.bench.cases import Case
from revbench.bench.errors import ConfigError
from revbench.bench.records import PassName

SAFETENSORS_SUFFIX = ".safetensors"
PASSES_WITH_WEIGHTS: tuple[PassName, ...] = ("energy", "joules")
_SHOWN = 3


class CheckpointError(Exception):
    """Weights that cannot be loaded into the network of a case; the message is one sentence."""


def with_checkpoint(cases: Sequence[Case], passes: Sequence[PassName], path: Path) -> list[Case]:
    """The cases with the weights of a file, which replace their training; seeds, which only training needs, are one.

    Raises:
        ConfigError: no pass takes weights, the cases are of several models, or the file is no state_dict.
    """
    if not set(passes) & set(PASSES_WITH_WEIGHTS):
        raise ConfigError(
            f"--checkpoint is for the passes {' and '.join(PASSES_WITH_WEIGHTS)}, and this run has none of them; "
            "choose a suite with one, or add --set passes=energy"
        )
    models = list(dict.fromkeys(case.model for case in cases))
    if len(models) > 1:
        raise ConfigError(
            f"a checkpoint holds the weights of one model, and this run has {', '.join(models)}; "
            f"choose one, as in --set models={models[0]}"
        )
    digest = digest_of(path)
    read_checkpoint(path)
    return list(dict.fromkeys(replace(case, checkpoint=digest, seed=cases[0].seed) for case in cases))


def digest_of(path: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"cannot read the checkpoint {path}: {error.strerror}; check the path") from None


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a state_dict by name, on the CPU.

    Raises:
        ConfigError: the file is no state_dict.
    """
    found = _read_safetensors(path) if path.suffix == SAFETENSORS_SUFFIX else _read_torch(path)
    if not isinstance(found, dict):
        raise ConfigError(f"the checkpoint {path} holds a {type(found).__name__}; {_SAVE}")
    others = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    if others or not found:
        held = f"{_listed(others)} beside or instead of tensors" if others else "no tensors"
        raise ConfigError(f"the checkpoint {path} holds {held}; {_SAVE}")
    return found


def load_checkpoint(model: nn.Module, path: Path | None, digest: str) -> None:
    """Gives a network the weights of a file.

    Args:
        model: of the architecture that the weights were trained in.
        path: the file.
        digest: what the file must be.

    Raises:
        ConfigError: the file cannot be read.
        CheckpointError: it is not the file of that digest, or its tensors are not those of the network.
    """
    if path is None:
        raise CheckpointError(f"the case names a checkpoint, {digest}, but no file was given; use --checkpoint FILE")
    if (now := digest_of(path)) != digest:
        raise CheckpointError(f"the checkpoint {path} has the digest {now}, not {digest}: it changed; run again")
    found, wanted = read_checkpoint(path), model.state_dict()
    told = {
        "lacks": [name for name in wanted if name not in found],
        "has besides": [name for name in found if name not in wanted],
        "has another shape of": [
            f"{name} {list(found[name].shape)} for {list(wanted[name].shape)}"
            for name in wanted
            if name in found and found[name].shape != wanted[name].shape
        ],
        "is not finite in": [name for name, tensor in found.items() if not _is_finite(tensor)],
    }
    if faults := [f"{fault} {_listed(names)}" for fault, names in told.items() if names]:
        raise CheckpointError(f"the checkpoint {path} does not fit the network: it {'; it '.join(faults)}")
    model.load_state_dict(found)


_SAVE = "save model.state_dict() by itself"


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever the bytes are taken for
        raise ConfigError(
            f"the checkpoint {path} is no file of tensors that torch.load can read without running code in it "
            f"({type(error).__name__}); {_SAVE}"
        ) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415 - seldom needed
        from safetensors.torch import load_file  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"the checkpoint {path} needs safetensors; install it with pip install safetensors") from None
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"the checkpoint {path} is no safetensors file: {error}; save it anew") from None
    return tensors


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
