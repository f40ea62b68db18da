"""`revbench baseline write` and `revbench check`: what training steps need is kept with the code, and may not grow."""

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from revbench.bench import device as devices
from revbench.bench.cases import Case, Device
from revbench.bench.catalog import Catalog
from revbench.bench.config import find_config, load_config
from revbench.bench.errors import (
    EXIT_CASE_FAILED,
    EXIT_NOTHING_COMPARED,
    EXIT_OK,
    ConfigError,
    nearest,
)
from revbench.bench.gate.baseline import Baseline, read_baseline, write
from revbench.bench.gate.compare import compare
from revbench.bench.gate.finding import Finding, exit_code, worst_first
from revbench.bench.gate.github import annotations, error_line
from revbench.bench.gate.interleaved import compare_times
from revbench.bench.gate.junit import write_junit
from revbench.bench.gate.markdown import markdown, write_markdown
from revbench.bench.gate.reading import Reading
from revbench.bench.gate.readings import read_all
from revbench.bench.gate.terminal import print_check
from revbench.bench.gate.testbed import testbed
from revbench.bench.gate.times import TimeComparison, num_rounds
from revbench.bench.gate.tolerances import Tolerance
from revbench.bench.neighbours import sleep_beside_neighbours
from revbench.bench.suites import expand, parse_overrides, select
from revbench.bench.terminal import progress_bar

DEVICES = ("fake", *devices.CHOICES)
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """What the user asked for; see `revbench baseline write --help`."""

    suites: Sequence[str]
    overrides: Sequence[str] = ()
    only: Sequence[str] = ()
    device: str = "fake"
    out: Path
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What the user asked for; see `revbench check --help`."""

    baseline: Path
    only: Sequence[str] = ()
    device: str | None = None
    strict: bool = False
    across_versions: bool = False
    github: bool = False
    time_against: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    config: Path | None = None


def write_baseline(request: WriteRequest, console: Console) -> int:
    """Reads the cases of the suites and writes the baseline, if none failed; returns the exit code.

    Raises:
        RevbenchError: the request, the suite file, the device or the file cannot be used.
    """
    config, catalog, device = load_config(find_config(request.config)), Catalog(), _device(request.device)
    overrides = parse_overrides(request.overrides)
    cases: list[Case] = []
    for name in request.suites:
        suite = config.suite(name).with_overrides(overrides)
        cases += expand(suite.for_prediction() if device == "fake" else suite, device, catalog)
    cases = select(list(dict.fromkeys(cases)), request.only)
    readings = _read(cases, console)
    failed = [reading for reading in readings if reading.status == "failed"]
    for reading in failed:
        told = f" {reading.case.label()}: {reading.detail}"
        console.print(Text.assemble(("FAILED", "bold red"), told), soft_wrap=True)
    if failed:
        console.print(
            f"{len(failed)} of {len(cases)} cases failed and nothing was written; mend them or leave them out"
        )
        return EXIT_CASE_FAILED
    write(Baseline(testbed=testbed(device), readings=readings, command=_command(request)), request.out)
    unsupported = sum(reading.status == "unsupported" for reading in readings)
    told = f", {unsupported} of them unsupported, as a case may be" if unsupported else ""
    console.print(Text(f"{request.out}: {len(cases)} {'case' if len(cases) == 1 else 'cases'}{told}"), soft_wrap=True)
    return EXIT_OK


def check(request: CheckRequest, console: Console) -> int:
    """Reads the cases of the baseline again, compares and reports; returns the exit code.

    Raises:
        RevbenchError: the request, the suite file, the baseline, the device or a file to be written cannot be used.
    """
    start = time.monotonic()
    baseline = read_baseline(request.baseline)
    tolerances = load_config(find_config(request.config)).check.tolerance
    Catalog()  # a plugin that cannot be loaded is one error, not one for every case
    device = baseline.testbed.device if request.device is None else _device(request.device)
    if device == "cuda" and devices.resolve("auto") != "cuda":
        return _nothing(f"{request.baseline} was measured on CUDA, and torch finds none here", request, console)
    differences = baseline.testbed.differences(testbed(device))
    if differences and not request.across_versions:
        told = f"{request.baseline} was written elsewhere ({'; '.join(differences)})"
        mend = f"write it again here ({baseline.command}), or compare --across-versions"
        return _nothing(f"{told}; {mend}", request, console)
    before = _chosen(baseline.readings, request.only, device)
    if not before:
        return _nothing(f"{request.baseline} holds no case; write it again ({baseline.command})", request, console)
    notes = [f"The baseline was written elsewhere: {each}." for each in (*differences, *baseline.notes())]
    for note in notes:
        console.print(Text(note), soft_wrap=True)
    now = _read([reading.case for reading in before], console)
    found: list[Finding] = [compare(old, new, tolerances) for old, new in zip(before, now, strict=True)]
    if request.time_against is not None:
        found += _times(found, request.time_against, request.device, tolerances.time, console)
    found = worst_first(found)
    seconds = time.monotonic() - start
    print_check(found, console, hint=baseline.command)
    _write_reports(found, notes, request, seconds)
    if request.github:
        for line in annotations(found, request.baseline):
            console.print(Text(line), soft_wrap=True)
    code = exit_code(found, strict=request.strict)
    if code == EXIT_NOTHING_COMPARED:
        console.print("nothing was compared: no case is supported")
    return code


def _read(cases: Sequence[Case], console: Console) -> list[Reading]:
    with progress_bar(console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(cases))
        return read_all(
            cases,
            timeout_s=TIMEOUT_S,
            done=lambda reading: progress.update(task, advance=1, description=reading.case.label()),
        )


def _times(
    found: Sequence[Finding], folder: Path, device: str | None, effect: Tolerance, console: Console
) -> list[TimeComparison]:
    """The times of the cases that have bytes, in the version of the folder and in this one."""
    resolved = devices.resolve("auto" if device in (None, "fake") else str(device))
    cases = [replace(each.case, device=resolved) for each in found if each.is_compared]
    if not cases:
        return []
    if resolved == "cpu":
        sleep_beside_neighbours(console)
    told = f"timing {len(cases)} {'case' if len(cases) == 1 else 'cases'} on {resolved}: {num_rounds(len(cases))}"
    console.print(Text(f"{told} processes each of this version and of {folder}, in turns"), soft_wrap=True)
    with console.status("timing") as status:
        found_times = compare_times(
            cases,
            folder,
            effect=effect,
            timeout_s=TIMEOUT_S,
            done=lambda case: status.update(Text(f"timed {case.label()}")),
        )
    for each in found_times:
        if each.verdict == "same":
            console.print(Text(f"{each.name}: {each.sentence()}"), soft_wrap=True)
    return found_times


def _device(choice: str) -> Device:
    if choice == "fake":
        return "fake"
    if choice not in devices.CHOICES:
        raise ConfigError(f"there is no device {choice!r}; {nearest(choice, list(DEVICES))}")
    return devices.resolve(choice)


def _chosen(readings: Sequence[Reading], only: Sequence[str], device: Device) -> list[Reading]:
    """The readings to be compared, as if they were of that device."""
    moved = [replace(reading, case=replace(reading.case, device=device)) for reading in readings]
    if not moved:
        return []
    wanted = set(select([reading.case for reading in moved], only))
    return [reading for reading in moved if reading.case in wanted]


def _command(request: WriteRequest) -> str:
    words = ["revbench", "baseline", "write"]
    for option, values in (("--suite", request.suites), ("--set", request.overrides), ("--only", request.only)):
        words += [word for value in values for word in (option, value)]
    if request.device != "fake":
        words += ["--device", request.device]
    if request.config is not None:
        words += ["--config", str(request.config)]
    return shlex.join([*words, "--out", str(request.out)])


def _nothing(reason: str, request: CheckRequest, console: Console) -> int:
    """Says on all channels that nothing was compared; returns the exit code."""
    sentence = f"nothing was compared: {reason}"
    console.print(Text(sentence), soft_wrap=True)
    if request.github:
        console.print(Text(error_line(reason, "nothing was compared", str(request.baseline))), soft_wrap=True)
    _write_reports([], [sentence], request, 0.0)
    return EXIT_NOTHING_COMPARED


def _write_reports(found: Sequence[Finding], notes: Sequence[str], request: CheckRequest, seconds: float) -> None:
    if request.junit is not None:
        write_junit(found, request.junit, seconds)
    if request.markdown is not None:
        write_markdown(markdown(found, notes), request.markdown)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        write_markdown(markdown(found, notes), Path(summary), append=True)
