"""The harness under test: the command line in this process and in others, and faulty models for measuring processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from revbench.bench import cli

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[bytes]"]
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "80"}
"""Threads that spin while they wait would make tests beside this one slow."""


@pytest.fixture(scope="session", autouse=True)
def _quiet_processes() -> Iterator[None]:
    """Every process that a test starts has one thread, and no wish for colours."""
    with patch.dict(os.environ, QUIET):
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
            os.environ.pop(name, None)
        yield


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path, is an installed plugin with the models of `faulty_models`."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(Path(__file__).with_name("faulty_models.py"), folder)
    (folder / "log").touch()
    about = folder / "faulty-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[revbench.plugins]\nfaulty = faulty_models\n")
    return folder


@pytest.fixture
def revbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process (the cases have theirs): `revbench("run", "-s", "smoke")`."""

    def command(*arguments: object) -> "subprocess.CompletedProcess[str]":
        texts = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["revbench", *texts])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return subprocess.CompletedProcess(texts, end.value.code, out, err)

    return command


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Starts `revbench` in a session of its own, with the plugin of a folder or none; it prints to `out` and `err`."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(plugin: Path | None, *arguments: object, cwd: Path, **variables: str) -> "subprocess.Popen[bytes]":
        path = os.pathsep.join(str(part) for part in (plugin, os.environ.get("PYTHONPATH")) if part)
        # Where the tests are a shell's background job they ignore Ctrl-C, and what they start would do so as well.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        with (cwd / "out").open("w") as out, (cwd / "err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "revbench", *map(str, arguments)],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": path, **variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
