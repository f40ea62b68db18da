"""A script that two processes run together, as DistributedDataParallel does."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


def results_of(script: ModuleType, folder: Path) -> Any:
    """What the script, run as `script rank rendezvous found` by two processes, leaves in the file `found`."""
    found = folder / "results.pt"
    command = [sys.executable, str(script.__file__)]
    processes = [subprocess.Popen([*command, str(rank), str(folder / "rendezvous"), str(found)]) for rank in range(2)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return torch.load(found, weights_only=True)
