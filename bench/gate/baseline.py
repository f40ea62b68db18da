"""A baseline: the readings of a suite in a file that is kept with the code and read in review.

It is JSON, one line a block of a case, sorted, so that a difference shows what grew. The digest is that of the
contents, whatever their white space: who edits a number by hand is told so. Nothing in the file is executed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

import revbench
from revbench.bench.cases import Case
from revbench.bench.errors import BaselineError
from revbench.bench.gate.reading import METRICS, Highest, Holder, Metric, Reading
from revbench.bench.gate.testbed import Testbed, python_version
from revbench.bench.memory.timeline import ACTIVATION_KINDS, KINDS, StorageKind
from revbench.bench.records import Counter
from revbench.bench.store import writing

FILE_NAME = "baseline.json"
SCHEMA = 1
MARK = "revbench_baseline"
AGAIN = "write it again with `revbench baseline write`"
ONE = "write one with `revbench baseline write`"
_KIND_ORDER = {kind: number for number, kind in enumerate(KINDS)}

Made = TypeVar("Made", Testbed, Case)
Held = dict[str, dict[str, int]]
"""By layer, by timesteps and kind as in `all saved`, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is compared with.

    Attributes:
        testbed: where it was read.
        readings: none of which failed, by the labels of their cases.
        command: what was typed to write it.
        revbench: version that read it.
        python: version that read it, which may decide when an object dies.
    """

    testbed: Testbed
    readings: Sequence[Reading]
    command: str = "revbench baseline write"
    revbench: str = revbench.__version__
    python: str = python_version()

    def notes(self) -> list[str]:
        """What differs here and is compared nevertheless."""
        here = {"revbench": revbench.__version__, "python": python_version()}
        return [f"{name} {getattr(self, name)} -> {now}" for name, now in here.items() if getattr(self, name) != now]


class _Entry(BaseModel):
    """One case of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    case: dict[str, str | int]
    status: str
    peak_bytes: int | None = None
    peak_phase: str = ""
    activation_peak_bytes: int | None = None
    activation_peak_phase: str = ""
    cuda: dict[Counter, int] = {}
    peak_held: Held = {}
    activation_peak_held: Held = {}


class _File(BaseModel):
    """The file without its mark and digest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    command: str
    revbench: str
    python: str
    testbed: dict[str, str]
    cases: list[_Entry]


def write(baseline: Baseline, path: Path) -> None:
    """Writes the file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text_of(baseline), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def read_baseline(path: Path) -> Baseline:
    """Reads what `write` wrote.

    Raises:
        BaselineError: there is no such file, it is none of ours, of another schema, cut off, or edited by hand.
    """
    data = _ours(_json(path), path)
    try:
        file = _File.model_validate(data)
        testbed = _made(Testbed, file.testbed)
        readings = [_reading(entry, testbed) for entry in file.cases]
    except (ValidationError, ValueError) as error:
        told = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, told['loc']))}: {told['msg']}" if told else str(error)
        raise BaselineError(f"{path} is not a baseline that can be read ({reason}); {AGAIN}") from None
    return Baseline(
        testbed=testbed, readings=readings, command=file.command, revbench=file.revbench, python=file.python
    )


def _json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BaselineError(
            f"cannot read the baseline {path}: {error.strerror}; name it with --baseline, or {ONE}"
        ) from None
    except UnicodeDecodeError as error:
        raise BaselineError(f"{path} is not a baseline: it is not UTF-8 at byte {error.start}; {AGAIN}") from None
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise BaselineError(f"{path} is cut off, in conflict or no baseline ({reason}); {AGAIN}") from None


def _ours(data: Any, path: Path) -> dict[str, Any]:
    if not isinstance(data, dict) or type(data.get(MARK)) is not int:
        raise BaselineError(f"{path} is not a baseline of revbench; name another, or {ONE}")
    schema, digest = data.pop(MARK), data.pop("digest", None)
    if schema < SCHEMA:
        raise BaselineError(f"{path} is of the older schema {schema}, and this revbench reads {SCHEMA}; {AGAIN}")
    if schema > SCHEMA:
        raise BaselineError(
            f"{path} is of the newer schema {schema}, and this revbench reads {SCHEMA}; update revbench, or {AGAIN}"
        )
    if digest != _digest(data):
        raise BaselineError(f"{path} was edited by hand or damaged: its digest is not that of its contents; {AGAIN}")
    return data


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def text_of(baseline: Baseline) -> str:
    """The file."""
    head: dict[str, Any] = {
        "command": baseline.command,
        "revbench": baseline.revbench,
        "python": baseline.python,
        "testbed": _said(baseline.testbed),
    }
    entries = [_entry(reading) for reading in sorted(baseline.readings, key=lambda reading: reading.case.label())]
    digest = _digest({**head, "cases": entries})
    lines = [
        f" {json.dumps(key)}: {json.dumps(value)}," for key, value in {MARK: SCHEMA, "digest": digest, **head}.items()
    ]
    cases = ",\n".join(_case_text(entry) for entry in entries)
    return "\n".join(["{", *lines, ' "cases": [', *([cases] if cases else []), " ]", "}", ""])


def _case_text(entry: Mapping[str, Any]) -> str:
    """A case over several lines: its fields, its numbers, and one line for each block."""
    parts = [f"   {json.dumps(key)}: {_value_text(value)}" for key, value in entry.items()]
    return "  {\n" + ",\n".join(parts) + "\n  }"


def _value_text(value: Any) -> str:
    if not isinstance(value, dict) or not any(isinstance(part, dict) for part in value.values()):
        return json.dumps(value)
    return "{\n" + ",\n".join(f"    {json.dumps(key)}: {json.dumps(part)}" for key, part in value.items()) + "\n   }"


def _said(testbed: Testbed) -> dict[str, str]:
    return {name: value for name, value in asdict(testbed).items() if value is not None}


def _entry(reading: Reading) -> dict[str, Any]:
    """The case as it stands in the file: without what follows from the rest."""
    case = {key: value for key, value in reading.case.as_dict().items() if value is not None and key != "device"}
    entry: dict[str, Any] = {"case": case, "status": reading.status}
    for metric in METRICS if reading.traced else ():
        highest = reading.traced[metric]
        entry |= {metric: highest.num_bytes, metric.replace("_bytes", "_phase"): highest.phase}
    if reading.cuda:
        entry["cuda"] = dict(reading.cuda)
    for metric in METRICS if reading.traced else ():
        highest = reading.traced[metric]
        if metric == "peak_bytes" or highest.by_holder != _activations(reading.traced["peak_bytes"].by_holder):
            entry[metric.replace("_bytes", "_held")] = _held(highest.by_holder)
    return entry


def _held(by_holder: Mapping[Holder, int]) -> Held:
    held: Held = {}
    for holder in sorted(by_holder, key=lambda holder: (holder.layer, holder.timesteps, _KIND_ORDER[holder.kind])):
        held.setdefault(holder.layer, {})[f"{holder.timesteps} {holder.kind}"] = by_holder[holder]
    return held


def _activations(by_holder: Mapping[Holder, int]) -> dict[Holder, int]:
    return {holder: num_bytes for holder, num_bytes in by_holder.items() if holder.kind in ACTIVATION_KINDS}


def _reading(entry: _Entry, testbed: Testbed) -> Reading:
    """The reading of an entry.

    Raises:
        ValueError: it contradicts itself.
    """
    case = _made(Case, {**entry.case, "device": testbed.device})
    if entry.status == "unsupported":
        return Reading(case=case, status="unsupported")
    if entry.status != "ok" or entry.peak_bytes is None or entry.activation_peak_bytes is None:
        raise ValueError(f"{case.label()} has no bytes")
    at_peak = _by_holder(entry.peak_held)
    at_activation_peak = _by_holder(entry.activation_peak_held) or _activations(at_peak)
    traced: dict[Metric, Highest] = {
        "peak_bytes": Highest(num_bytes=entry.peak_bytes, phase=entry.peak_phase, by_holder=at_peak),
        "activation_peak_bytes": Highest(
            num_bytes=entry.activation_peak_bytes, phase=entry.activation_peak_phase, by_holder=at_activation_peak
        ),
    }
    if any(sum(highest.by_holder.values()) != highest.num_bytes for highest in traced.values()):
        raise ValueError(f"the bytes of {case.label()} do not add up")
    return Reading(case=case, traced=traced, cuda=entry.cuda)


def _made(kind: type[Made], values: Mapping[str, Any]) -> Made:
    """The dataclass with these fields.

    Raises:
        ValueError: a field is unknown, missing, or has another type.
    """
    if unknown := [name for name in values if name not in {field.name for field in fields(kind)}]:
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}")
    return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)


def _by_holder(held: Held) -> dict[Holder, int]:
    found: dict[Holder, int] = {}
    for layer, amounts in held.items():
        for name, num_bytes in amounts.items():
            timesteps, _, kind = name.partition(" ")
            found[Holder(layer, timesteps, TypeAdapter(StorageKind).validate_python(kind))] = num_bytes
    return found
