"""Other processes on the same cores: how they are noticed, and what is done about threads then."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from revbench.bench import neighbours
from revbench.bench.environment import num_usable_cpus, usable_cpus
from revbench.bench.neighbours import Ticks, busy_cores, sleep_beside_neighbours, ticks

STATISTICS = """cpu  9248516 613121 848969 3816209 60252 0 4325 12705 0 0
cpu0 100 20 3 4000 50 6 7 8 90 10
cpu1 1 1 1 1 1 1 1 1 0 0
cpu10 5 5 5 5 5 5 5 5 0 0
intr 41539220 0 0
ctxt 51599629
"""


def test_ticks_of_some_cores() -> None:
    """Waiting for a disk is idle, the hypervisor's share is busy, and guests are in user already."""
    assert ticks(STATISTICS, {0}) == Ticks(busy=100 + 20 + 3 + 6 + 7 + 8, idle=4000 + 50)
    assert ticks(STATISTICS, {1}) == Ticks(busy=6, idle=2)
    assert ticks(STATISTICS, {0, 10}) == Ticks(busy=144 + 30, idle=4050 + 10)


def told(busy_ticks: int, idle_ticks: int) -> str:
    """What the system tells of the cores of this process, which are alike."""
    return "".join(f"cpu{cpu} {busy_ticks} 0 0 {idle_ticks} 0 0 0 0 0 0\n" for cpu in usable_cpus())


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the system's, which tells a second later that a quarter of the time was busy."""
    path = tmp_path / "stat"
    path.write_text(told(1000, 5000))
    monkeypatch.setattr(neighbours, "STATISTICS", path)
    monkeypatch.setattr(time, "sleep", lambda _: path.write_text(told(1025, 5075)))
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(neighbours, "BUSY_CORES", 0.25 * num_usable_cpus())
    return path


def chosen() -> tuple[str, str | None]:
    """What is printed, and the policy afterwards."""
    out = io.StringIO()
    sleep_beside_neighbours(Console(file=out, width=1000))
    return out.getvalue(), neighbours.os.environ.get("OMP_WAIT_POLICY")


@pytest.mark.usefixtures("system")
def test_cores_that_are_busy_between_two_looks() -> None:
    """A quarter of each core."""
    assert busy_cores() == 0.25 * num_usable_cpus()


@pytest.mark.usefixtures("system")
def test_beside_busy_processes_threads_wait_asleep() -> None:
    """And the user is told why."""
    text, policy = chosen()
    assert policy == "PASSIVE"
    assert f"keep {0.25 * num_usable_cpus():.1f} of {num_usable_cpus()} cores busy" in text


@pytest.mark.usefixtures("system")
def test_on_idle_cores_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads wait as those of any other training."""
    monkeypatch.setattr(neighbours, "BUSY_CORES", 0.26 * num_usable_cpus())
    assert chosen() == ("", None)


@pytest.mark.usefixtures("system")
def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert chosen() == ("", "ACTIVE")


@pytest.mark.usefixtures("system")
def test_one_thread_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to choose."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert chosen() == ("", None)


@pytest.mark.parametrize("text", [None, "", "cpu0 one two"])
def test_a_system_that_does_not_tell(system: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    """It counts as idle."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    if text is None:
        system.unlink()
    else:
        system.write_text(text)
    assert busy_cores() is None
    assert chosen() == ("", None)


@pytest.mark.skipif(not neighbours.STATISTICS.exists(), reason="needs Linux")
def test_a_busy_process_is_noticed() -> None:
    """The real system's word, beside a process that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            found = busy_cores(1.0)
        finally:
            busy.kill()
    assert found is not None
    assert found > 0.4
