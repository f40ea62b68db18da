"""`revbench predict` as a user types it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.command_predict import forecast_of
from revbench.bench.memory import capacity
from revbench.bench.memory.cards import card_of
from revbench.bench.memory.history import replay
from revbench.bench.memory.predict import predict
from revbench.models import registry
from revbench.models.networks.spiking import CIFAR
from revbench.models.registry import ModelEntry

SMALL = ("predict", "-m", "msresnet", "--depth", "1", "--width", "4", "-T", "2", "--batch-size", "2")
CASE = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")


def test_tables(revbench: Any) -> None:
    """What is requested, allocated and reserved, in bytes; kinds and workspaces add up to what is requested."""
    done = revbench(*SMALL)
    assert done.returncode == 0, done.stderr
    prediction = predict(CASE)
    held = replay(prediction.history, 32 << 20)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["requested", f"{held.requested_bytes:,}", f"{held.requested_bytes / 2**20:,.2f}"] in lines
    assert ["allocated,", "in", "blocks", f"{held.allocated_bytes:,}", f"{held.allocated_bytes / 2**20:,.2f}"] in lines
    assert any(line[:3] == ["reserved,", "as", "simulated"] and f"{held.reserved_bytes:,}" in line for line in lines)
    begin = next(i for i, line in enumerate(lines) if line[:4] == ["requested", "at", "the", "peak"])
    rows = lines[begin + 2 : lines.index([], begin)]
    assert sum(int(row[-4].replace(",", "")) for row in rows) == held.requested_bytes
    said = " ".join(done.stdout.split())
    assert "cuBLAS keeps a workspace (2 handles of 33,554,432 B; not" in said
    assert said.count("unknown") == 3
    assert "per image: " in said
    assert "per block in each stage: " in said
    assert "fits" not in said


def test_json_says_the_same_as_the_functions(revbench: Any) -> None:
    """One object on standard output, and nothing else."""
    done = revbench(*SMALL, "--gpu", "60MiB", "--json")
    told = json.loads(done.stdout)
    prediction = predict(CASE)
    held = replay(prediction.history, 32 << 20)
    assert told["case"]["model"] == "msresnet"
    assert told["requested_bytes"] == held.requested_bytes
    assert told["tensors_bytes"] == prediction.peak.total_bytes == sum(told["peak_by_kind_bytes"].values())
    assert told["allocated_bytes"] == held.allocated_bytes
    assert told["reserved_bytes"]["simulated"] == held.reserved_bytes
    assert told["reserved_bytes"]["least"] <= held.reserved_bytes
    assert (told["input_shape"], told["torch"]) == ("3x32x32", torch.__version__)
    assert told["card"]["memory_bytes"] == 60 << 20
    assert told["along"]["batch_size"]["search_ended"] == "none"
    assert [row["num_bytes"] for row in told["workspaces"]] == [32 << 20, None, None, None]
    differences = told["differences_bytes"]
    bare = replay(prediction.history)
    assert differences["rounding"] + differences["unsplit"] == bare.allocated_bytes - bare.requested_bytes


def test_a_card(revbench: Any) -> None:
    """Whether it fits, and the largest that does along every axis, with what was searched."""
    done = revbench(*SMALL, "--gpu", "rtx4090", "--batch-size", "20000")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "It fits: NVIDIA GeForce RTX 4090 has 25,757,220,864 B in all (RLinf/RLinf#255" in said
    assert "The driver's context and what is unknown above are not counted." in said
    assert "2 handles of 8,519,680 B" in said
    for name in ("batch", "T", "depth"):
        assert f"Largest {name} with " in said


def test_what_does_not_fit_says_so(revbench: Any) -> None:
    """And a smaller batch that does is found."""
    done = revbench(*SMALL, "--batch-size", "4000", "--gpu", "1GB")
    said = " ".join(done.stdout.split())
    assert "It does not fit: 1GB has 1,000,000,000 B in all" in said
    found = int(said.partition("Largest batch with T=2, depth 1: ")[2].split(";")[0].replace(",", ""))
    assert 100 < found < 4000
    for batch_size, fits in ((found, True), (found + 1, False)):
        history = predict(replace(CASE, batch_size=batch_size)).history
        assert capacity._need(history, 32 << 20, 10**9).fits is fits


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "msresnet43"], "there is no model 'msresnet43'; did you mean"),
        (["-m", "msresnet"], "the family 'msresnet' needs a depth"),
        (["-m", "msresnet18", "--gpu", "rtx5000"], "there is no card 'rtx5000'"),
        (["-m", "msresnet18", "--gpu", "24"], "it is no amount such as 24GB"),
        (["-m", "msresnet18", "--input", "3x3x3"], "the model 'msresnet18' has an input of its own"),
        (["-m", "msresnet18", "--dtype", "int8"], 'dtype cannot be the string "int8"'),
        (["-m", "nosuch.module:net"], "there is no module 'nosuch'"),
    ],
)
def test_what_cannot_be_used_is_answered_in_a_sentence(revbench: Any, arguments: list[str], sentence: str) -> None:
    """With exit code 2."""
    done = revbench("predict", *arguments)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert not done.stdout


def write_net(folder: Path, forward: str) -> None:
    """A module of one's own, `mine.py`, whose forward pass ends with this line."""
    (folder / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.head = nn.Linear(3 * 8 * 8, 5)\n"
        "        self.kept = torch.zeros(1000)\n\n"
        "    def forward(self, x):\n        y = self.head(x.flatten(1))\n"
        f"        {forward}\n\n\n"
        "def build():\n    return Net()\n"
    )


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        (
            "return y * 2 if y.sum() > 0 else y",
            "aten._local_scalar_dense.default, called at mine.py:13 (return y * 2 if",
        ),
        ("return y[y > 0]", "aten.index.Tensor, called at mine.py:13 (return y[y > 0])"),
        ("return [y]", "the module returns a list, not a tensor of logits"),
        ("return y[:1]", "the logits have shape [1, 5], not [T, B, K] or [B, K] with B = 32"),
        ("raise ValueError('too bad')", "ValueError: too bad (mine.py:13)"),
    ],
)
def test_a_module_of_ones_own_that_fails(
    revbench: Any, command: str, forward: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names the operator and the line, with exit code 3."""
    _in_folder(tmp_path, monkeypatch)
    write_net(tmp_path, forward)
    done = revbench(command, "-m", "mine:build", "--input", "3x8x8")
    assert (done.returncode, done.stdout) == (3, "")
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_module_of_ones_own(revbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command takes it, and says what input was used; tensors that are no buffers count as well."""
    _in_folder(tmp_path, monkeypatch)
    write_net(tmp_path, "return y + self.kept.sum()")
    done = revbench("predict", "-m", "mine:build", "--input", "3x8x8", "--gpu", "24GB")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "mine:build@3x8x8: " in said
    assert "input 3x8x8" in said
    assert "kept elsewhere 4,000" in said
    assert "per timestep: 0 B" in said
    assert "Largest T with batch 32: any" in said
    assert "input 3x8x8" in revbench("explain", "-m", "mine:build", "--input", "3x8x8").stdout
    assert "[1, 3, 8, 8]" in revbench("summary", "mine:build", "--input", "3x8x8").stdout


def _in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)


def test_an_axis_that_cannot_be_traced_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""

    def build(*, timesteps: int, depth: int) -> Any:
        if depth > 2:
            raise ValueError("no more than two blocks")
        return registry.build("msresnet", depth=depth, width=4, timesteps=timesteps)

    monkeypatch.setattr(capacity, "SEARCH_S", 1.0)
    monkeypatch.setitem(registry._entries, "shallow", ModelEntry(name="shallow", summary="", build=build, family=True))
    forecast = forecast_of(replace(CASE, model="shallow", width=None), card_of("100MB"), Catalog())
    assert forecast.along["depth"].growth is None
    assert "no more than two blocks" in forecast.along["depth"].reason
    assert forecast.along["batch_size"].growth is not None
    json.dumps(forecast.as_dict())


def test_the_history_reaches_from_the_building_to_the_second_step() -> None:
    """Parameters are born before anything else; the live bytes at the end are those with which the step began."""
    prediction = predict(CASE)
    history = prediction.history
    live = np.cumsum(history.delta_bytes)
    network = registry.build("msresnet", depth=1, width=4, timesteps=2)
    assert history.delta_bytes[0] == next(network.parameters()).nbytes
    assert live[-1] == live[history.step_begin - 1]
    assert int(live[history.step_begin - 1 :].max()) == prediction.peak.total_bytes
    assert prediction.num_parameters == sum(p.numel() for p in network.parameters())
    assert prediction.input_shape == str(CIFAR)


def test_a_model_may_be_an_nn_module_with_a_plain_loop() -> None:
    """Built by hand, through the same door."""
    assert isinstance(registry.build("torch.nn:Identity", timesteps=1), nn.Module)
