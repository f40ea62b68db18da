"""Weights from files: what is read, what is refused and in which words, and whose records are whose."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from little_spiking import Little
from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.energy.checkpoint import (
    CheckpointError,
    digest_of,
    load_checkpoint,
    read_checkpoint,
    with_checkpoint,
)
from revbench.bench.errors import ConfigError

Weights = dict[str, Tensor]
LITTLE = Case(model="little")


@pytest.fixture
def weights() -> Weights:
    """Of a network with every weight 0.5."""
    network = Little(timesteps=2)
    return {name: torch.full_like(tensor, 0.5) for name, tensor in network.state_dict().items()}


@pytest.fixture
def saved(tmp_path: Path, weights: Weights) -> Path:
    """The same in a file."""
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    return path


class Unpickled:
    """Something that is no tensor, and notes when it is built from a file."""

    was_built = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _build, ()


def _build() -> "Unpickled":
    Unpickled.was_built = True
    return Unpickled()


def test_a_file_of_torch_is_loaded(saved: Path) -> None:
    """Every parameter is that of the file."""
    network = Little(timesteps=2)
    load_checkpoint(network, saved, digest_of(saved))
    assert {float(value) for parameter in network.parameters() for value in parameter.detach().flatten()} == {0.5}


def test_a_safetensors_file_is_loaded(tmp_path: Path, weights: Weights) -> None:
    """By its suffix."""
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.safetensors"
    safetensors.save_file(weights, path)
    network = Little(timesteps=2)
    load_checkpoint(network, path, digest_of(path))
    assert bool((network.head.weight == 0.5).all())
    path.write_bytes(b"hello")
    with pytest.raises(ConfigError, match=r"weights\.safetensors is no safetensors file: .*; save it anew"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"head": torch.ones(1)}, "epoch": 3}, "holds model, epoch beside or instead of tensors; save model"),
        ({}, "holds no tensors; save model.state_dict"),
        ([torch.ones(1)], "holds a list; save model.state_dict"),
        (torch.ones(1), "holds a Tensor; save model.state_dict"),
        (Unpickled(), r"torch\.load can read without running code in it \(UnpicklingError\)"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    """In one sentence that names the file; nothing in it is run."""
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=message) as raised:
        read_checkpoint(path)
    assert str(raised.value).startswith(f"the checkpoint {path} ")
    assert "\n" not in str(raised.value)
    assert not Unpickled.was_built


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", bytes(1000)])
def test_bytes_that_are_nothing_are_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, a text, the beginning of an archive, zeros."""
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no file of tensors"):
        read_checkpoint(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The system's reason is told; so it is for a folder."""
    with pytest.raises(ConfigError, match=r"cannot read the checkpoint .*nowhere: No such file or directory; check"):
        digest_of(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="Is a directory"):
        digest_of(tmp_path)


def without_head(weights: Weights) -> Weights:
    """Half of the layers."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith("head")}


def of_another_shape(weights: Weights) -> Weights:
    """One layer of other sizes."""
    return {**weights, "head.weight": torch.ones(3, 3)}


def prefixed(weights: Weights) -> Weights:
    """As `DataParallel` names them."""
    return {f"module.{name}": tensor for name, tensor in weights.items()}


def not_finite(weights: Weights) -> Weights:
    """A number that is none."""
    return {**weights, "stem.bias": torch.full((32,), torch.nan)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_head, "it lacks head.weight, head.bias$"),
        (of_another_shape, r"it has another shape of head.weight \[3, 3\] for \[10, 32\]$"),
        (prefixed, "it lacks stem.weight, stem.bias, head.weight and 1 more; it has besides module.stem.weight, "),
        (not_finite, "it is not finite in stem.bias$"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, weights: Weights, change: Callable[[Weights], Weights], message: str
) -> None:
    """The layers are named, and the network keeps its weights."""
    path = tmp_path / "weights.pt"
    torch.save(change(weights), path)
    network = Little(timesteps=2)
    before = network.head.weight.detach().clone()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(network, path, digest_of(path))
    assert torch.equal(network.head.weight, before)


def test_a_file_that_changed_is_refused(saved: Path) -> None:
    """A case is about the weights that it was made for; so is one without a file."""
    with pytest.raises(CheckpointError, match=r"has the digest [0-9a-f]{16}, not 0123456789abcdef: it changed"):
        load_checkpoint(Little(timesteps=2), saved, "0123456789abcdef")
    with pytest.raises(CheckpointError, match="no file was given; use --checkpoint FILE"):
        load_checkpoint(Little(timesteps=2), None, "0123456789abcdef")


def test_weights_are_part_of_the_identity(saved: Path, weights: Weights) -> None:
    """Other weights are another case, the same in another place are not, and without any it is the case it was."""
    (first,) = with_checkpoint([LITTLE], ("energy",), saved)
    copy = saved.with_name("copy.pt")
    copy.write_bytes(saved.read_bytes())
    assert with_checkpoint([LITTLE], ("memory", "joules"), copy) == [first]
    torch.save({**weights, "head.bias": torch.zeros(10)}, copy)
    (other,) = with_checkpoint([LITTLE], ("energy",), copy)
    assert len({first.id, other.id, LITTLE.id}) == 3
    assert replace(first, checkpoint=None).id == LITTLE.id
    assert first.label() == f"little T=4 batch=1 checkpoint={digest_of(saved)}"


def test_seeds_are_one(saved: Path) -> None:
    """Only training needs several; other axes stay."""
    cases = [replace(LITTLE, timesteps=T, seed=seed) for seed in (3, 4) for T in (2, 4)]
    assert [(case.timesteps, case.seed) for case in with_checkpoint(cases, ("energy",), saved)] == [(2, 3), (4, 3)]


def test_one_model_and_a_pass_that_takes_weights(saved: Path) -> None:
    """Anything else is a mistake, told before anything is measured."""
    with pytest.raises(ConfigError, match="weights of one model, and this run has little, large; choose one, as in"):
        with_checkpoint([LITTLE, Case(model="large")], ("energy",), saved)
    with pytest.raises(ConfigError, match="--checkpoint is for the passes energy and joules"):
        with_checkpoint([LITTLE], ("memory", "time"), saved)
