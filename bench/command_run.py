"""`revbench run` and `revbench report`: from what the user typed to files and a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench import device as devices
from revbench.bench import environment as environments
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.config import Suite, find_config, load_config
from revbench.bench.errors import OutputError
from revbench.bench.memory.predict import predict_peak
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
from revbench.bench.runner import run_jobs
from revbench.bench.store import RECORDS_NAME, RunStore, failed, read_records
from revbench.bench.suites import expand, parse_overrides, select


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
    cases = select(expand(suite, device, Catalog()), request.only, request.limit)
    passes: tuple[PassName, ...] = ("memory",) if request.predict else suite.passes
    if request.dry_run:
        _print_plan(cases, passes, console)
        return False
    folder = request.out or Path("runs") / (f"{suite.name}-predicted" if request.predict else suite.name)
    records = _measure(suite, cases, passes, folder, request, console)
    _report(records, SuiteNote(name=suite.name, title=suite.title, claim=suite.claim), folder, request.formats, console)
    return bool(failed(records))


def report(folder: Path, out: Path, formats: Sequence[str], console: Console) -> None:
    """Draws a run again from its records.

    Raises:
        OutputError: the folder holds no run, or the report cannot be written.
    """
    records = read_records(folder / RECORDS_NAME)
    if not records:
        raise OutputError(f"{folder} holds no finished case yet; measure first with `revbench run`")
    _report(records, read_suite_note(folder), out, formats, console)


def _measure(
    suite: Suite,
    cases: Sequence[Case],
    passes: Sequence[PassName],
    folder: Path,
    request: Request,
    console: Console,
) -> list[Record]:
    jobs = jobs_of(cases, passes)
    environment = environments.capture(cases[0].device)
    with RunStore.open(folder, fresh=request.fresh) as store:
        known, changes = begin_or_continue(store, environment)
        for change in changes:
            console.print(f"[yellow]note:[/] measured before a change of the code ({change}); --fresh measures again")
        write_suite_note(
            SuiteNote(name=suite.name, title=suite.title, claim=suite.claim, mirrors=suite.mirrors), folder
        )
        left = left_to_measure(jobs, known, retry=request.retry)
        if len(left) < len(jobs):
            console.print(f"{len(jobs) - len(left)} of {len(jobs)} passes were measured before; --fresh measures again")
        if left:
            with RunProgress(cases, len(jobs), len(jobs) - len(left), console) as progress:
                run_jobs(
                    left, store, timeout_s=suite.timeout_s, starting=progress.starting, finished=progress.finished
                )
        return of_cases(read_records(store.records_path), jobs)


def _report(
    records: Sequence[Record], note: SuiteNote, folder: Path, formats: Sequence[str], console: Console
) -> None:
    from revbench.reports.report import print_report, write_report  # noqa: PLC0415 - imports matplotlib

    written = write_report(records, note.name, note.title, folder, formats)
    console.print()
    print_report(console, records, note.title)
    console.print()
    console.print("Files:", style="bold")
    for path in (folder / RECORDS_NAME, folder / "environment.json", *written):
        if path.exists():
            console.print(f"  {path}", highlight=False, soft_wrap=True)


def _print_plan(cases: Sequence[Case], passes: Sequence[PassName], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("case", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("estimated peak", justify="right", no_wrap=True)
    with console.status("estimating") as status:
        for case in cases:
            status.update(f"estimating {case.label()}")
            table.add_row(case.label(), case.id, f"{predict_peak(case).total_bytes / 2**20:,.1f} MiB")
    console.print(table)
    console.print(f"{len(cases)} cases, passes over each: {', '.join(passes)}; nothing was measured")
