"""`revbench validate`: the zoo measured on a GPU beside its predictions."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from revbench.bench import device as devices
from revbench.bench import environment as environments
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.errors import DeviceError, OutputError
from revbench.bench.gpu import Gpu, first_visible_gpu
from revbench.bench.memory.cards import cublas_workspace
from revbench.bench.memory.history import Held, replay
from revbench.bench.memory.predict import predict
from revbench.bench.memory.validate import Comparison, comparison
from revbench.bench.memory.zoo import zoo
from revbench.bench.progress import finding
from revbench.bench.records import Record
from revbench.bench.run import begin_or_continue, jobs_of, left_to_measure
from revbench.bench.runner import CaseProcess, Outcome
from revbench.bench.store import RunStore, read_records
from revbench.bench.suites import select
from revbench.bench.worker import describe_failure

TIMEOUT_S = 300.0
TOGETHER = 4
"""How many small cases are measured at the same time: bytes are counted for each process by itself."""
SMALL_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench validate --help`."""

    out: Path
    only: Sequence[str] = ()
    limit: int | None = None
    limit_s: float | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Predicted:
    """A case with what it is predicted to need."""

    case: Case
    tensors_bytes: int
    held: Held


def run(request: Request, console: Console) -> bool:
    """Measures what is left of the zoo and prints the table of errors; returns whether a case failed.

    Raises:
        RevbenchError: there is no GPU, or the folder cannot be used.
    """
    begin = time.monotonic()
    try:
        devices.resolve("cuda")
    except DeviceError:
        raise DeviceError(
            "revbench validate measures on a GPU and torch finds none here; run it on a machine that has one "
            "(revbench predict needs none)"
        ) from None
    gpu = first_visible_gpu()
    cases = select(zoo(Catalog().entries.values(), "cuda"), request.only, request.limit)
    with RunStore.open(request.out, fresh=request.fresh) as store:
        known, _ = begin_or_continue(store, environments.capture("cuda"))
        left = {case for case, _ in left_to_measure(jobs_of(cases, ("memory",)), known, retry=False)}
        predicted: list[Predicted] = []
        is_complete = True
        for group in groups(predictions(cases, gpu, console)):
            if request.limit_s is not None and time.monotonic() - begin > request.limit_s:
                is_complete = False
                break
            predicted += group
            for outcome in measured([each.case for each in group if each.case in left]):
                store.append(outcome.case, outcome.pass_name, outcome.measurements, outcome.status, outcome.detail)
                console.print(Text.assemble(f"{outcome.case.label():<48} ", finding(outcome)), soft_wrap=True)
        failed = report(predicted, read_records(store.records_path), request.out, console)
    if not is_complete:
        console.print("The time given was used up; the same command goes on with the cases that are left.")
    return failed


def predictions(cases: Sequence[Case], gpu: Gpu, console: Console) -> Iterator[Predicted]:
    """The cases that can be and that fit, predicted; what cannot be predicted is told and left out."""
    workspace_bytes = cublas_workspace(gpu.compute_capability).num_bytes or 0
    for case in cases:
        try:
            prediction = predict(case)
        except NotImplementedError:  # the rule does not apply to the model
            continue
        except Exception as error:  # models of plugins may fail in any way
            console.print(Text(f"{case.label()} cannot be predicted: {describe_failure(error)[1]}"), soft_wrap=True)
            continue
        held = replay(prediction.history, workspace_bytes)
        if gpu.memory_bytes is None or held.reserved_bytes <= gpu.memory_bytes:
            yield Predicted(case, prediction.requested_bytes, held)


def groups(predicted: Iterable[Predicted]) -> Iterator[list[Predicted]]:
    """The cases that are measured at the same time: small ones together, large ones each alone."""
    together: list[Predicted] = []
    for each in predicted:
        if each.held.reserved_bytes > SMALL_BYTES:
            yield [each]
            continue
        together.append(each)
        if len(together) == TOGETHER:
            yield together
            together = []
    if together:
        yield together


def measured(cases: Sequence[Case]) -> Iterator[Outcome]:
    """The memory pass over the cases at the same time, each in a fresh process; those that ran out of memory, alone."""
    with ExitStack() as stack:
        processes = [stack.enter_context(CaseProcess(case, "memory", timeout_s=TIMEOUT_S)) for case in cases]
        outcomes = [process.outcome() for process in processes]
    for outcome in outcomes:
        if outcome.status == "oom" and len(cases) > 1:
            yield from measured([outcome.case])
        else:
            yield outcome


def report(predicted: Sequence[Predicted], records: Sequence[Record], folder: Path, console: Console) -> bool:
    """Writes and prints the table of errors; returns whether a case failed.

    Raises:
        OutputError: the table cannot be written.
    """
    from revbench.reports.validation import print_comparisons, write_comparisons  # noqa: PLC0415

    rows = comparisons(predicted, records)
    try:
        path = write_comparisons(rows, folder)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
    print_comparisons(rows, console)
    console.print(Text(f"Written: {path}"), soft_wrap=True)
    return any(row.status not in {"ok", "unsupported"} for row in rows)


def comparisons(predicted: Sequence[Predicted], records: Sequence[Record]) -> list[Comparison]:
    """The predictions that were measured, each beside its measurement."""
    by_case: dict[Case, list[Record]] = {}
    for record in records:
        if record.pass_name == "memory":
            by_case.setdefault(record.case, []).append(record)
    return [
        comparison(each.case, each.tensors_bytes, each.held, by_case[each.case])
        for each in predicted
        if each.case in by_case
    ]
