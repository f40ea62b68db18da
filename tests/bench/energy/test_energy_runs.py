"""`revbench run` of energies from end to end: lower bounds, `--strict`, `--checkpoint`, machines without a meter."""

import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from little_spiking import Little

from revbench.bench import command_run
from revbench.bench.energy.checkpoint import digest_of
from revbench.bench.records import Record
from revbench.bench.store import RECORDS_NAME, read_records

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[bytes]"]
ROOT = Path(command_run.__file__).parent.parent
PATIENCE_S = 180.0
BENCH_TOML = """
[suites.little]
title = "Little networks"
claim = "They spike."
passes = ["energy", "joules"]
models = ["little", "little_unknown"]
timesteps = 2
batch_size = 64
optimizer = "adamw"
"""


@pytest.fixture(scope="module")
def little_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path, is an installed plugin with the models of `little_spiking`."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(Path(__file__).parents[2] / "helpers" / "little_spiking.py", folder)
    (folder / "little_plugin.py").write_text("import little_spiking\nlittle_spiking.register_all()\n")
    about = folder / "little-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[revbench.plugins]\nlittle = little_plugin\n")
    return folder


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the suite."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "bench.toml").write_text(BENCH_TOML)
    return folder


@pytest.fixture(scope="module")
def command(little_plugin: Path, workplace: Path, start: Start) -> Callable[..., tuple[int, str]]:
    """Runs the suite on the CPU; exit code and what was printed, on one line."""

    def run(*arguments: object) -> tuple[int, str]:
        command = ("run", "-s", "little", "--device", "cpu", "--format", "svg", *arguments)
        process = start(little_plugin, *command, cwd=workplace, COLUMNS="140")
        code = process.wait(PATIENCE_S)
        return code, " ".join(f"{(workplace / 'out').read_text()} {(workplace / 'err').read_text()}".split())

    return run


def records(workplace: Path, run: str = "little") -> dict[tuple[str, str, str], Record]:
    """By model, pass and metric."""
    found = read_records(workplace / "runs" / run / RECORDS_NAME)
    return {(each.case.model, each.pass_name, each.metric): each for each in found}


@pytest.fixture(scope="module")
def finished(command: Callable[..., tuple[int, str]]) -> tuple[int, str]:
    """The suite, as it is."""
    return command()


def test_unknown_operators_make_a_lower_bound(finished: tuple[int, str], workplace: Path) -> None:
    """Which is said with the operator's name, in the table and in the records; the run is fine."""
    code, printed = finished
    assert code == 0
    assert "little_unknown (lower bound)" in printed
    assert "little_unknown: a lower bound, no rule counts aten.cumsum." in printed
    assert "Trained for 8 epochs on scikit-learn's digits" in printed
    found = records(workplace)
    assert found["little_unknown", "energy", "num_uncounted_operators"].detail == "aten.cumsum"
    assert "lower bound" in found["little_unknown", "energy", "acs"].detail
    assert found["little", "energy", "num_uncounted_operators"].value == 0
    assert found["little", "energy", "acs"].value
    assert (found["little", "energy", "test_accuracy"].value or 0) > 0.8


def test_tables_and_figures_are_written(finished: tuple[int, str], workplace: Path) -> None:
    """Parts and rates as CSV, rates and parts as figures; without a memory pass there is nothing to compare."""
    assert finished[0] == 0
    folder = workplace / "runs" / "little"
    names = {path.name for path in folder.iterdir()} - {"lock", "environment.json", "suite.json", "records.jsonl"}
    assert names == {
        *("records.csv", "little.csv", "little-energy.csv", "little-firing.csv"),
        *("little.svg", "little-parts.svg"),
    }
    with (folder / "little-firing.csv").open(newline="", encoding="utf-8") as file:
        rates = [(row["model"], row["name"], row["timestep"]) for row in csv.DictReader(file)]
    assert rates == [(model, "neuron", T) for model in ("little", "little_unknown") for T in "12"]


def test_a_machine_without_a_meter_is_no_failure(finished: tuple[int, str], workplace: Path) -> None:
    """The rows are unsupported and say why, never 0; where there is a meter, they have numbers."""
    rows = [each for (_, pass_name, _), each in records(workplace).items() if pass_name == "joules"]
    told = [each for each in rows if each.metric.endswith("_j")]
    assert len(told) == 8
    for row in told:
        if row.status == "unsupported":
            assert row.value is None
            assert len(row.detail) > 20
        else:
            assert row.value
    if any(row.status == "unsupported" for row in told):
        assert "Joules were not measured: " in finished[1]


def test_strict_runs_fail_on_lower_bounds(
    finished: tuple[int, str], command: Callable[..., tuple[int, str]], workplace: Path
) -> None:
    """What was a lower bound is counted again and becomes an error; what was counted whole stays."""
    before = records(workplace)
    code, printed = command("--strict")
    assert code == 3
    after = records(workplace)
    closing = after["little_unknown", "energy", "status"]
    assert (closing.status, closing.detail) == (
        "error",
        "no rule counts aten.cumsum; without --strict all counts are a lower bound",
    )
    assert ("little_unknown", "energy", "acs") not in after
    assert after["little", "energy", "acs"] == before["little", "energy", "acs"]
    assert "3 of 4 passes were measured before" in printed
    assert finished[0] == 0


@pytest.fixture
def weights(workplace: Path) -> Path:
    """A file with weights of a network that is silent."""
    network = Little(timesteps=2)
    path = workplace / "weights.pt"
    torch.save({name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}, path)
    return path


def test_a_checkpoint_replaces_the_training(
    command: Callable[..., tuple[int, str]], workplace: Path, weights: Path
) -> None:
    """The table names it, and silence is flagged by the layer's name."""
    arguments = ("--set", "models=little", "--set", "passes=energy", "--checkpoint", weights, "--out", "runs/weights")
    code, printed = command(*arguments)
    assert code == 0
    digest = digest_of(weights)
    assert f"Weights of the checkpoint {digest}, counted on scikit-learn's digits." in printed
    assert "little: silent, nothing fires in neuron." in printed
    assert "its rates mean little" in printed
    found = records(workplace, "weights")
    assert found["little", "energy", "status"].case.checkpoint == digest
    assert ("little", "energy", "num_epochs") not in found
    assert found["little", "energy", "acs"].value == 0


def test_options_that_make_no_sense(revbench: Command, workplace: Path, weights: Path) -> None:
    """One sentence, exit code 2, and nothing is measured."""
    suite = ("run", "-s", "energy", "--config", ROOT / "bench.toml", "--device", "cpu", "--out", workplace / "nothing")
    for arguments, message in (
        (("--checkpoint", "nowhere.pt", "--set", "models=vggbn"), "cannot read the checkpoint nowhere.pt"),
        (("--checkpoint", ROOT / "bench.toml", "--set", "models=vggbn"), "bench.toml is no file of tensors"),
        (("--checkpoint", weights), "and this run has msresnet, revsresnet, "),
        (("--checkpoint", weights, "--predict"), "--checkpoint is for the passes energy and joules"),
        (("--strict", "--set", "passes=memory"), "--strict is for the pass energy, and this run has none"),
    ):
        ended = revbench(*suite, *arguments)
        assert (ended.returncode, message in ended.stderr.replace("\n", " ")) == (2, True)
    assert not (workplace / "nothing").exists()
