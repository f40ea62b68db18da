"""The results that the repository holds: CSV files of runs in `reports/measured/`, with where they come from."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import revbench

FOLDER = Path(revbench.__file__).parent / "reports" / "measured"
TRACED = FOLDER / "traced"
"""Exact bytes, which need no GPU: one folder a suite, made by `make traced`."""
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    Attributes:
        suite: its suite.
        folder: where its files are.
    """

    suite: str
    folder: Path

    @property
    def command(self) -> str:
        """What made it."""
        return f"revbench run --suite {self.suite} --predict"

    @property
    def origin(self) -> str:
        """Commit and versions, half a sentence."""
        environment = json.loads((self.folder / "environment.json").read_text(encoding="utf-8"))
        commit = environment["git_commit"][:10] + (" with changes" if environment["git_dirty"] else "")
        return f"commit {commit}, torch {environment['torch']}, {environment['at'][:10]}"

    def table(self, name: str) -> list[Row]:
        """A table of the run: `complexity`, `published`, or the empty text for its cases; no rows where it has none."""
        path = self.folder / f"{'-'.join(part for part in (self.suite, name) if part)}.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def traced_run(suite: str) -> Run:
    """The traced run of a suite.

    Raises:
        FileNotFoundError: there is none.
    """
    run = Run(suite, TRACED / suite)
    if not run.folder.is_dir():
        raise FileNotFoundError(f"{run.folder} is missing; make it with `make traced`")
    return run


def traced_runs() -> Sequence[Run]:
    """All of them, by name."""
    return [Run(folder.name, folder) for folder in sorted(TRACED.iterdir()) if folder.is_dir()]
