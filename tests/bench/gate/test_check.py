"""`revbench baseline write` and `revbench check` as users meet them."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import torch
from torch import Tensor

from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.config import load_config
from revbench.bench.gate.baseline import read_baseline, write
from revbench.bench.suites import expand
from revbench.models import registry
from revbench.models.networks import msresnet

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[3]
BENCH_TOML = """
[suites.small]
title = "Small"
claim = "Nothing grows."
models = ["msresnet", "vggsws", "annresnet"]
rule = ["bptt", "sltt"]
depth = 1
width = 8
timesteps = 2
batch_size = 2

[suites.none]
title = "None"
claim = "Nothing is supported."
models = "annresnet"
rule = "sltt"
depth = 1
width = 8
"""
EXTRA_BYTES = 4_000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suites above."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "bench.toml").write_text(BENCH_TOML, encoding="utf-8")
    return folder


@pytest.fixture
def place(written: Path, revbench: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder as working directory, with a baseline; nothing says that this is GitHub."""
    monkeypatch.chdir(written)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    if not (written / "baseline.json").exists():
        done = revbench("baseline", "write", "--suite", "small")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "baseline.json: 6 cases, 1 of them unsupported, as a case may be\n"
    return written


@pytest.fixture
def hoarding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third block of MS-ResNet keeps a tensor alive that it did not keep before."""
    forward = msresnet.MSResNet.logits

    def logits(self: msresnet.MSResNet, x: Tensor) -> Tensor:
        found = forward(self, x)
        block = self.blocks[2]
        if not hasattr(block, "hooked"):
            block.hooked = block.register_forward_hook(lambda *_: setattr(block, "kept", torch.zeros(1_000)))
            found = forward(self, x)
        return found

    monkeypatch.setattr(msresnet.MSResNet, "logits", logits)


@pytest.mark.usefixtures("place")
def test_the_same_code_is_fine(revbench: Command) -> None:
    """Exit code 0, and nothing to be told."""
    done = revbench("check", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "6 cases: 6 as in the baseline.\n"


@pytest.mark.usefixtures("place", "hoarding")
def test_a_tensor_that_is_kept_is_named(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 and layer, timestep, kind and bytes, on every channel; cases that are as before are not blamed."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n", encoding="utf-8")
    done = revbench("check", "--junit", "out/check.xml", "--markdown", "out/check.md")
    assert (done.returncode, done.stderr) == (1, "")
    blamed = re.findall(r"^blocks\.2 +(\S+) +saved +[\d,]+ +[\d,]+ +\+([\d,]+)$", done.stdout, re.M)
    assert sorted(blamed) == [("2", "4,000"), ("all", "4,000")]
    assert "6 cases: 2 regressions, 4 as in the baseline." in done.stdout
    annotated = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert len(annotated) == 2
    assert all("%0Ablocks.2  " in line and "file=baseline.json,line=1," in line for line in annotated)
    failures = Xml.parse("out/check.xml").getroot().findall(".//failure")
    assert len(failures) == 2
    assert all(f"+{EXTRA_BYTES:,}" in (failure.text or "") for failure in failures)
    markdown = Path("out/check.md").read_text(encoding="utf-8")
    assert markdown.count("| blocks.2 | ") == 2
    assert Path("summary.md").read_text(encoding="utf-8") == "before\n" + markdown
    assert "::error" not in revbench("check", "--no-github").stdout


def test_improvements(place: Path, revbench: Command) -> None:
    """Less than the baseline, and a pair that is supported now: exit code 0, with `--strict` 5, and what to type."""
    baseline = read_baseline(place / "baseline.json")
    case = baseline.readings[0].case
    later = place / "later.json"
    readings = [
        type(reading)(case=reading.case, status="unsupported") if reading.case == case else reading
        for reading in baseline.readings
    ]
    write(type(baseline)(testbed=baseline.testbed, readings=readings, command=baseline.command), later)
    done = revbench("check", "--baseline", later)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert told[0].startswith("improvement ")
    assert told[0].endswith("is supported now")
    assert told[1:] == [
        "6 cases: 1 improvement, 5 as in the baseline.",
        "Record what is less, so that it stays: revbench baseline write --suite small --out baseline.json",
    ]
    assert revbench("check", "--baseline", later, "--strict").returncode == 5


@pytest.mark.usefixtures("place")
def test_a_case_that_fails_does_not_end_the_others(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3 for a model that is gone, or refuses now; a regression beside it is still a regression."""
    entries = dict(registry.entries())
    del entries["annresnet"]
    monkeypatch.setattr(registry, "_entries", entries)
    done = revbench("check")
    assert done.returncode == 3
    assert done.stdout.count("FAILED annresnet ") == 2
    assert ": there is no model 'annresnet'; known: " in done.stdout
    assert "6 cases: 2 failed cases, 4 as in the baseline." in done.stdout

    def refuse(*_: object) -> Tensor:
        raise NotImplementedError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(type(registry.build("vggsws", timesteps=2, depth=1, width=8)), "logits", refuse)
        done = revbench("check", "--only", "vggsws")
    assert done.returncode == 3
    assert done.stdout.count("is unsupported now: not today") == 2


@pytest.mark.usefixtures("place", "hoarding")
def test_a_regression_is_not_hidden_by_a_failed_case(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told; the exit code is that of the regression."""
    entries = dict(registry.entries())
    del entries["annresnet"]
    monkeypatch.setattr(registry, "_entries", entries)
    done = revbench("check")
    assert done.returncode == 1
    assert "6 cases: 2 regressions, 2 failed cases, 2 as in the baseline." in done.stdout


@pytest.mark.usefixtures("place")
def test_another_torch_is_not_compared_in_silence(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4 and why, on every channel; with `--across-versions` it is compared, and said to be."""
    monkeypatch.setattr(torch, "__version__", "9.9.0+cpu")
    done = revbench("check", "--github", "--junit", "none.xml", "--markdown", "none.md")
    assert (done.returncode, done.stderr) == (4, "")
    assert re.match(
        r"nothing was compared: baseline\.json was written elsewhere \(torch \S+ -> 9\.9\.0\); ", done.stdout
    )
    assert "--across-versions" in done.stdout
    assert "::error file=baseline.json,line=1,title=nothing was compared::" in done.stdout
    assert Xml.parse("none.xml").getroot()[0].get("tests") == "0"
    assert "9.9.0" in Path("none.md").read_text(encoding="utf-8")
    across = revbench("check", "--across-versions")
    assert across.returncode == 0
    assert re.match(r"The baseline was written elsewhere: torch \S+ -> 9\.9\.0\.\n6 cases: 6 as in ", across.stdout)


@pytest.mark.usefixtures("place")
def test_the_build_of_torch_decides_nothing(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner may have the build for the CPU, the author's machine that for CUDA."""
    monkeypatch.setattr(torch, "__version__", f"{str(torch.__version__).partition('+')[0]}+other")
    assert revbench("check", "--only", "vggsws").returncode == 0


def test_nothing_to_compare(place: Path, revbench: Command) -> None:
    """Exit code 4 for a baseline without cases, one of which none is supported, and one of another device."""
    baseline = read_baseline(place / "baseline.json")
    write(type(baseline)(testbed=baseline.testbed, readings=[]), place / "empty.json")
    done = revbench("check", "--baseline", "empty.json")
    assert (done.returncode, done.stdout.partition("; ")[0]) == (4, "nothing was compared: empty.json holds no case")
    assert revbench("baseline", "write", "-s", "none", "--out", "none.json").returncode == 0
    done = revbench("check", "--baseline", "none.json", "--strict")
    assert done.returncode == 4
    assert done.stdout.endswith("nothing was compared: no case is supported\n")
    done = revbench("check", "--device", "cpu")
    assert done.returncode == 4
    assert "(device fake -> cpu)" in done.stdout


def test_a_baseline_of_cuda_where_there_is_none(
    place: Path, revbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4: the machine is another one, and the command was right."""
    monkeypatch.setattr("revbench.bench.device._cuda_is_available", lambda: False)
    text = (place / "baseline.json").read_text(encoding="utf-8")
    data = json.loads(text)
    baseline = read_baseline(place / "baseline.json")
    testbed = type(baseline.testbed)(device="cuda", torch=data["testbed"]["torch"], gpu="H200")
    write(type(baseline)(testbed=testbed, readings=baseline.readings), place / "cuda.json")
    done = revbench("check", "--baseline", "cuda.json")
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout == "nothing was compared: cuda.json was measured on CUDA, and torch finds none here\n"


@pytest.mark.usefixtures("place")
def test_on_the_processor_the_integers_are_the_same(revbench: Command) -> None:
    """Measured in a fresh process each, and equal to what fake tensors predicted."""
    done = revbench("check", "--device", "cpu", "--across-versions", "--only", "model=vggsws", "--only", "rule=sltt")
    assert done.returncode == 0
    assert done.stdout == ("The baseline was written elsewhere: device fake -> cpu.\n1 case: 1 as in the baseline.\n")


@pytest.mark.usefixtures("place")
def test_a_failed_case_keeps_the_baseline_unwritten(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3: a baseline with a hole would let pass what falls into it. The other cases are read first."""

    def fail(*_: object) -> Tensor:
        raise ValueError("lost")

    monkeypatch.setattr(type(registry.build("vggsws", timesteps=2, depth=1, width=8)), "logits", fail)
    done = revbench("baseline", "write", "-s", "small", "--out", "holes.json")
    assert done.returncode == 3
    assert len(re.findall(r"^FAILED vggsws .*: ValueError: lost \(test_check\.py:\d+\)$", done.stdout, re.M)) == 2
    assert done.stdout.endswith("2 of 6 cases failed and nothing was written; mend them or leave them out\n")
    assert not Path("holes.json").exists()


def test_the_command_is_kept(place: Path, revbench: Command) -> None:
    """Suites, overrides and choices: what was typed is what to type again."""
    words = ["baseline", "write", "--suite", "small", "--suite", "none", "--set", "timesteps=2", "--only", "rule=sltt"]
    assert revbench(*words, "--out", "a b.json").returncode == 0
    baseline = read_baseline(place / "a b.json")
    assert baseline.command == f"revbench {' '.join(words)} --out 'a b.json'"
    assert len(baseline.readings) == len({reading.case for reading in baseline.readings}) == 4


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "--baseline", "nowhere.json"], "cannot read the baseline nowhere.json: No such file or directory; "),
        (["check", "--baseline", "bench.toml"], "bench.toml is cut off, in conflict or no baseline (line 2: "),
        (["check", "--only", "T=9"], "no case matches 'T=9'; choose from: "),
        (["check", "--device", "gpu"], "there is no device 'gpu'; "),
        (["check", "--config", "nowhere.toml"], "cannot read the suite file nowhere.toml: "),
        (["check", "--only", "model=vggsws", "--junit", "bench.toml/a.xml"], "cannot write bench.toml"),
        (["baseline", "write", "-s", "smal"], "there is no suite 'smal'; did you mean 'small'?"),
        (["baseline", "write", "-s", "small", "--set", "depth=0"], "overrides: depth must be greater than 0"),
        (["baseline", "write", "-s", "small", "--device", "fak"], "there is no device 'fak'; did you mean 'fake'?"),
        (["baseline", "write", "-s", "none", "--out", "bench.toml/a.json"], "cannot write bench.toml"),
    ],
)
def test_a_wrong_word_is_a_sentence(revbench: Command, arguments: list[str], sentence: str) -> None:
    """What, where and what to do, in one line on stderr, with exit code 2."""
    refused = revbench(*arguments)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {sentence}")
    assert refused.stderr.count("\n") == 1


@pytest.mark.usefixtures("place")
def test_a_broken_plugin_is_one_error(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not told once for every case."""

    def fail() -> None:
        raise registry.PluginError("the plugin 'p' (m) cannot be loaded: no")

    monkeypatch.setattr(registry, "entries", fail)
    refused = revbench("check")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: the plugin 'p' (m) cannot be loaded: no\n"


def test_the_baseline_of_this_repository_holds_its_whole_zoo() -> None:
    """Every case of the suites that the command names; it is small, and each family is in it."""
    path = ROOT / "tests" / "baseline.json"
    baseline = read_baseline(path)
    config, catalog = load_config(ROOT / "bench.toml"), Catalog()
    names = re.findall(r"--suite (\S+)", baseline.command)
    assert names == ["gate", "gate-events", "gate-half-precision"]
    cases = [case for name in names for case in expand(config.suite(name), "fake", catalog)]
    assert {reading.case for reading in baseline.readings} == set(cases)
    assert {case.model for case in cases} == {name for name, entry in registry.entries().items() if entry.family}
    assert path.stat().st_size < 300_000
    supported: list[Case] = [reading.case for reading in baseline.readings if reading.status == "ok"]
    assert len(supported) > 100
