"""Where results live on disk: a run folder, with `records.jsonl` that only ever grows.

The rows of one pass over one case (a batch) reach the disk in one write, closed by their `status` row. Whatever cuts
a run off (a kill, a full disk, a power cut) therefore costs the last batch at most, and everything before it can be
read. A batch is consecutive lines with the same case, pass and time.
"""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from revbench.bench.cases import Case
from revbench.bench.errors import OutputError
from revbench.bench.records import SCHEMA, STATUS_METRIC, Counter, Measurement, PassName, Record, Status

RECORDS_NAME = "records.jsonl"
ENVIRONMENT_NAME = "environment.json"
LOCK_NAME = "lock"

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run again, what was measured is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run again, what was measured is kept",
    errno.EACCES: "there is no permission to write here; choose a folder of your own",
    errno.EPERM: "there is no permission to write here; choose a folder of your own",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EEXIST: "a file is in the way; move it or choose another folder",
    errno.ENOTDIR: "a file is in the way; move it or choose another folder",
    errno.EISDIR: "a folder is in the way; move it or choose another folder",
}


class _Line(BaseModel):
    """One line of `records.jsonl`: what this model refuses is neither written nor read."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, revalidate_instances="always", populate_by_name=True
    )

    schema_number: int = Field(alias="schema")
    case_id: str
    case: Case
    pass_name: PassName = Field(alias="pass")
    metric: str
    value: int | float | None
    unit: str
    counter: Counter | None
    status: Status
    detail: str
    at: str

    @field_validator("schema_number")
    @classmethod
    def _known_schema(cls, number: int) -> int:
        if number != SCHEMA:
            raise ValueError(f"{number} is unknown, this version of revbench reads {SCHEMA}")
        return number

    @model_validator(mode="after")
    def _same_identity(self) -> Self:
        if self.case_id != self.case.id:
            raise ValueError(f"case_id {self.case_id!r} is not that of the case, {self.case.id!r}")
        return self

    def encoded(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode() + b"\n"

    def record(self) -> Record:
        return Record(**{field.name: getattr(self, field.name) for field in fields(Record)})


class RunStore:
    """A run folder that is open for appending; no other process can open it meanwhile.

    Attributes:
        folder: the run folder.
        records_path: its `records.jsonl`.
        environment_path: its `environment.json`.
        set_aside: the files of an earlier run that `fresh` renamed, under their new names.
    """

    def __init__(self, folder: Path, *, descriptor: int, release: ExitStack, set_aside: tuple[Path, ...]):
        self.folder = folder
        self.records_path = folder / RECORDS_NAME
        self.environment_path = folder / ENVIRONMENT_NAME
        self.set_aside = set_aside
        self._descriptor = descriptor
        self._release = release

    @classmethod
    def open(cls, folder: Path, *, fresh: bool = False) -> Self:
        """Opens a run folder, and creates it where there is none.

        Args:
            folder: the run folder.
            fresh: begin with no records; those of an earlier run and their environment are renamed, never deleted.

        Raises:
            OutputError: the folder cannot be written, or another process is writing to it.
        """
        with writing(folder), ExitStack() as release:
            folder.mkdir(parents=True, exist_ok=True)
            _lock(_opened(folder / LOCK_NAME, release), folder)
            set_aside = _set_aside(folder) if fresh else ()
            descriptor = _opened(folder / RECORDS_NAME, release)
            return cls(folder, descriptor=descriptor, release=release.pop_all(), set_aside=set_aside)

    def append(
        self,
        case: Case,
        pass_name: PassName,
        measurements: Sequence[Measurement] = (),
        status: Status = "ok",
        detail: str = "",
    ) -> None:
        """Writes what one pass over one case found, and the closing row that says how it ended.

        Args:
            case: the case.
            pass_name: the pass.
            measurements: what was found; a number has the status `ok` even if the pass failed later, and one without
                a value has `unsupported`.
            status: how the pass ended.
            detail: one line on a failure.

        Raises:
            OutputError: it cannot be written; the file is then as it was before.
            ValueError: a value is NaN or infinite, or a row could not be read back.
        """
        data = b"".join(line.encoded() for line in _batch(case, pass_name, measurements, status, detail))
        with writing(self.records_path):
            _append_all_or_nothing(self._descriptor, data)

    def close(self) -> None:
        """Lets other processes open the folder."""
        self._release.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(path: Path) -> list[Record]:
    """Reads the complete batches of a `records.jsonl`; of a case and pass measured again, the last one.

    A half-written last line and a batch without its closing row were cut off, and are left out.

    Raises:
        OutputError: there is no such file, or a line that is no record of this schema.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise OutputError(
            f"cannot read {path}: {error.strerror}; measure first with `revbench run`, or name another folder"
        ) from error
    records = [_parsed(line, path, number) for number, line in enumerate(lines, start=1)]
    batches: dict[tuple[str, str], list[Record]] = {}
    for batch in _complete_batches(records):
        key = _key(batch[-1])
        batches.pop(key, None)
        batches[key] = batch
    return [record for batch in batches.values() for record in batch]


def finished(records: Iterable[Record]) -> set[tuple[str, str]]:
    """The (case id, pass) pairs that came to an end, whatever their status: those that a resumed run can skip."""
    return {_key(record) for record in records if record.metric == STATUS_METRIC}


def failed(records: Iterable[Record]) -> set[tuple[str, str]]:
    """Those of the finished (case id, pass) pairs whose status is not `ok`."""
    return {_key(record) for record in records if record.metric == STATUS_METRIC and record.status != "ok"}


def utc_now() -> str:
    """The time, ISO 8601 in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write into an OutputError: what, where, what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
        raise OutputError(f"cannot write {error.filename or path}: {reason}") from error


def _opened(path: Path, release: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    release.callback(os.close, descriptor)
    return descriptor


def _lock(descriptor: int, folder: Path) -> None:
    """Takes the folder for this process; writing the process id also shows that the disk takes bytes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        raise OutputError(
            f"process {holder or '(unknown)'} is writing to {folder} already; wait for it or choose another folder"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.fsync(descriptor)


def _set_aside(folder: Path) -> tuple[Path, ...]:
    """Renames what an earlier run left: `records.jsonl` becomes `records-<UTC time>.jsonl`."""
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    earlier = [path for name in (RECORDS_NAME, ENVIRONMENT_NAME) if (path := folder / name).is_file()]
    return tuple(path.rename(path.with_stem(f"{path.stem}-{time}")) for path in earlier if path.stat().st_size)


def _batch(
    case: Case, pass_name: PassName, measurements: Sequence[Measurement], status: Status, detail: str
) -> list[_Line]:
    at = utc_now()

    def line(found: Measurement | None, status: Status, detail: str) -> _Line:
        return _Line(
            schema_number=SCHEMA,
            case_id=case.id,
            case=case,
            pass_name=pass_name,
            metric=found.metric if found else STATUS_METRIC,
            value=found.value if found else None,
            unit=found.unit if found else "",
            counter=found.counter if found else None,
            status=status,
            # What an error prints may hold bytes that are not text (a file name, say), which JSON cannot.
            detail=detail.encode(errors="backslashreplace").decode(),
            at=at,
        )

    if any(found.metric == STATUS_METRIC for found in measurements):
        raise ValueError(f"the metric {STATUS_METRIC!r} is kept for the closing row")
    rows = [line(found, "unsupported" if found.value is None else "ok", found.detail) for found in measurements]
    return [*rows, line(None, status, detail)]


def _append_all_or_nothing(descriptor: int, data: bytes) -> None:
    length = _cut_torn_tail(descriptor)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, length)
        raise


def _cut_torn_tail(descriptor: int) -> int:
    """Cuts off what follows the last line end, to which the next line would be glued, and returns the length."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    length = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    os.ftruncate(descriptor, length)
    return length


def _parsed(line: bytes, path: Path, number: int) -> Record:
    try:
        return _Line.model_validate_json(line).record()
    except ValidationError as error:
        # `value` may be of several types, each with its own complaint: the last one is the telling one.
        first = error.errors()[0]["loc"][:1]
        told = [complaint for complaint in error.errors() if complaint["loc"][:1] == first][-1]
        field = ".".join(str(part) for part in told["loc"] if part not in {"int", "float"})
        reason = told["msg"].removeprefix("Value error, ")
        raise OutputError(
            f"{path} line {number} is not a record ({field + ': ' if field else ''}{reason}); "
            "remove the line, or begin anew with --fresh"
        ) from error


def _complete_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Consecutive rows of the same case, pass and time, each up to and with its closing row."""
    for _, group in groupby(records, key=lambda record: (*_key(record), record.at)):
        batch: list[Record] = []
        for record in group:
            batch.append(record)
            if record.metric == STATUS_METRIC:
                yield batch
                batch = []


def _key(record: Record) -> tuple[str, str]:
    return record.case.id, record.pass_name
