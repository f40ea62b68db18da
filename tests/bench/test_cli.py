"""The command line as users meet it: wrong words, faulty models, interrupts, and terminals of every kind."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import revbench as package
from revbench.bench.records import PassName, Record, Status
from revbench.bench.store import RECORDS_NAME, read_records
from revbench.models import registry
from revbench.models.networks.spiking import SpikingNetwork

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[bytes]"]
PATIENCE_S = 120.0
FAULTS = (
    "tiny",
    "raises",
    "raises_while_timed",
    "raises_oom",
    "allocates",
    "exits",
    "exits_politely",
    "is_killed",
    "crashes",
    "is_unsupported",
    "shouts",
    "ends_early",
    "prints",
    "is_nan",
    "tiny_too",
)
BENCH_TOML = f"""
[suites.faults]
title = "Faults of every kind, [bold]and[/x] :warning:"
claim = "Each of them is a row."
models = {list(FAULTS)}
timesteps = 2
batch_size = 2

[suites.halting]
title = "One of them waits"
claim = "The others are measured once."
passes = ["memory"]
models = ["tiny", "waits", "tiny_too"]

[suites.endless]
title = "One of them sleeps"
claim = "The others are measured."
passes = ["memory"]
models = ["sleeps", "tiny"]
"""
RAISED: tuple[Status, str] = ("error", r"RuntimeError: lost the thread \(faulty_models\.py:\d+\)")
KILLED: tuple[Status, str] = ("oom", "the system killed the process, most likely for want of memory")
OK: tuple[Status, str] = ("ok", "")
EXPECTED: dict[str, tuple[Status, str]] = {
    "tiny": OK,
    "raises": RAISED,
    "raises_oom": ("oom", "CUDA out of memory"),
    "allocates": ("oom", ".*can't allocate memory: you tried to allocate 4611686018427387904 bytes.*"),
    "exits": ("error", "the process ended early with exit code 7"),
    "exits_politely": ("error", r"SystemExit: 9 \(faulty_models\.py:\d+\)"),
    "is_killed": KILLED,
    "crashes": ("error", "the process crashed with SIGSEGV"),
    "is_unsupported": ("unsupported", "no events here"),
    "shouts": (
        "error",
        r"RuntimeError: first line second line \[bold\]no markup\[/bold\] \[/x\] :warning: \[31mred größer \(.*\)",
    ),
    "ends_early": ("error", r"EOFError: Ran out of input \(faulty_models\.py:\d+\)"),
    "prints": OK,
    "is_nan": ("error", "the loss is nan at training step 1"),
    "tiny_too": OK,
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a working directory with a suite file of faulty models."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / "bench.toml").write_text(BENCH_TOML)
        return folder

    return make


@pytest.fixture(scope="module")
def faulty(workplace: Callable[[str], Path], plugin: Path, start: Start) -> tuple[Path, Path, Path]:
    """Where the suite of faults was run, where the endless one was, and where `list` was typed on a narrow terminal."""
    places = workplace("faults"), workplace("endless"), workplace("list")
    running = [
        start(plugin, "run", "-s", "faults", "--device", "cpu", cwd=places[0], PYTHONIOENCODING="utf-8:strict"),
        start(plugin, "run", "-s", "endless", "--device", "cpu", "--set", "timeout_s=3", cwd=places[1], COLUMNS="60"),
        start(plugin, "list", cwd=places[2], COLUMNS="60"),
    ]
    assert [process.wait(PATIENCE_S) for process in running] == [3, 3, 0]
    return places


def text(folder: Path, name: str) -> str:
    """What a command wrote to `out` or `err`."""
    return (folder / name).read_text(encoding="utf-8")


def closings(folder: Path, suite: str) -> list[Record]:
    """The closing rows of a run in its usual place."""
    return [record for record in read_records(folder / "runs" / suite / RECORDS_NAME) if record.metric == "status"]


def await_lines(path: Path, number: int) -> list[str]:
    """The lines of a file, once there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if len(lines := path.read_text().splitlines()) >= number:
            return lines
        time.sleep(0.02)
    raise AssertionError(f"{path} has {len(lines)} lines, not {number}")


def await_end(process: str) -> None:
    """Returns when the process is gone, or dead and waiting to be noticed."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {process} is still there")


@pytest.mark.parametrize("pass_name", ["memory", "time"])
def test_every_fault_is_a_row(faulty: tuple[Path, Path, Path], pass_name: PassName) -> None:
    """Each way to fail has its status and its line, and the models beside it are measured."""
    rows = [row for row in closings(faulty[0], "faults") if row.pass_name == pass_name]
    found = {row.case.model: (row.status, row.detail) for row in rows}
    expected = {**EXPECTED, "raises_while_timed": OK if pass_name == "memory" else RAISED}
    assert found.keys() == expected.keys()
    for model, (status, detail) in expected.items():
        assert found[model][0] == status, model
        assert re.fullmatch(detail, found[model][1]), (model, found[model][1])


def test_numbers_of_the_others_are_there(faulty: tuple[Path, Path, Path]) -> None:
    """Whatever fails beside them, the models that work have numbers; those that fail have none."""
    records = read_records(faulty[0] / "runs" / "faults" / RECORDS_NAME)
    numbers = {(record.case.model, record.metric): record.value for record in records}
    for model in ("tiny", "prints", "tiny_too"):
        assert (numbers[model, "peak_bytes"] or 0) > 0
        assert (numbers[model, "step_s"] or 0) > 0
    measured = {model for model, metric in numbers if metric in {"peak_bytes", "step_s"}}
    assert measured == {"tiny", "prints", "tiny_too", "raises_while_timed"}


def test_the_terminal_shows_what_happened(faulty: tuple[Path, Path, Path]) -> None:
    """No traceback, no control codes in a file, brackets as they are, and a line for each of the faults."""
    out, err = text(faulty[0], "out"), text(faulty[0], "err")
    assert "Traceback" not in out + err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert "Faults of every kind, [bold]and[/x] :warning:" in out
    assert re.search(r"^memory +shouts +error RuntimeError: .*\[bold\]no markup\[/bold\] \[/x\] :warning:", out, re.M)
    for model in FAULTS:
        assert len(re.findall(rf"^(?:memory|time) +{model} +", out, re.M)) == 2
    assert "hello from the model" in out


def test_a_report_of_faults_can_be_drawn(faulty: tuple[Path, Path, Path], start: Start) -> None:
    """The records are enough, without the plugin, on a terminal that knows ASCII alone, in a folder with brackets."""
    folder = faulty[0] / "copy [/x]"
    shutil.copytree(faulty[0] / "runs" / "faults", folder)
    command = ("report", folder.relative_to(faulty[0]), "--format", "pdf")
    drawing = start(None, *command, cwd=faulty[0], PYTHONIOENCODING="ascii", COLUMNS="60")
    assert drawing.wait(PATIENCE_S) == 0
    out = (faulty[0] / "out").read_text(encoding="ascii")
    assert text(faulty[0], "err") == ""
    assert r"gr\xf6\xdfer" in out
    assert "  copy [/x]/faults.pdf" in out
    assert (folder / "faults.pdf").stat().st_size > 0
    for model, (status, _) in EXPECTED.items():
        assert re.search(rf"^{model} .*{'' if status == 'ok' else status}", out, re.M)


def test_a_step_without_end_times_out(faulty: tuple[Path, Path, Path]) -> None:
    """A model that sleeps costs its time-out and is a row; a narrow terminal shows it all the same."""
    sleeping, tiny = closings(faulty[1], "endless")
    assert (sleeping.case.model, sleeping.status, sleeping.detail) == ("sleeps", "timeout", "took longer than 3 s")
    assert (tiny.case.model, tiny.status) == ("tiny", "ok")
    assert "Traceback" not in text(faulty[1], "err")


def test_a_plugin_is_listed(faulty: tuple[Path, Path, Path]) -> None:
    """Suites, models and rules, those of plugins too; names are whole however narrow the terminal."""
    out = text(faulty[2], "out")
    assert text(faulty[2], "err") == ""
    assert re.search(r"^hates_observers +a model that ", out, re.M)
    assert re.search(r"^revsresnet37 ", out, re.M)
    assert re.search(r"^bptt ", out, re.M)
    assert re.search(r"^halting +One of them ", out, re.M)
    assert max(map(len, out.splitlines())) <= 60


def test_interrupted_at_any_moment_it_goes_on(workplace: Callable[[str], Path], plugin: Path, start: Start) -> None:
    """Killed, interrupted and torn, the same command goes on: every case is measured once, and no process stays."""
    place = workplace("halting")
    path = place / "runs" / "halting" / RECORDS_NAME
    command = ("run", "-s", "halting", "--device", "cpu", "--format", "svg")

    killed = start(plugin, *command, cwd=place)
    [first] = await_lines(plugin / "log", 1)
    killed.kill()
    killed.wait(PATIENCE_S)
    await_end(first)
    [before] = closings(place, "halting")
    assert (before.case.model, before.status) == ("tiny", "ok")

    interrupted = start(plugin, *command, cwd=place)
    second = await_lines(plugin / "log", 2)[-1]
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: to every process
    assert interrupted.wait(PATIENCE_S) == 130
    await_end(second)
    assert text(place, "err") == "interrupted; the same command goes on from here\n"
    assert "1 of 3 passes were measured before" in text(place, "out")
    assert closings(place, "halting") == [before]

    path.write_bytes(path.read_bytes() + b'{"schema":1,"case_id":"53')
    (plugin / "release").touch()
    last = start(plugin, *command, cwd=place)
    assert last.wait(PATIENCE_S) == 0
    after = closings(place, "halting")
    assert [(row.case.model, row.status) for row in after] == [("tiny", "ok"), ("waits", "ok"), ("tiny_too", "ok")]
    assert after[0] == before
    assert path.read_bytes().count(b'"metric":"status"') == 3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the wrong words below name."""
    (tmp_path / "broken.toml").write_text("[suites.smoke\n")
    (tmp_path / "latin.toml").write_bytes(b"# gr\xf6\xdfer\n")
    (tmp_path / "wrong.toml").write_text('[suites.s]\ntitle = "t"\nclaim = "c"\nmodels = "msresnet"\ndepht = 1\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / RECORDS_NAME).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMOKE = ["run", "-s", "smoke"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "-s", "smok"], "there is no suite 'smok'; did you mean 'smoke'?"),
        (["run", "-s", "[/x]"], "there is no suite '[/x]'; valid: "),
        ([*SMOKE, "--set", "models=msresnett"], "there is no model 'msresnett'; did you mean 'msresnet'?"),
        ([*SMOKE, "--set", "rule=bppt"], "there is no rule 'bppt'; "),
        ([*SMOKE, "--set", "colour=red"], "'colour=red' has an unknown key; valid: "),
        ([*SMOKE, "--set", "depth"], "'depth' is not key=value; "),
        ([*SMOKE, "--set", "depth="], "'depth=' has an empty value; "),
        ([*SMOKE, "--set", "depth=two"], 'depth must be an integer, not the string "two"'),
        ([*SMOKE, "--set", "depth=1.5"], "depth must be an integer, not the float 1.5"),
        ([*SMOKE, "--set", "depth=0"], "depth must be greater than 0, not the integer 0"),
        ([*SMOKE, "--set", "timeout_s=soon"], 'timeout_s must be a number, not the string "soon"'),
        ([*SMOKE, "--set", "timeout_s=inf"], "timeout_s must be a finite number"),
        ([*SMOKE, "--set", "dtype=float8"], 'dtype cannot be the string "float8"; '),
        (
            [*SMOKE, "--set", "passes=speed"],
            'passes cannot be the string "speed"; '
            "valid: energy, inference_time, joules, learning, memory, operations, reversibility, similarity, time",
        ),
        ([*SMOKE, "--set", "depth=1", "--set", "depth=2"], "depth is overridden twice; "),
        ([*SMOKE, "--only", "T=9"], "no case matches 'T=9'; choose from: "),
        ([*SMOKE, "--only", "colour=red"], "no case has the key of 'colour=red'; "),
        ([*SMOKE, "--limit", "0"], "the limit of cases must be at least 1, not 0"),
        ([*SMOKE, "--device", "gpu"], "there is no device 'gpu'; valid: auto, cpu, cuda"),
        ([*SMOKE, "--format", "png,gif"], "there is no format 'gif'; valid: csv, html, latex, md, pdf, png, svg"),
        ([*SMOKE, "--config", "nowhere.toml"], "cannot read the suite file nowhere.toml: No such file or directory; "),
        ([*SMOKE, "--config", "empty"], "cannot read the suite file empty: Is a directory; "),
        ([*SMOKE, "--config", "broken.toml"], "broken.toml is not TOML: "),
        ([*SMOKE, "--config", "latin.toml"], "latin.toml is not UTF-8 at byte 4; "),
        (["run", "-s", "s", "--config", "wrong.toml"], "suites.s.depht is not a known key; did you mean 'depth'?"),
        (["list", "--config", "broken.toml"], "broken.toml is not TOML: "),
        (["report", "nowhere"], "cannot read nowhere/records.jsonl: No such file or directory; measure first with "),
        (["report", "empty"], "cannot read empty/records.jsonl: No such file or directory; measure first with "),
        (["report", "begun"], "begun holds no finished case yet; measure first with "),
        (["report", "broken.toml"], "cannot read broken.toml/records.jsonl: Not a directory; "),
        (["summary", "revsresnet3"], "there is no model 'revsresnet3'; did you mean 'revsresnet37'?"),
        (["summary", "[/x]"], "there is no model '[/x]'; valid: "),
        (["summary", "msresnet"], "the family 'msresnet' needs a depth; add one, as in --depth 2"),
        (["summary", "msresnet18", "--depth", "2"], "the model 'msresnet18' has a fixed size and takes no depth; "),
        (["summary", "msresnet18", "--width", "2"], "the model 'msresnet18' has a fixed size and takes no width; "),
        (["summary", "msresnet", "--depth", "0"], "depth must be at least 1, not 0"),
        (["summary", "revsformer", "--depth", "1", "--width", "12"], "revsformer, depth 1, width 12 cannot be built: "),
        (["summary", "msresnet18", "-T", "-1"], "timesteps must be at least 1, not -1"),
        (["summary", "msresnet18", "--batch-size", "0"], "batch size must be at least 1, not 0"),
        (["summary", "msresnet18", "--levels", "0"], "levels must be at least 1, not 0"),
    ],
)
def test_a_wrong_word_is_a_sentence(place: Path, revbench: Command, arguments: list[str], sentence: str) -> None:
    """What, where and what to do, in one line on stderr, with exit code 2; nothing is measured or written."""
    before = sorted(place.rglob("*"))
    refused = revbench(*arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert sentence in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run"], "--suite"),
        ([*SMOKE, "--limit", "few"], "--limit"),
        ([*SMOKE, "--colour"], "--colour"),
        (["report"], "RUN"),
        (["mesure"], "mesure"),
        (["summary"], "MODEL"),
        (["summary", "msresnet", "--depth", "two"], "--depth"),
    ],
)
def test_a_wrong_option_is_told(place: Path, revbench: Command, arguments: list[str], word: str) -> None:
    """What the parser refuses names the option, on stderr, with exit code 2."""
    refused = revbench(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert word in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (place / "runs").exists()


@pytest.mark.usefixtures("place")
def test_cuda_where_there_is_none_is_a_sentence(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA that was asked for by name is never replaced in silence."""
    monkeypatch.setattr("revbench.bench.device._cuda_is_available", lambda: False)
    refused = revbench(*SMOKE, "--device", "cuda")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "error: the device 'cuda' was asked for but torch finds none here; use --device cpu or --predict\n"
    )


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("command", [SMOKE, ["list"], ["summary", "msresnet18"]])
def test_a_broken_plugin_is_a_sentence(revbench: Command, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """A plugin that cannot be loaded is named on one line, however many its complaint has."""

    def fail() -> None:
        raise registry.PluginError("the plugin 'p' (m) cannot be loaded: invalid syntax\n  [/x]\n")

    monkeypatch.setattr(registry, "entries", fail)
    refused = revbench(*command)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: the plugin 'p' (m) cannot be loaded: invalid syntax [/x]\n"


@pytest.mark.usefixtures("place")
def test_an_interrupt_is_a_sentence(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before anything is measured ends like Ctrl-C later."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "entries", interrupt)
    ended = revbench(*SMOKE)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "interrupted; the same command goes on from here\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["run", "report", "list", "summary", "--version", "Exit codes: 0 fine, 2 wrong usage"]),
        (["run"], ["--suite", "--set", "--only", "--limit", "--device", "--predict", "--dry-run", "--out", "--fresh"]),
        (["run"], ["--retry", "--format", "--config", "Interrupted at any moment"]),
        (["report"], ["RUN", "--out", "--format", "on any machine", "html"]),
        (["list"], ["--config", "plugins included"]),
        (["summary"], ["MODEL", "--timesteps", "--depth", "--width", "--batch-size", "--levels", "one line a block"]),
        (["explain"], ["--model", "--against", "--levels", "--device", "--out", "--snapshot", "The rows add up"]),
        (["predict"], ["--model", "--input", "--gpu", "--json", "requested, allocated and reserved"]),
        (["validate"], ["--out", "--only", "--limit", "--limit-s", "--fresh", "Needs a GPU"]),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(revbench: Command, arguments: list[str], words: list[str], flag: str) -> None:
    """Every command explains itself and all of its options."""
    helped = revbench(*arguments, flag)
    assert (helped.returncode, helped.stderr) == (0, "")
    for word in words:
        assert word in " ".join(helped.stdout.split())


@pytest.mark.parametrize("columns", [30, 50, 80, 140])
def test_a_summary_on_any_terminal(revbench: Command, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """No number is cut however narrow the terminal; where there is room, so are shapes and kinds."""
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = revbench("summary", "revsresnet37")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("revsresnet37\n")
    assert re.search(r"^total +23,510,154 +1,021,952 +4,648\.77 *$", shown.stdout, re.MULTILINE)
    assert re.search(r"^recomputed +97\.3% +76\.2% +97\.8% *$", shown.stdout, re.MULTILINE)
    assert re.search(r"^  functions\.5 .* 1,180,672 +32,768 +301\.99 +yes *$", shown.stdout, re.MULTILINE)
    assert "…" not in shown.stdout
    assert ("[4, 1, 448, 4, 4]" in shown.stdout) == (columns >= 80)
    assert ("ReversibleSequence" in shown.stdout) == (columns >= 140)
    if columns >= 80:
        assert max(map(len, shown.stdout.splitlines())) <= columns
    left_out = re.search(r"no column for: ([^.]+)\.", " ".join(shown.stdout.split()))
    assert (left_out and left_out[1]) == {80: "kind", 140: None}.get(columns, "kind, output shape")


def test_a_summary_of_a_family(revbench: Command) -> None:
    """Sizes are those asked for, counts are for one image, and every part of a part is shown if wanted."""
    command = ("summary", "msresnet", "--depth", 1, "--width", 8, "-T", 2, "--batch-size", 3)
    shown, all_shown = revbench(*command), revbench(*command, "--levels", 99)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[:2] == ["msresnet, depth 1, width 8", "MSResNet, 10 layers, T=2, batch 3, input [3, 3, 32, 32]"]
    assert [line.split()[0] for line in lines if line.startswith("  ") and "[" in line] == ["0", "1", "2", "3"]
    assert re.search(r"^  0 +Block +\[2, 3, 8, 32, 32\] +1,184 +16,384 +2\.36$", shown.stdout, re.MULTILINE)
    assert "recomputed  " not in shown.stdout
    assert re.search(r"^      second_neuron ", all_shown.stdout, re.MULTILINE)
    totals = [line for text in (shown, all_shown) for line in text.stdout.splitlines() if line.startswith("total")]
    assert totals[0].split() == totals[1].split()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("width 5 is\n odd"), "error: odd cannot be built: width 5 is odd\n"),
        (RuntimeError("[/x]"), "error: odd cannot be built: RuntimeError: [/x] (test_cli.py:"),
    ],
)
def test_what_a_network_refuses_is_a_sentence(
    revbench: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    """The network's own words for a size that it cannot have, and one line for anything else, never a traceback."""

    def build(**_: object) -> SpikingNetwork:
        raise error

    entry = registry.ModelEntry(name="odd", summary="always refuses", build=build)
    monkeypatch.setattr(registry, "entries", lambda: {"odd": entry})
    refused = revbench("summary", "odd")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1


def test_a_network_that_fails_when_run_is_a_sentence(revbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a ValueError has its place then: it need not be about the size that was asked for."""

    def fail(*_: object) -> None:
        raise ValueError("no [/x]")

    monkeypatch.setattr("revbench.models.networks.msresnet.MSResNet.logits", fail)
    refused = revbench("summary", "msresnet18")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"error: msresnet18 cannot be run: ValueError: no \[/x\] \(test_cli.py:\d+\)\n", refused.stderr)


def test_version(revbench: Command) -> None:
    """The version is that of the package."""
    told = revbench("--version")
    assert (told.returncode, told.stdout) == (0, f"revbench {package.__version__}\n")
