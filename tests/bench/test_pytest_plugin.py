"""The fixture `memory_budget`: its integers, what a failing test shows, and that it costs nothing if unused."""

import os
import random
import re
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from revbench.bench.cases import Case
from revbench.bench.gate.step import StepBytes, step_memory
from revbench.bench.memory.predict import predict_peak
from revbench.models.data import Batch
from revbench.models.networks.msresnet import msresnet
from revbench.models.rules import make_rule

CASE = Case(model="msresnet", depth=1, width=8, timesteps=2, batch_size=3, device="fake")
WIDTH = 8


class Net(nn.Module):
    """Two linear layers whose first output is saved for the backward pass."""

    input_shape = "1x4x4"
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, WIDTH)
        self.second = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        return self.second(self.first(x.flatten(1)).relu())


def plain_step(model: nn.Module, batch: Batch, optimizer: Optimizer) -> None:
    """A training step as anyone writes it."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch.inputs), batch.targets)
    loss.backward()
    optimizer.step()


def test_a_name_gives_what_is_predicted() -> None:
    """The integers of `revbench predict`, by kind and by holder; they add up."""
    found = step_memory("msresnet", "bptt", 3, timesteps=2, depth=1, width=8)
    predicted = predict_peak(CASE)
    assert found.peak_bytes == predicted.total_bytes
    assert found.by_kind == predicted.by_kind
    assert sum(found.by_holder.values()) == found.peak_bytes > found.activation_peak_bytes > 0


def test_a_module_a_function_and_a_name_agree() -> None:
    """Real tensors, fake ones of a function's module, and the name of the same network; weights stay as they are."""
    torch.manual_seed(1)
    made = msresnet([1, 1, 1, 1], timesteps=2, width=8)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    by_name = step_memory("msresnet", "sltt", 3, timesteps=2, depth=1, width=8)
    real = step_memory(made, "sltt", 3)
    function = step_memory(lambda: msresnet([1, 1, 1, 1], timesteps=2, width=8), make_rule("sltt"), 3)
    batch = step_memory(made, "sltt", (torch.zeros(3, 3, 32, 32), torch.zeros(3, dtype=torch.int64)))
    assert real.by_holder == function.by_holder == by_name.by_holder == batch.by_holder
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


def expected_peak(batch_size: int) -> dict[str, int]:
    """Of `Net` under SGD with momentum, counted by hand: the peak is where the backward pass has made most.

    At the end of the forward pass live: input, flattened view (none of its own), the first layer's output (replaced by
    relu's, which is saved), logits' log-softmax and its loss.
    """
    parameters = 4 * (16 * WIDTH + WIDTH + WIDTH * 10 + 10)
    return {"parameters": parameters, "optimizer_state": parameters, "inputs": batch_size * (4 * 16 + 8)}


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("batch_size", [1, 400])
def test_a_step_of_ones_own(made: bool, batch_size: int) -> None:
    """What a network holds in any case is as counted by hand; kinds are told apart as under a rule, to the byte."""
    model = Net() if made else Net
    own = step_memory(model, plain_step, batch_size)
    for kind, num_bytes in expected_peak(batch_size).items():
        assert own.by_kind[kind] == num_bytes
    rule = step_memory(model, "bptt", batch_size)
    assert own.by_kind == rule.by_kind
    assert own.highest["activation_peak_bytes"].phase == rule.highest["activation_peak_bytes"].phase
    assert own.by_kind["saved"] > 0 or batch_size == 1
    assert own.peak_bytes == rule.peak_bytes
    assert {"first", "second"} <= {holder.layer for holder in own.by_holder}


def test_optimizers_and_batches() -> None:
    """AdamW keeps two moments; an optimizer without momentum none; the shapes of a batch count."""
    parameters = expected_peak(1)["parameters"]
    assert step_memory(Net, "bptt", 1, optimizer="adamw").by_kind["optimizer_state"] == 2 * parameters + 4 * 4
    assert step_memory(Net, "bptt", 1, optimizer=lambda p: SGD(p, lr=0.1)).by_kind["optimizer_state"] == 0
    pair = torch.zeros(7, 1, 4, 4), torch.zeros(7, dtype=torch.int64)
    assert step_memory(Net, "bptt", pair).by_holder == step_memory(Net, "bptt", 7).by_holder
    assert step_memory(Net, "bptt", Batch(*pair)).by_holder == step_memory(Net(), "bptt", pair).by_holder
    few, more, many = (step_memory(Net, "bptt", number).peak_bytes for number in (40, 41, 42))
    assert many - more == more - few > 0


def test_chance_is_left_alone() -> None:
    """The numbers that follow are those that would have followed; the bytes of a rule that draws are the same."""
    torch.manual_seed(3)
    random.seed(3)
    expected = torch.rand(1).item(), random.random()
    torch.manual_seed(3)
    random.seed(3)
    found = [step_memory("vggsws", "sltt-1", 2, timesteps=4, depth=1, width=8) for _ in range(2)]
    assert (torch.rand(1).item(), random.random()) == expected
    assert found[0].by_holder == found[1].by_holder


class Depends(Net):
    """A network that looks at its numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        return super().forward(x) * (2 if x.sum() > 0 else 1)


def test_what_cannot_be_traced_says_so() -> None:
    """With a note on what to do, which works."""
    with pytest.raises(Exception, match="_local_scalar_dense") as raised:
        step_memory(Depends, "bptt", 2)
    assert raised.value.__notes__ == [
        "It was traced on tensors without numbers; a module that is made already has them."
    ]
    assert step_memory(Depends(), "bptt", 2).peak_bytes > 0
    with pytest.raises(NotImplementedError, match="rule bptt"):
        step_memory(Net, "sltt", 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3,), {}, TypeError, "a model is a name, an nn.Module or a function that makes one, not 3"),
        ((int,), {}, TypeError, "the function makes 0, not an nn.Module"),
        ((Net, "bptt", 0), {}, ValueError, "a batch has at least 1 image, not 0"),
        ((Net, "bptt", "3"), {}, TypeError, "a batch is a number of images, a Batch or "),
        ((Net, "bptt", (1, 2)), {}, TypeError, "a batch is a number of images, a Batch or "),
        ((Net, "bptt", 1), {"depth": 2}, TypeError, "depth cannot be chosen of a module of your own"),
        ((Net, "bptt", 1), {"input_shape": "3"}, Exception, "the input '3' is not of the form 3x32x32"),
        ((Net, "bbtt", 1), {}, Exception, "there is no rule 'bbtt'"),
        (("msresnett", "bptt", 1), {}, Exception, "there is no model 'msresnett'"),
    ],
)
def test_a_wrong_argument_is_a_sentence(
    arguments: tuple[object, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    """What it may be, and what it is."""
    with pytest.raises(error, match=message):
        step_memory(*arguments, **options)


def test_the_table_adds_up() -> None:
    """Its rows are the peak, also where some are put together; bytes stay integers."""
    found = step_memory(Net, "bptt", 5)
    for num_rows in (1, 3, 99):
        header, *rows, peak = found.table(num_rows).splitlines()
        assert header.split() == ["layer", "timestep", "kind", "bytes"]
        assert len(rows) == min(num_rows, len(found.by_holder)) + (num_rows < len(found.by_holder))
        numbers = [int(row.split()[-1].replace(",", "")) for row in rows]
        assert sum(numbers) == int(peak.split()[-1].replace(",", "")) == found.peak_bytes
    assert isinstance(found.peak_bytes, StepBytes)
    assert repr(found) == f"<training step of Net (bptt): peak {found.peak_bytes:,} B>"


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Pytest in a folder of its own, with the plugin as installed, else by name."""
    installed = any(point.name == "revbench" for point in entry_points(group="pytest11"))
    plugin = () if installed else ("-p", "revbench.bench.pytest_plugin")
    quiet = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *arguments]
    return subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, check=False, timeout=300)


def write_test(folder: Path, code: str) -> None:
    """A test file of a user."""
    (folder / "test_it.py").write_text(textwrap.dedent(code), encoding="utf-8")


def test_a_failing_assertion_shows_who_holds_the_bytes(tmp_path: Path) -> None:
    """The numbers, the layers, and the same of a limit on the other side; a test that holds passes."""
    write_test(
        tmp_path,
        """
        from torch import nn

        def build():
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.ReLU(), nn.Linear(64, 10))

        def test_fits(memory_budget):
            assert memory_budget(build, "bptt", batch=8).peak_bytes <= 10 * 2**20

        def test_does_not_fit(memory_budget):
            assert memory_budget(build, "bptt", batch=8).peak_bytes <= 1_000_000

        def test_neither(memory_budget):
            assert 1_000 > memory_budget(build, "bptt", batch=8).activation_peak_bytes

        def test_others_are_compared_as_ever():
            assert [1, 2] == [1, 3]
        """,
    )
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 1, done.stdout
    assert "3 failed, 1 passed" in done.stdout
    lines = [
        line.removeprefix("E").strip().removeprefix("AssertionError: ")
        for line in done.stdout.splitlines()
        if line.startswith("E ")
    ]
    first = lines.index("assert 2,468,288 <= 1,000,000 bytes")
    second = lines.index("assert 1,000 > 6,152 bytes")
    assert lines[first + 1] == lines[second + 1] == "<training step of Sequential (bptt): peak 2,468,288 B>"
    for start, num_bytes, metric in ((first, 2_468_288, "peak"), (second, 6_152, "activation peak")):
        assert lines[start + 2].split() == ["layer", "timestep", "kind", "bytes"]
        *rows, total = lines[start + 3 : start + 8]
        assert total.startswith(metric)
        assert sum(int(row.split()[-1].replace(",", "")) for row in rows) == num_bytes
        assert total.endswith(f" {num_bytes:,}")
    assert "truncated" not in done.stdout
    assert re.search(r"^E +module\.1 +all +parameters +786,688$", done.stdout, re.M)
    assert "At index 1 diff: 2 != 3" in done.stdout


def test_nothing_is_imported_where_it_is_not_used(tmp_path: Path) -> None:
    """A run of tests without the fixture loads the plugin and neither torch nor numpy."""
    write_test(
        tmp_path,
        """
        import sys

        def test_nothing(request):
            assert request.config.pluginmanager.has_plugin("revbench") or "revbench.bench.pytest_plugin" in sys.modules
            heavy = {"torch", "numpy", "pydantic", "rich.table", "revbench.bench.gate"} & set(sys.modules)
            assert heavy == set()
            assert 1.5 <= 2
        """,
    )
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
    assert "memory_budget [session scope]" in run_pytest(tmp_path, "--fixtures").stdout
