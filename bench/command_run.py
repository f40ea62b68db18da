"""`revbench run` and `revbench report`: from what the user typed to files and a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench import device as devices
from revbench.bench import environment as environments
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.config import find_config, load_config
from revbench.bench.energy.checkpoint import with_checkpoint
from revbench.bench.energy.choices import Choices
from revbench.bench.environment import Environment, read_environment
from revbench.bench.errors import ConfigError, OutputError
from revbench.bench.memory.predict import predict_peak
from revbench.bench.neighbours import sleep_beside_neighbours
from revbench.bench.progress import RunProgress
from revbench.bench.records import PassName, Record
from revbench.bench.run import (
    SuiteNote,
    begin_or_continue,
    jobs_of,
    left_to_measure,
    of_cases,
    read_suite_note,
    write_suite_note,
)
from revbench.bench.runner import Job, run_jobs
from revbench.bench.store import ENVIRONMENT_NAME, RECORDS_NAME, RunStore, failed, read_records
from revbench.bench.suites import expand, parse_overrides, select
from revbench.bench.terminal import FORMATS, PAGE
from revbench.bench.worker import describe_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench run --help`."""

    suite: str
    overrides: Sequence[str] = ()
    only: Sequence[str] = ()
    limit: int | None = None
    device: str = "auto"
    predict: bool = False
    dry_run: bool = False
    out: Path | None = None
    fresh: bool = False
    retry: bool = False
    formats: Sequence[str] = ("png", "svg")
    config: Path | None = None
    checkpoint: Path | None = None
    strict: bool = False


def run(request: Request, console: Console) -> bool:
    """Measures a suite and reports; returns whether a case failed.

    Raises:
        RevbenchError: the request, the suite file, the device or the run folder cannot be used.
    """
    suite = load_config(find_config(request.config)).suite(request.suite)
    suite = suite.with_overrides(parse_overrides(request.overrides))
    device = "fake" if request.predict else devices.resolve(request.device)
    if request.predict:
        suite = suite.for_prediction()
    catalog = Catalog()
    cases = select(expand(suite, device, catalog), request.only, request.limit)
    passes = _predicted(suite.passes) if request.predict else suite.passes
    if request.checkpoint is not None:
        cases = with_checkpoint(cases, passes, request.checkpoint)
    if request.strict and "energy" not in passes:
        raise ConfigError("--strict is for the pass energy, and this run has none; add --set passes=energy")
    if request.dry_run:
        _print_plan(cases, passes, console)
        return False
    folder = request.out or Path("runs") / (f"{suite.name}-predicted" if request.predict else suite.name)
    note = SuiteNote(
        name=suite.name,
        title=suite.title,
        claim=suite.claim,
        mirrors=suite.mirrors,
        note=suite.note,
        counterparts={name: twin for name, twin in catalog.counterparts().items() if name in suite.models},
        epoch_images=suite.epoch_images,
    )
    _open_with_summary(note, cases, passes, folder, request.formats, console)
    records = _measure(note, jobs_of(cases, passes), folder, request, suite.timeout_s, console)
    _report(records, note, folder, request.formats, console, folder)
    return bool(failed(records))


def _predicted(passes: Sequence[PassName]) -> tuple[PassName, ...]:
    """What is known without numbers: memory, and with it the operations of a suite that has both."""
    return ("memory", "operations") if {"memory", "operations"} <= {*passes} else ("memory",)


def report(folder: Path, out: Path, formats: Sequence[str], console: Console) -> None:
    """Draws a run again from its records.

    Raises:
        OutputError: the folder holds no run, or the report cannot be written.
    """
    records = read_records(folder / RECORDS_NAME)
    if not records:
        raise OutputError(f"{folder} holds no finished case yet; measure first with `revbench run`")
    _report(records, read_suite_note(folder), out, formats, console, folder)


def _open_with_summary(
    note: SuiteNote,
    cases: Sequence[Case],
    passes: Sequence[PassName],
    folder: Path,
    formats: Sequence[str],
    console: Console,
) -> None:
    """Says what is about to be measured, and where the results will be."""
    drawn = [name for name in formats if name in FORMATS]
    device = "fake tensors (predicted, no arithmetic)" if cases[0].device == "fake" else cases[0].device
    rows = {
        "suite": f"{note.name}: {note.title}",
        "claim": note.claim,
        "mirrors": note.mirrors,
        "note": note.note,
        "weights": f"of the checkpoint {cases[0].checkpoint}" if cases[0].checkpoint else "",
        "measures": f"{_count(cases)} on {device}; passes: {', '.join(passes)}",
        "records": str(folder / RECORDS_NAME),
        "table": str(folder / f"{note.name}.csv"),
        "figures": str(folder / f"{note.name}.{drawn[0]}") if drawn and "memory" in passes else "",
        "page": str(folder / f"{note.name}.{PAGE}") if PAGE in formats else "",
    }
    table = Table.grid(padding=(0, 2))
    for label, text in rows.items():
        if text:
            table.add_row(Text(label, style="bold"), Text(text))
    console.print(table)
    console.print()


def _measure(
    note: SuiteNote, jobs: Sequence[Job], folder: Path, request: Request, timeout_s: float, console: Console
) -> list[Record]:
    if jobs[0][0].device == "cpu":
        sleep_beside_neighbours(console)
    environment = environments.capture(jobs[0][0].device)
    with RunStore.open(folder, fresh=request.fresh) as store:
        known, changes = begin_or_continue(store, environment)
        for change in changes:
            told = f" measured before a change of the code ({change}); --fresh measures again"
            console.print(Text.assemble(("note:", "yellow"), told))
        write_suite_note(note, folder)
        left = left_to_measure(jobs, known, retry=request.retry, strict=request.strict)
        num_done = len(jobs) - len(left)
        if num_done:
            console.print(f"{num_done} of {len(jobs)} passes were measured before; --fresh measures them again")
        if left:
            with RunProgress([case for case, _ in jobs], num_done, len(jobs), console) as progress:
                run_jobs(
                    left,
                    store,
                    timeout_s=timeout_s,
                    starting=progress.starting,
                    finished=progress.finished,
                    choices=Choices(checkpoint=request.checkpoint, strict=request.strict),
                )
        return of_cases(read_records(store.records_path), jobs)


def _report(
    records: Sequence[Record],
    note: SuiteNote,
    folder: Path,
    formats: Sequence[str],
    console: Console,
    measured: Path,
) -> None:
    """Writes the report of the run in the folder `measured` to another, or to the same, and prints it."""
    from revbench.reports.report import print_report, write_report  # noqa: PLC0415 - imports matplotlib

    environment = _environment(measured)
    on_cuda = any(record.case.device == "cuda" for record in records)
    gpu = environment.gpu if environment and on_cuda else None
    written = write_report(records, note.name, note.title, folder, formats, gpu, note.epoch_images)
    if PAGE in formats:
        from revbench.reports.html.report import write_report_page  # noqa: PLC0415 - imports matplotlib

        written.append(write_report_page(records, note, folder, environment, gpu))
    console.print()
    print_report(console, records, note.title, note.counterparts, gpu, note.epoch_images)
    if note.note:
        console.print(Text(f"\n{note.note}"))
    console.print()
    console.print("Files:", style="bold")
    for path in (folder / RECORDS_NAME, folder / ENVIRONMENT_NAME, *written):
        if path.exists():
            console.print(f"  {path}", highlight=False, soft_wrap=True)


def _environment(folder: Path) -> Environment | None:
    """What a run ran on; None where the folder does not tell."""
    try:
        return read_environment(folder / ENVIRONMENT_NAME)
    except OutputError:
        return None


def _print_plan(cases: Sequence[Case], passes: Sequence[PassName], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("case", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("estimated peak", justify="right", no_wrap=True)
    with console.status("estimating") as status:
        for case in cases:
            status.update(Text(f"estimating {case.label()}"))
            table.add_row(case.label(), case.id, _estimate(case))
    console.print(table)
    console.print(f"{_count(cases)}, passes over each: {', '.join(passes)}; nothing was measured")


def _count(cases: Sequence[Case]) -> str:
    return "1 case" if len(cases) == 1 else f"{len(cases)} cases"


def _estimate(case: Case) -> str:
    try:
        return f"{predict_peak(case).total_bytes / 2**20:,.1f} MiB"
    except Exception as error:  # models of plugins may fail in any way
        return describe_failure(error)[0]
