"""The run folder: what is written can be read, whatever cuts the writing off."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revbench.bench.cases import Case
from revbench.bench.errors import OutputError
from revbench.bench.records import STATUS_METRIC, Measurement, PassName, Record
from revbench.bench.store import ENVIRONMENT_NAME, RECORDS_NAME, RunStore, failed, finished, read_records

FIRST = Case(model="plain", depth=2)
SECOND = Case(model="plain", depth=4)
THIRD = Case(model="reversible", depth=4, activations="recomputed", dtype="bfloat16")


def measured(value: float, metric: str = "peak_bytes") -> Measurement:
    """A measurement in bytes."""
    return Measurement(metric=metric, value=value, unit="B", counter="traced")


def values(records: list[Record]) -> dict[tuple[int | None, PassName, str], int | float | None]:
    """The values, told apart by depth, pass and metric."""
    return {(record.case.depth, record.pass_name, record.metric): record.value for record in records}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A `records.jsonl` with one batch each of the first and the second case."""
    with RunStore.open(tmp_path) as store:
        store.append(FIRST, "memory", [measured(10), measured(3.5, "mean_bytes")])
        store.append(SECOND, "memory", [measured(20), measured(7, "mean_bytes")])
    return store.records_path


def test_what_was_appended_can_be_read(tmp_path: Path) -> None:
    """Every field of every row survives, with whole numbers whole, and batches stay in order."""
    with RunStore.open(tmp_path / "new" / "folder") as store:
        store.append(THIRD, "memory", [measured(2**60 + 1), measured(0.1, "mean_bytes")])
        store.append(FIRST, "time", status="oom", detail="needed 3 GiB\nhad 2")
    records = read_records(store.records_path)
    assert [record.metric for record in records] == ["peak_bytes", "mean_bytes", STATUS_METRIC, STATUS_METRIC]
    assert [record.value for record in records] == [2**60 + 1, 0.1, None, None]
    assert isinstance(records[0].value, int)
    assert [record.case for record in records] == [THIRD] * 3 + [FIRST]
    assert [record.status for record in records] == ["ok", "ok", "ok", "oom"]
    assert [record.unit for record in records] == ["B", "B", "", ""]
    assert [record.counter for record in records] == ["traced", "traced", None, None]
    assert records[3].pass_name == "time"
    assert records[3].detail == "needed 3 GiB\nhad 2"
    assert records[0].at == records[2].at < records[3].at


def test_a_meter_that_does_not_tell_is_a_row(tmp_path: Path) -> None:
    """A measurement without a value says why, has the status `unsupported`, and does not make its pass a failure."""
    silent = Measurement(metric="energy_j", value=None, unit="J", counter="nvml", detail="the GPU does not tell")
    with RunStore.open(tmp_path) as store:
        store.append(FIRST, "energy", [silent, measured(1)])
    records = read_records(store.records_path)
    assert [(row.value, row.status, row.detail) for row in records] == [
        (None, "unsupported", "the GPU does not tell"),
        (1, "ok", ""),
        (None, "ok", ""),
    ]
    assert failed(records) == set()


def test_a_line_has_the_fields_of_the_format(path: Path) -> None:
    """A line is a JSON object with the schema, the case as an object, its id, and the pass as `pass`."""
    line = json.loads(path.read_bytes().splitlines()[0])
    names = "schema case_id case pass metric value unit counter status detail at"
    assert list(line) == names.split()
    assert line["schema"] == 1
    assert line["case"] == FIRST.as_dict()
    assert line["case_id"] == FIRST.id
    assert line["pass"] == "memory"


@given(
    st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
    st.text(st.characters(exclude_categories=[])),
)
def test_any_finite_number_and_any_text_survive(numbers: list[int | float], text: str) -> None:
    """Numbers come back exactly and of the same type; text that is not Unicode is escaped, not refused."""
    with TemporaryDirectory() as folder, RunStore.open(Path(folder)) as store:
        store.append(FIRST, "energy", [measured(number) for number in numbers], "error", text)
        *rows, closing = read_records(store.records_path)
    assert [repr(row.value) for row in rows] == [repr(number) for number in numbers]
    assert closing.detail == text.encode(errors="backslashreplace").decode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), True])
def test_a_value_that_is_no_number_is_not_written(path: Path, value: float) -> None:
    """NaN, infinity and truth values are refused and leave the file as it was."""
    before = path.read_bytes()
    with RunStore.open(path.parent) as store, pytest.raises(ValueError, match="value"):
        store.append(THIRD, "memory", [measured(1), measured(value)])
    assert path.read_bytes() == before


def test_the_metric_status_is_kept_for_the_closing_row(path: Path) -> None:
    """A measurement cannot close its batch early."""
    with RunStore.open(path.parent) as store, pytest.raises(ValueError, match="status"):
        store.append(THIRD, "memory", [measured(1, STATUS_METRIC)])


def test_a_case_that_could_not_be_read_back_is_not_written(path: Path) -> None:
    """A case with a field outside its type is refused at once, and not when the run is read."""
    unknown: Any = "int4"
    with RunStore.open(path.parent) as store, pytest.raises(ValueError, match="dtype"):
        store.append(Case(model="plain", dtype=unknown), "memory")


def test_a_torn_last_line_costs_its_batch_only(path: Path) -> None:
    """Cut at every byte of the last batch, the file reads as the first one, and a further batch is not glued to it."""
    whole = path.read_bytes()
    first_batch = len(b"".join(whole.splitlines(keepends=True)[:3]))
    only_first = {key: value for key, value in values(read_records(path)).items() if key[0] == FIRST.depth}
    for length in range(first_batch, len(whole)):
        path.write_bytes(whole[:length])
        assert values(read_records(path)) == only_first
        with RunStore.open(path.parent) as store:
            store.append(SECOND, "memory", [measured(30)])
        expected = {**only_first, (4, "memory", "peak_bytes"): 30, (4, "memory", STATUS_METRIC): None}
        assert values(read_records(path)) == expected
        assert len(read_records(path)) == len(expected)


def test_a_tail_of_zeros_is_torn_as_well(path: Path) -> None:
    """Zeros, which a power cut can leave, are ignored and cut off."""
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 4096)
    assert len(read_records(path)) == 6
    with RunStore.open(path.parent) as store:
        store.append(THIRD, "memory")
    assert path.read_bytes().startswith(whole + b"{")
    assert len(read_records(path)) == 7


def test_the_last_complete_batch_wins(path: Path) -> None:
    """A pass measured again replaces the earlier one whole, in its own place, and one cut off replaces nothing."""
    with RunStore.open(path.parent) as store:
        store.append(FIRST, "memory", [measured(11)])
        store.append(FIRST, "time", [measured(12)])
        store.append(SECOND, "memory", [measured(99)])
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert [(row.case.depth, row.pass_name, row.metric, row.value) for row in read_records(path)] == [
        (4, "memory", "peak_bytes", 20),
        (4, "memory", "mean_bytes", 7),
        (4, "memory", STATUS_METRIC, None),
        (2, "memory", "peak_bytes", 11),
        (2, "memory", STATUS_METRIC, None),
        (2, "time", "peak_bytes", 12),
        (2, "time", STATUS_METRIC, None),
    ]


def changed(**fields: object) -> Callable[[bytes], bytes]:
    """Changes fields of a line."""
    return lambda line: json.dumps(json.loads(line) | fields).encode()


def without(field: str) -> Callable[[bytes], bytes]:
    """Leaves a field of a line out."""
    return lambda line: json.dumps({key: value for key, value in json.loads(line).items() if key != field}).encode()


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (changed(schema=2), "schema: 2 is unknown"),
        (without("schema"), "schema"),
        (changed(value=float("nan")), "value: Input should be a finite number"),
        (lambda line: line.replace(b'"value":10', b'"value":1e999'), "value: Input should be a finite number"),
        (changed(value="10"), "value"),
        (changed(value=True), "value"),
        (without("value"), "value: Field required"),
        (without("at"), "at: Field required"),
        (changed(status="fine"), "status"),
        (changed(counter="guess"), "counter"),
        (changed(colour="red"), "colour"),
        (changed(**{"pass": "speed"}), "pass"),
        (changed(case={"model": 3}), "case.model"),
        (changed(case=FIRST.as_dict() | {"colour": "red"}), "case.colour"),
        (changed(case=SECOND.as_dict()), "case_id"),
        (changed(case_id="0123456789abcdef"), "case_id"),
        (lambda line: line[:40] + line, "JSON"),
        (lambda line: line + line, "JSON"),
        (lambda line: line[:-1], "JSON"),
        (lambda line: line.replace(b"plain", b"pl\xffin"), "JSON"),
        (lambda _line: b"", "JSON"),
        (lambda _line: b"[1]", "object"),
    ],
)
def test_a_broken_line_is_named(path: Path, harm: Callable[[bytes], bytes], complaint: str) -> None:
    """A line that is no record, other than a torn last one, is an error that names file, line and field."""
    first, second, *others = path.read_bytes().splitlines()
    assert harm(first) != first
    path.write_bytes(b"\n".join([second, harm(first), *others]) + b"\n")
    with pytest.raises(OutputError) as raised:
        read_records(path)
    assert str(raised.value).startswith(f"{path} line 2 ")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_records_is_a_sentence(tmp_path: Path) -> None:
    """A folder that was never run in is answered with what to do."""
    with pytest.raises(OutputError, match=r"cannot read .*records\.jsonl: No such file or directory; measure first"):
        read_records(tmp_path / RECORDS_NAME)


@pytest.mark.parametrize("fault", ["full", "half written", "not flushed", "interrupted"])
def test_a_failed_append_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A full disk, a short write, a failing flush or an interrupt: the file ends where it did, and can go on."""
    before = path.read_bytes()
    write = os.write

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    def unflushed(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def interrupted(descriptor: int, data: bytes) -> int:
        half(descriptor, data)
        raise KeyboardInterrupt

    faults: dict[str, tuple[str, Callable[..., object]]] = {
        "full": ("write", full),
        "half written": ("write", half),
        "not flushed": ("fsync", unflushed),
        "interrupted": ("write", interrupted),
    }
    with RunStore.open(path.parent) as store, monkeypatch.context() as patch:
        patch.setattr(os, *faults[fault])
        with pytest.raises((OutputError, KeyboardInterrupt)) as raised:
            store.append(THIRD, "memory", [measured(1)])
        assert path.read_bytes() == before
        patch.undo()
        store.append(THIRD, "memory", [measured(1)])
    assert len(read_records(path)) == 8
    if fault in {"full", "half written"}:
        assert str(raised.value) == (
            f"cannot write {path}: the disk is full; free some space and run again, what was measured is kept"
        )


def test_one_write_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch reaches the file in a single write, and is flushed to the disk."""
    calls = Mock(write=Mock(wraps=os.write), fsync=Mock(wraps=os.fsync))
    with RunStore.open(tmp_path) as store:
        monkeypatch.setattr(os, "write", calls.write)
        monkeypatch.setattr(os, "fsync", calls.fsync)
        store.append(FIRST, "memory", [measured(number, f"m{number}") for number in range(100)])
    assert [name for name, *_ in calls.mock_calls] == ["write", "fsync"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_folder_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """No permission, a read-only or a full disk: one sentence with the place, before anything is measured."""

    def refuse(name: Path, *_arguments: object) -> int:
        raise OSError(code, os.strerror(code), str(name))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path}/run.*: .*; .*") as raised:
        RunStore.open(tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_noticed_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which files can be created but not filled is refused when the folder is opened."""

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="the disk is full"):
            RunStore.open(tmp_path)
    RunStore.open(tmp_path).close()


@pytest.mark.parametrize("name", ["run", "run/deeper"])
def test_a_file_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    """A file where the folder or its parent should be is named, and left alone."""
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path}/run.*: a file is in the way"):
        RunStore.open(tmp_path / name)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    """A folder where the records should be is named, and the lock is given back."""
    (tmp_path / RECORDS_NAME).mkdir()
    with pytest.raises(OutputError, match=rf"{RECORDS_NAME}: a folder is in the way"):
        RunStore.open(tmp_path)
    (tmp_path / RECORDS_NAME).rmdir()
    RunStore.open(tmp_path).close()


def test_fresh_renames_and_deletes_nothing(path: Path) -> None:
    """A fresh run begins with no records; the earlier ones and their environment lie beside it, and are named."""
    before = path.read_bytes()
    (path.parent / ENVIRONMENT_NAME).write_text("{}")
    with RunStore.open(path.parent, fresh=True) as store:
        assert read_records(path) == []
        assert not store.environment_path.exists()
        records, environment = store.set_aside
    assert records.read_bytes() == before
    assert environment.read_text() == "{}"
    assert records.name.startswith("records-2")
    assert records.name.endswith("Z.jsonl")


def test_fresh_keeps_each_earlier_run(path: Path) -> None:
    """Beginning afresh again and again overwrites none of the files set aside, and adds none for a run of nothing."""
    for value in range(3):
        with RunStore.open(path.parent, fresh=True) as store:
            store.append(FIRST, "memory", [measured(value)])
    assert len(list(path.parent.glob("records-*.jsonl"))) == 3
    RunStore.open(path.parent, fresh=True).close()
    with RunStore.open(path.parent, fresh=True) as store:
        assert store.set_aside == ()


def test_opened_again_it_goes_on(path: Path) -> None:
    """Without `fresh` what was measured stays, and the rest is appended."""
    with RunStore.open(path.parent) as store:
        store.append(THIRD, "time")
        assert store.set_aside == ()
    assert len(read_records(path)) == 7


def test_only_one_at_a_time(tmp_path: Path) -> None:
    """A second opener is told who has the folder and harms nothing; after the first has closed, it can have it."""
    with RunStore.open(tmp_path) as store:
        store.append(FIRST, "memory")
        with pytest.raises(OutputError, match=f"process {os.getpid()} is writing to {tmp_path} already"):
            RunStore.open(tmp_path, fresh=True)
        assert len(read_records(store.records_path)) == 1
    RunStore.open(tmp_path).close()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """The folder of another process is locked while that lives, and free once it is killed."""
    code = "import sys, pathlib, revbench.bench.store as s; t = s.RunStore.open(pathlib.Path(sys.argv[1])); print(1); "
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen(
        [sys.executable, "-uc", code + "sys.stdin.read()", str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OutputError, match=f"process {holder.pid} is writing"):
            RunStore.open(tmp_path)
        holder.kill()
    RunStore.open(tmp_path).close()


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    """A store that was closed by hand inside its `with` closes no file of anybody else."""
    with RunStore.open(tmp_path) as store:
        store.close()


def test_finished_and_failed(path: Path) -> None:
    """Every pass with a closing row is finished; those of another status than `ok` are failed as well."""
    with RunStore.open(path.parent) as store:
        store.append(FIRST, "time", status="oom", detail="too big")
        store.append(THIRD, "energy", status="unsupported", detail="no counter")
        store.append(SECOND, "time", status="error", detail="broke")
        store.append(SECOND, "time", [measured(1)])
    records = read_records(path)
    bad = {(FIRST.id, "time"), (THIRD.id, "energy")}
    assert failed(records) == bad
    assert finished(records) == bad | {(FIRST.id, "memory"), (SECOND.id, "memory"), (SECOND.id, "time")}
