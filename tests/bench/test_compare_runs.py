"""Two runs compared: what changed, which is the better, what only one has, and the command that says so."""

from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import closings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from revbench.bench import environment as environments
from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.compare_runs import compare_runs
from revbench.bench.cases import Case
from revbench.bench.command_compare import environment_differences, names
from revbench.bench.records import Measurement
from revbench.bench.store import RunStore
from revbench.reports.run_comparison import comparison_table, print_comparison

CASE = Case(model="msresnet", depth=2, batch_size=4)
ROW = CaseRow(
    case=CASE,
    closings=(closings.closing(CASE, "memory"),),
    num_parameters=1000,
    peak_bytes=2**20,
    step_s=0.1,
    step_spread_s=0.01,
    images_per_s=40.0,
)
GOLDEN = """\
old and new
* the better; in parentheses how many times worse
case                          metric          unit           old           new
──────────────────────────────────────────────────────────────────────────────
msresnet depth=2 T=4 batch=4  num parameters  1            1,000         1,001
msresnet depth=2 T=4 batch=4  peak            MiB   1.00* (1.00)   1.50 (1.50)
msresnet depth=2 T=4 batch=4  step            ms    100.0 (1.25)  80.0* (1.00)
msresnet depth=2 T=4 batch=4  images per s    1/s    40.0 (1.25)  50.0* (1.00)

1 case in both: 0 numbers the same, 4 changed.
Measured on the same machine with the same software, as far as the runs tell.
"""


def printed(before: list[CaseRow], after: list[CaseRow], environment: list[str] | None = None) -> str:
    """What the terminal shows, without trailing blanks."""
    console = Console(width=100, record=True, file=StringIO())
    print_comparison(console, compare_runs(before, after), ("old", "new"), environment or [])
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


def test_a_run_beside_itself_has_not_changed() -> None:
    """Every number that is there is the same."""
    found = compare_runs([ROW], [ROW])
    assert (found.num_cases, found.num_same, found.changes) == (1, 5 - 1, ())
    assert printed([ROW], [ROW]) == (
        "1 case in both: 4 numbers the same, 0 changed.\n"
        "Measured on the same machine with the same software, as far as the runs tell.\n"
    )


def test_what_changed_is_shown_with_the_better_marked() -> None:
    """Less memory and more images a second are better; the other number is so many times worse."""
    new = replace(ROW, peak_bytes=3 * 2**19, images_per_s=50.0, step_s=0.08, num_parameters=1001)
    assert printed([ROW], [new]) == GOLDEN
    found = compare_runs([ROW], [new])
    told = {
        change.metric.name: (change.best, change.multiple(change.before), change.multiple(change.after))
        for change in found.changes
    }
    assert told == {
        "num_parameters": (None, None, None),
        "peak_bytes": (2**20, 1, 1.5),
        "step_s": (0.08, pytest.approx(1.25), 1),
        "images_per_s": (50, 1.25, 1),
    }


def test_a_byte_is_a_change_that_can_be_read() -> None:
    """Numbers that read the same in MiB are printed to the byte."""
    table = comparison_table(compare_runs([ROW], [replace(ROW, peak_bytes=2**20 + 1)]), ("old", "new"))
    assert table is not None
    assert [cell.text for cell in table.rows[0][3:5]] == ["1,048,576 B* (1.00)", "1,048,577 B (1.00)"]


def test_times_within_the_spread_are_marked() -> None:
    """A difference no larger than the interquartile range of a run is no news."""
    (step,) = compare_runs([ROW], [replace(ROW, step_s=0.105)]).changes
    assert step.within_spread
    assert "within the spread" in printed([ROW], [replace(ROW, step_s=0.105)])
    (step,) = compare_runs([ROW], [replace(ROW, step_s=0.12)]).changes
    assert not step.within_spread
    assert "remark" not in printed([ROW], [replace(ROW, step_s=0.12)])


def test_a_number_of_one_run_alone() -> None:
    """It is a change without a better."""
    (change,) = compare_runs([ROW], [replace(ROW, test_accuracy=0.9)]).changes
    assert (change.before, change.after, change.best, change.multiple(0.9)) == (None, 0.9, None, None)


def test_cases_of_one_run_alone_are_listed() -> None:
    """At most eight by name."""
    others = [CaseRow(case=replace(CASE, depth=depth)) for depth in range(3, 13)]
    found = compare_runs([ROW, *others], [ROW])
    assert (found.num_cases, len(found.only_before), found.only_after) == (1, 10, ())
    text = printed([ROW], [ROW, *others])
    assert "Only in new: msresnet depth=3 T=4 batch=4" in text
    assert "and 2 more." in text.replace("\n", " ")


def test_a_pass_that_ended_otherwise_is_told() -> None:
    """A case that runs out of memory in one of the runs."""
    failed = replace(ROW, closings=(closings.closing(CASE, "memory", "oom"),), peak_bytes=None)
    (status,) = compare_runs([ROW], [failed]).statuses
    assert (status.pass_name, status.before, status.after) == ("memory", "ok", "oom")
    assert "the memory pass ended ok in old, oom in new." in printed([ROW], [failed]).replace("\n", " ")


def test_runs_of_two_devices_are_compared_without_it() -> None:
    """A prediction beside a measurement; of a run on both devices each has its own cases."""
    fake = replace(ROW, case=replace(CASE, device="fake"), peak_bytes=2**21)
    found = compare_runs([ROW], [fake])
    assert (found.devices, found.num_cases, len(found.changes)) == (("cpu", "fake"), 1, 1)
    assert "Devices differ, all else of the cases does not: cpu and fake." in printed([ROW], [fake])
    assert compare_runs([ROW, fake], [fake]).devices is None
    assert compare_runs([ROW, fake], [fake]).num_cases == 1


def test_no_case_in_common() -> None:
    """Both are listed, and nothing is compared."""
    others = [replace(ROW, case=replace(CASE, model="revsresnet"))]
    assert printed([ROW], others).startswith("No case is in both, so that nothing is compared.\nOnly in old: msresnet")
    found = compare_runs([ROW], others)
    assert (found.num_cases, len(found.only_before), len(found.only_after)) == (0, 1, 1)


@given(st.integers(1, 10**12), st.integers(1, 10**12))
@settings(max_examples=40, deadline=None)
def test_the_multiple_of_the_best_is_one(before: int, after: int) -> None:
    """And that of the other is the ratio, whichever run comes first."""
    found = compare_runs([replace(ROW, peak_bytes=before)], [replace(ROW, peak_bytes=after)])
    turned = compare_runs([replace(ROW, peak_bytes=after)], [replace(ROW, peak_bytes=before)])
    assert bool(found.changes) == (before != after)
    for change, other in zip(found.changes, turned.changes, strict=True):
        multiples = sorted(change.multiple(value) or 0 for value in (before, after))
        assert multiples == [1, max(before, after) / min(before, after)]
        assert sorted(other.multiple(value) or 0 for value in (before, after)) == multiples


def a_run(folder: Path, peak_bytes: int, **changed: Any) -> Path:
    """A run folder with one case, measured on a machine of which something may differ."""
    with RunStore.open(folder) as store:
        store.append(CASE, "memory", [Measurement(metric="peak_bytes", value=peak_bytes, unit="B", counter="traced")])
        environment = environments.Environment(**(asdict(environments.capture("cpu")) | changed))
        environments.write_environment(environment, store.environment_path)
    return folder


def test_the_command(revbench: Any, tmp_path: Path) -> None:
    """Two folders, a table, what differs of the environment, exit 0."""
    runs = a_run(tmp_path / "a", 2**20), a_run(tmp_path / "b", 2**21, torch="9.9.9")
    done = revbench("compare", *runs)
    assert done.returncode == 0, done.stderr
    assert "1.00* (1.00)" in done.stdout
    assert "2.00 (2.00)" in done.stdout
    assert "What the runs ran on differs:" in done.stdout
    assert "-> 9.9.9" in done.stdout
    assert revbench("compare", runs[0], runs[0]).returncode == 0


def test_a_folder_that_is_no_run(revbench: Any, tmp_path: Path) -> None:
    """One sentence, exit 2, whichever of the two it is."""
    run = a_run(tmp_path / "a", 2**20)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folders in ((run, empty), (empty, run), (run, tmp_path / "nowhere")):
        done = revbench("compare", *folders)
        assert done.returncode == 2
        assert "records.jsonl" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_run_without_an_environment(tmp_path: Path) -> None:
    """It is compared all the same, and nobody knows where it was measured."""
    runs = a_run(tmp_path / "a", 2**20), a_run(tmp_path / "b", 2**20)
    assert environment_differences(*runs) == []
    (runs[1] / "environment.json").unlink()
    (line,) = environment_differences(*runs)
    assert "cannot be read" in line


def test_another_wait_policy_is_told(tmp_path: Path) -> None:
    """It changes times, though it follows from the load and not from the machine."""
    runs = a_run(tmp_path / "a", 2**20), a_run(tmp_path / "b", 2**20)
    for run, policy in zip(runs, (None, "PASSIVE"), strict=True):
        path = run / "environment.json"
        environments.write_environment(replace(environments.read_environment(path), omp_wait_policy=policy), path)
    assert environment_differences(*runs) == ["omp wait policy none -> PASSIVE"]


def test_what_runs_are_called(tmp_path: Path) -> None:
    """By the folder's name, or by the path where two are called the same."""
    first, second = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert names(tmp_path / "a", tmp_path / "b") == ("a", "b")
    assert names(first, second) == (str(first), str(second))
