"""One run of a suite: what is left to be measured, on what machine, into which folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from revbench.bench.cases import Case
from revbench.bench.energy.metric import UNCOUNTED
from revbench.bench.environment import (
    Environment,
    code_differences,
    differences,
    read_environment,
    write_environment,
)
from revbench.bench.errors import OutputError
from revbench.bench.records import PassName, Record
from revbench.bench.runner import Job, comparison_key
from revbench.bench.store import RunStore, failed, finished, read_records, writing
from revbench.bench.timing import TIMED_PASSES

SUITE_NAME = "suite.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteNote:
    """What a report says about the suite that made the records."""

    name: str
    title: str
    claim: str = ""
    mirrors: str = ""
    note: str = ""
    counterparts: dict[str, str] = field(default_factory=dict)
    epoch_images: int | None = None


def jobs_of(cases: Sequence[Case], passes: Sequence[PassName]) -> list[Job]:
    """Every pass over every case, pass by pass; in timed passes those under comparison are neighbours."""
    neighbours = _with_neighbours(cases)
    return [(case, name) for name in passes for case in (neighbours if name in TIMED_PASSES else cases)]


def _with_neighbours(cases: Sequence[Case]) -> list[Case]:
    """The cases with those beside each other that are timed against each other, first of all those of one model."""
    groups = {key: number for number, key in enumerate(dict.fromkeys(map(comparison_key, cases)))}
    models = {model: number for number, model in enumerate(dict.fromkeys(case.model for case in cases))}
    return sorted(cases, key=lambda case: (groups[comparison_key(case)], models[case.model]))


def left_to_measure(jobs: Sequence[Job], records: Sequence[Record], *, retry: bool, strict: bool = False) -> list[Job]:
    """The jobs that no finished pass answers; with `retry`, those that failed too; with `strict`, lower bounds too."""
    done = finished(records)
    if retry:
        done -= failed(records)
    if strict:
        done -= {(each.case.id, each.pass_name) for each in records if each.metric == UNCOUNTED and each.value}
    return [(case, pass_name) for case, pass_name in jobs if (case.id, pass_name) not in done]


def of_cases(records: Sequence[Record], jobs: Sequence[Job]) -> list[Record]:
    """The records of these jobs, in their order: a folder may hold more, from other overrides."""
    position = {(case.id, pass_name): i for i, (case, pass_name) in enumerate(jobs)}
    chosen = [record for record in records if (record.case.id, record.pass_name) in position]
    return sorted(chosen, key=lambda record: position[record.case.id, record.pass_name])


def begin_or_continue(store: RunStore, environment: Environment) -> tuple[list[Record], list[str]]:
    """What a run folder holds already, and what changed in revbench since; writes the environment of a new run.

    Raises:
        OutputError: the folder was measured on another machine or with other software.
    """
    records = read_records(store.records_path) if store.records_path.exists() else []
    if not records or not store.environment_path.exists():
        write_environment(environment, store.environment_path)
        return records, []
    before = read_environment(store.environment_path)
    if changed := differences(before, environment):
        raise OutputError(
            f"{store.folder} was measured elsewhere ({'; '.join(changed)}); "
            "choose another folder with --out, or begin anew with --fresh"
        )
    return records, code_differences(before, environment)


def write_suite_note(note: SuiteNote, folder: Path) -> None:
    """Writes the note beside the records.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(folder):
        (folder / SUITE_NAME).write_text(json.dumps(asdict(note), indent=2) + "\n", encoding="utf-8")


def read_suite_note(folder: Path) -> SuiteNote:
    """The note beside the records; without one, the folder's name stands for everything."""
    try:
        note = json.loads((folder / SUITE_NAME).read_text(encoding="utf-8"))
        return TypeAdapter(SuiteNote).validate_python(note)
    except (OSError, ValueError):
        name = folder.resolve().name
        return SuiteNote(name=name, title=name)
