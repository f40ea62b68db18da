"""`revbench explain` as a user types it: tables that add up, files, and sentences for everything that goes wrong."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from revbench.bench import command_explain
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.errors import CaseError, ConfigError
from revbench.bench.memory.explain import explain, shown_layers, write_snapshot
from revbench.bench.memory.one_case import another_case, one_case
from revbench.bench.memory.predict import predict_peak
from revbench.models import registry
from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.registry import ModelEntry

SMALL = ("explain", "-m", "revsresnet", "--depth", "1", "--width", "4", "-T", "2", "--batch-size", "2")


def cells(folder: Path) -> list[dict[str, str]]:
    with (folder / "peak-cells.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_case(revbench: Any, tmp_path: Path) -> None:
    """The table's peak is the predicted one, the CSV adds up to it, the figure is written."""
    done = revbench(*SMALL, "--out", tmp_path / "a" / "b", "--format", "svg")
    case = Case(model="revsresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")
    highest = predict_peak(case)
    assert done.returncode == 0, done.stderr
    assert f"revsresnet: peak {highest.total_bytes:,} B" in done.stdout
    found = cells(tmp_path / "a" / "b")
    assert sum(int(cell["bytes"]) for cell in found) == highest.total_bytes
    for kind, num_bytes in highest.by_kind.items():
        assert sum(int(cell["bytes"]) for cell in found if cell["kind"] == kind) == num_bytes
    assert {(cell["case_id"], cell["case"]) for cell in found} == {(case.id, case.label())}
    assert [path.name for path in sorted((tmp_path / "a" / "b").iterdir())] == ["live-bytes.svg", "peak-cells.csv"]


def test_the_page(revbench: Any, tmp_path: Path) -> None:
    """It comes by itself beside the figures, with the peak and, of two cases, the overlay."""
    done = revbench(*SMALL, "--against", "activations=stored", "--out", tmp_path / "asked", "--format", "html")
    assert (done.returncode, done.stderr) == (0, "")
    assert "explanation.html" in done.stdout
    page = (tmp_path / "asked" / "explanation.html").read_text(encoding="utf-8")
    case = Case(model="revsresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")
    assert f"peak {explain(case).peak_bytes:,} B" in page
    assert all(f'<figure id="{name}"' in page for name in ("peak-1", "peak-2", "overlay", "timeline-1", "timeline-2"))
    assert revbench(*SMALL, "--out", tmp_path / "default").returncode == 0
    assert {path.suffix for path in (tmp_path / "default").iterdir()} == {".csv", ".png", ".svg", ".html"}


def test_two_cases(revbench: Any, tmp_path: Path) -> None:
    """Both peaks, their difference, and the overlay."""
    done = revbench(*SMALL, "--against", "activations=stored", "--out", tmp_path, "--format", "png")
    assert done.returncode == 0, done.stderr
    own = Case(model="revsresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")
    peaks = [explain(case).peak_bytes for case in (own, Case(**{**own.as_dict(), "activations": "stored"}))]
    by_case: dict[str, int] = {}
    for cell in cells(tmp_path):
        by_case[cell["case_id"]] = by_case.get(cell["case_id"], 0) + int(cell["bytes"])
    assert list(by_case.values()) == peaks
    bold = [line.split() for line in done.stdout.splitlines() if line.startswith("peak ")]
    assert bold == [["peak", *(f"{n / 2**20:,.2f}" for n in peaks), f"{(peaks[1] - peaks[0]) / 2**20:+,.2f}"]] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"live-bytes.png", "overlay.png", "peak-cells.csv"}


def test_without_a_folder_nothing_is_written(revbench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the user is told what a folder would get."""
    monkeypatch.chdir(tmp_path)
    done = revbench(*SMALL)
    assert "--out FOLDER" in done.stdout
    assert not list(tmp_path.iterdir())


def test_real_and_fake_tensors_explain_the_same() -> None:
    """Cell by cell."""
    case = Case(model="trevsnn", depth=1, width=4, timesteps=2, batch_size=2)
    real, fake = explain(case), explain(Case(**{**case.as_dict(), "device": "fake"}))
    assert real.cells == fake.cells
    assert real.blocks == fake.blocks


def test_layers_as_they_are_shown() -> None:
    """By default blocks; or so many levels of the path; the network itself always by its name."""
    model = registry.build("revsresnet", depth=1, width=4, timesteps=2)
    layer = "stages.0.functions.1.first_convolution.0"
    assert shown_layers(model)[layer] == "stages.0.functions.1"
    assert shown_layers(model)["stages.0"] == "stages.0"
    assert shown_layers(model, 2)[layer] == "stages.0"
    assert shown_layers(model, 99)[layer] == layer
    assert shown_layers(model)["(network)"] == shown_layers(model, 1)["(network)"] == "(network)"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-m", "msresnet43"], "there is no model 'msresnet43'; did you mean 'msresnet34'?"),
        (["-m", "msresnet"], "the family 'msresnet' needs a depth; add one, as in --depth 2"),
        (["-m", "msresnet34", "--width", "3"], "the model 'msresnet34' has a fixed size and takes no width"),
        (["-m", "msresnet34", "--activations", "stored"], "is not reversible"),
        (["-m", "msresnet34", "--states", "coded"], "the model 'msresnet34' has no states"),
        (["-m", "msresnet34", "--rule", "bpttt"], "there is no rule 'bpttt'; did you mean 'bptt'?"),
        (["-m", "msresnet34", "--dtype", "float8"], 'dtype cannot be the string "float8"'),
        (["-m", "msresnet34", "-T", "0"], "timesteps must be greater than 0"),
        (["-m", "msresnet34", "--rows", "0"], "rows must be at least 1, not 0"),
        (["-m", "msresnet34", "--levels", "0"], "levels must be at least 1, not 0"),
        (["-m", "msresnet34", "--format", "gif"], "there is no format 'gif'; valid: html, pdf, png, svg"),
        (["-m", "msresnet34", "--device", "tpu"], "there is no device 'tpu'"),
        (["-m", "msresnet34", "--snapshot"], "it needs --device cuda and --out FOLDER"),
        (["-m", "msresnet34", "--against", "msresnet34"], "cannot be compared with itself"),
        (["-m", "msresnet34", "--against", "a,b"], "'a,b' is not MODEL, KEY=VALUE, or both"),
        (["-m", "msresnet34", "--against", ""], "'' is not MODEL, KEY=VALUE, or both"),
        (["-m", "msresnet34", "--against", "passes=time"], "a case has no 'passes' that can be chosen"),
        (["-m", "msresnet34", "--against", "revsresnet"], "the family 'revsresnet' needs a depth"),
        (["-m", "msresnet34", "--out", "/dev/null/x"], "cannot make the folder /dev/null/x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_answered_in_a_sentence(revbench: Any, arguments: list[str], sentence: str) -> None:
    """With exit code 2."""
    done = revbench("explain", *arguments)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert not done.stdout


def test_the_second_case_is_the_first_but_for_what_is_told() -> None:
    """What the other model does not have is left behind, unless it is asked for."""
    catalog = Catalog()
    case = one_case("revsresnet", {"depth": 2, "width": 8, "activations": "stored", "timesteps": 3}, "fake", catalog)
    assert another_case(case, "msresnet", catalog) == Case(
        model="msresnet", depth=2, width=8, timesteps=3, device="fake"
    )
    assert another_case(case, "msresnet34, rule=sltt", catalog) == Case(
        model="msresnet34", rule="sltt", timesteps=3, device="fake"
    )
    assert another_case(case, "depth=5", catalog).depth == 5
    assert another_case(case, "depth=5", catalog).activations == "stored"
    with pytest.raises(ConfigError, match="takes no depth"):
        another_case(case, "msresnet34,depth=2", catalog)


class Net(SpikingNetwork):
    """A linear layer, after which something happens that fake tensors may not survive."""

    deed: Any = None

    def __init__(self, *, timesteps: int) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=4, width=4)
        self.timesteps = timesteps
        self.num_classes = 10
        self.num_layers = self.num_blocks = 1
        self.head = nn.Linear(16, 10)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        logits: Tensor = self.head(x.flatten(1)).expand(self.timesteps, -1, -1)
        return type(self).deed(logits)  # type: ignore[no-any-return]


def branches(x: Tensor) -> Tensor:
    if x.sum() > 0:
        return x * 2
    return x


def selects(x: Tensor) -> Tensor:
    return x[x > 0]


def is_unknown(x: Tensor) -> Tensor:
    result: Tensor = torch.ops.revbench_test.unknown(x)
    return result


def mismatches(x: Tensor) -> Tensor:
    return x + torch.zeros(3)


def gives_up(x: Tensor) -> Tensor:
    raise ZeroDivisionError("by zero")


def branches_in_backward(x: Tensor) -> Tensor:
    x.register_hook(lambda grad: grad * 2 if grad.sum() > 0 else grad)
    return x * 1


LIBRARY = torch.library.Library("revbench_test", "FRAGMENT")
LIBRARY.define("unknown(Tensor x) -> Tensor")
LIBRARY.impl("unknown", lambda x: x.clone(), "CPU")


@pytest.mark.parametrize(
    ("deed", "operator", "line"),
    [
        (branches, "aten._local_scalar_dense.default", "if x.sum() > 0:"),
        (selects, "aten.index.Tensor", "return x[x > 0]"),
        (is_unknown, "revbench_test.unknown.default", "torch.ops.revbench_test.unknown(x)"),
        (mismatches, "aten.add.Tensor", "return x + torch.zeros(3)"),
        (branches_in_backward, "aten._local_scalar_dense.default", "grad * 2 if grad.sum() > 0"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_model_that_cannot_be_traced_names_operator_and_line(
    revbench: Any, monkeypatch: pytest.MonkeyPatch, deed: Any, operator: str, line: str
) -> None:
    """In one sentence, with exit code 3."""
    monkeypatch.setattr(Net, "deed", staticmethod(deed))
    monkeypatch.setitem(registry._entries, "net", ModelEntry(name="net", summary="", build=Net))
    done = revbench("explain", "-m", "net")
    said = " ".join(done.stderr.split())
    assert done.returncode == 3, said
    assert said.startswith("error: net T=4 batch=32 cannot be traced")
    assert operator in said
    assert "test_explain.py:" in said
    assert line in said
    assert "Traceback" not in said


def test_a_model_that_cannot_be_traced_can_be_run(revbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the sentence says."""
    monkeypatch.setattr(Net, "deed", staticmethod(branches))
    monkeypatch.setitem(registry._entries, "net", ModelEntry(name="net", summary="", build=Net))
    assert revbench("explain", "-m", "net", "--device", "cpu").returncode == 0


@pytest.mark.parametrize("device", [[], ["--device", "cpu"]])
def test_other_failures_of_a_model(revbench: Any, monkeypatch: pytest.MonkeyPatch, device: list[str]) -> None:
    """Its own errors, and rules that do not apply."""
    monkeypatch.setattr(Net, "deed", staticmethod(gives_up))
    monkeypatch.setitem(registry._entries, "net", ModelEntry(name="net", summary="", build=Net))
    done = revbench("explain", "-m", "net", *device)
    assert (done.returncode, done.stdout) == (3, "")
    assert "ZeroDivisionError: by zero (test_explain.py:" in " ".join(done.stderr.split())
    done = revbench("explain", "-m", "trevsnn_tiny", "--rule", "sltt", *device)
    assert done.returncode == 3
    assert "(unsupported): T-RevSNN has weights of its own" in " ".join(done.stderr.split())


def test_the_snapshot_is_of_one_step_and_recording_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PyTorch's recorder, played by the test, is switched off even if the step fails."""
    calls: list[Any] = []
    memory = torch.cuda.memory
    monkeypatch.setattr(memory, "_record_memory_history", lambda enabled="all", **_: calls.append(enabled))
    monkeypatch.setattr(memory, "_dump_snapshot", lambda path: calls.append(Path(path).name))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)

    class Step:
        device = torch.device("cpu")
        fails = False

        def step(self) -> None:
            calls.append("step")
            if self.fails:
                raise ZeroDivisionError

    step: Any = Step()
    write_snapshot(step, tmp_path / "snapshot.pickle")
    assert calls == ["all", "step", "snapshot.pickle", None]
    calls.clear()
    step.fails = True
    with pytest.raises(ZeroDivisionError):
        write_snapshot(step, tmp_path / "snapshot.pickle")
    assert calls == ["all", "step", None]


def test_an_error_of_the_second_case_is_its_own() -> None:
    """It names the case that failed."""
    request = command_explain.Request(
        model="revsresnet", choices={"depth": 1, "width": 4}, against="trevsnn_tiny,rule=sltt"
    )
    with pytest.raises(CaseError, match=r"^trevsnn_tiny sltt"):
        command_explain.show(request, Console(file=io.StringIO()))
