"""`revbench list`: suites, models and rules in three tables, and what suites cost to run here."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench import device as devices
from revbench.bench import environment as environments
from revbench.bench.cases import Device
from revbench.bench.catalog import Catalog
from revbench.bench.config import Suite, find_config, load_config
from revbench.bench.energy.meters import MeterError, open_meter
from revbench.bench.errors import RevbenchError
from revbench.bench.run import jobs_of
from revbench.bench.runner import Job
from revbench.bench.store import ENVIRONMENT_NAME, RECORDS_NAME, read_records
from revbench.bench.suite_cost import (
    Cost,
    Speed,
    Step,
    estimated_cost,
    largest_step,
    measured_cost,
    speed_of,
    unknown_cost,
)
from revbench.bench.suites import expand
from revbench.bench.terminal import progress_bar
from revbench.models.rules import rules

RUNS = Path("runs")
TABLES = ("suites", "models", "rules")
MISSING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench list --help`.

    Attributes:
        tables: of `TABLES`; none for all of them.
        suites: names of those that the table of suites is about; none for all.
        costs: whether what was not measured here is estimated.
        config: the suite file.
    """

    tables: Sequence[str] = ()
    suites: Sequence[str] = ()
    costs: bool = False
    config: Path | None = None


def list_all(request: Request, console: Console) -> None:
    """Prints what can be measured.

    Raises:
        ConfigError: the suite file or a plugin cannot be used, or a suite is unknown.
    """
    about_suites = ("suites",) if request.costs or request.suites else ()
    wanted = (*request.tables, *about_suites) or TABLES
    entries = Catalog().entries  # or an error, before anything is printed
    if wanted is TABLES:
        _print_claims(request, console)
    elif "suites" in wanted:
        _print_costs(request, console)
    if "models" in wanted:
        models = _table("Models", "model", "what it is", "compared with")
        for name, entry in entries.items():
            models.add_row(name, entry.summary, entry.counterpart or "")
        console.print(models)
    if "rules" in wanted:
        ways = _table("Rules", "rule", "what it is")
        for name, rule in rules().items():
            ways.add_row(name, rule.summary)
        console.print(ways)


def _print_claims(request: Request, console: Console) -> None:
    path = find_config(request.config)
    suites = _table(f"Suites ({path})", "suite", "shows", "mirrors")
    for name, suite in load_config(path).suites.items():
        suites.add_row(name, f"{suite.title}. {suite.claim}", suite.mirrors)
    console.print(suites)


def _print_costs(request: Request, console: Console) -> None:
    path = find_config(request.config)
    config = load_config(path)
    suites = [config.suite(name) for name in request.suites] or list(config.suites.values())
    device = devices.resolve("auto")
    catalog = Catalog()
    jobs = [jobs_of(expand(suite, device, catalog), suite.passes) for suite in suites]
    costs = [_cost_of_earlier_run(suite, each, device) or unknown_cost(each) for suite, each in zip(suites, jobs)]  # noqa: B905
    if request.costs:
        costs = _estimated(suites, jobs, costs, device, console)
    table = _table(f"Suites ({path})", "suite", "shows")
    for header in ("cases", "passes", "memory\nMiB", "time"):
        table.add_column(header, justify="right", no_wrap=True)
    for suite, cost in zip(suites, costs, strict=True):
        table.add_row(suite.name, suite.title, *_cells(cost))
    console.print(table)
    console.print(Text(_legend(request, costs), style="dim"))


def _legend(request: Request, costs: Sequence[Cost]) -> str:
    told = [f"memory and time of a run on this machine, from {RUNS}/SUITE, where there is one"]
    if request.costs:
        told.append(
            "~ estimated from the largest case of each model, > from a smaller one where that would take too long"
        )
        told.append("estimated times tell minutes from hours; many small operators may take five times as long")
    elif not all(cost.is_measured for cost in costs):
        told.append("--costs estimates the others")
    return "; ".join(told)


def _cells(cost: Cost) -> Iterator[str]:
    about = "" if cost.is_measured else "~"
    yield f"{cost.num_cases:,}"
    yield f"{cost.num_passes:,}"
    least = ">" if cost.is_least_peak else about
    yield MISSING if cost.peak_bytes is None else f"{least}{cost.peak_bytes / 2**20:,.0f}"
    yield MISSING if cost.run_s is None else about + duration_text(cost.run_s)


def duration_text(seconds: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _cost_of_earlier_run(suite: Suite, jobs: Sequence[Job], device: Device) -> Cost | None:
    """From the run folder; None where it holds not all of the suite, or was measured elsewhere."""
    folder = RUNS / suite.name
    try:
        environment = environments.read_environment(folder / ENVIRONMENT_NAME)
        if environments.differences(environment, environments.capture(device)):
            return None
        return measured_cost(jobs, read_records(folder / RECORDS_NAME), suite.timeout_s)
    except RevbenchError:
        return None


def _estimated(
    suites: Sequence[Suite],
    jobs: Sequence[Sequence[Job]],
    costs: Sequence[Cost],
    device: Device,
    console: Console,
) -> list[Cost]:
    """The costs with estimates of what was not measured; a bar shows how far the traces are."""
    models = [
        [] if cost.is_measured else list(dict.fromkeys(case.model for case, _ in each))
        for cost, each in zip(costs, jobs, strict=True)
    ]
    if not any(models):
        return list(costs)
    found: list[Cost] = []
    with progress_bar(console) as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run tells them
        bar = progress.add_task("estimating", total=sum(map(len, models)))
        speed = _speed(device)
        for suite, each, cost, names in zip(suites, jobs, costs, models, strict=True):
            steps: dict[str, Step] = {}
            for model in names:
                progress.update(bar, description=f"{suite.name}: {model}")
                if step := largest_step(case for case, _ in each if case.model == model):
                    steps[model] = step
                progress.advance(bar)
            found.append(cost if cost.is_measured else estimated_cost(each, steps, speed))
    return found


def _speed(device: Device) -> Speed:
    import torch  # noqa: PLC0415 - slow to import, and only needed here

    try:
        with open_meter(torch.device(device)):
            has_meter = True
    except MeterError:
        has_meter = False
    return speed_of(device, has_meter=has_meter)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(headers[0], no_wrap=True)
    for header in headers[1:]:
        table.add_column(header)
    return table
