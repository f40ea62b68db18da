"""Two versions of the code in turns: every sample is a fresh process, and neither version always comes first."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revbench.bench.cases import Case
from revbench.bench.errors import ConfigError
from revbench.bench.gate import timed_case
from revbench.bench.gate.times import TimeComparison, judge, num_rounds
from revbench.bench.gate.tolerances import Tolerance
from revbench.bench.runner import describe_exit

INSTALL = "install one there with `pip install --no-deps --target FOLDER`"


@dataclass(frozen=True, slots=True)
class _FailedError(Exception):
    detail: str


def compare_times(
    cases: Sequence[Case], folder: Path, *, effect: Tolerance, timeout_s: float, done: Callable[[Case], None]
) -> list[TimeComparison]:
    """Times every case in the version of the folder and in this one.

    Args:
        cases: on a real device.
        folder: with the packages of the other version; its processes run there and import from there first.
        effect: see `judge`.
        timeout_s: how long one process may take.
        done: called after each case.

    Raises:
        ConfigError: there is no such folder, or it has no other version of a network.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} with another version; {INSTALL}")
    found = []
    for case in cases:
        found.append(_compared(case, folder.resolve(), effect, timeout_s, len(cases)))
        done(case)
    return found


def _compared(case: Case, folder: Path, effect: Tolerance, timeout_s: float, num_cases: int) -> TimeComparison:
    samples: dict[Path | None, list[float]] = {folder: [], None: []}
    is_of_folder: dict[Path | None, bool] = {}
    try:
        for number in range(num_rounds(num_cases)):
            for version in (folder, None) if number % 2 == 0 else (None, folder):
                sample = _sample(case, folder, is_other=version is not None, timeout_s=timeout_s)
                samples[version].append(sample["step_s"])
                is_of_folder[version] = sample["is_of_folder"]
            if not is_of_folder[folder] or is_of_folder[None]:
                found = "is this version" if is_of_folder[None] else f"holds nothing that {case.model} imports"
                raise ConfigError(f"{folder} {found}; {INSTALL}")
    except _FailedError as error:
        return TimeComparison(case=case, detail=error.detail, verdict="failed")
    return judge(case, samples[folder], samples[None], effect=effect, num_cases=num_cases)


def _sample(case: Case, folder: Path, *, is_other: bool, timeout_s: float) -> dict[str, Any]:
    """One process; of the version of the folder, or of this one."""
    fields = {name: value for name, value in case.as_dict().items() if value is not None}
    path = [str(folder)] if is_other else [entry for entry in sys.path if entry]
    path += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    command = [sys.executable, "-P", timed_case.__file__, json.dumps(fields), str(folder)]
    who = "the other version" if is_other else "this version"
    try:
        ended = subprocess.run(
            command,
            cwd=folder if is_other else None,
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _FailedError(f"{who} took longer than {timeout_s:g} s") from None
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines()
        told = lines[-1] if lines and ended.returncode > 0 else describe_exit(ended.returncode)[1]
        raise _FailedError(f"{who} fails: {told}")
    sample: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return sample
