"""`revbench compare`: two run folders, and what changed from the one to the other."""

from pathlib import Path

from rich.console import Console

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.compare_runs import compare_runs
from revbench.bench.environment import code_differences, differences, load_differences, read_environment
from revbench.bench.errors import OutputError
from revbench.bench.store import ENVIRONMENT_NAME, RECORDS_NAME, read_records


def compare(before: Path, after: Path, console: Console) -> None:
    """Reads two runs and prints what changed.

    Raises:
        OutputError: a folder holds no run, or no finished case.
    """
    from revbench.reports.run_comparison import print_comparison  # noqa: PLC0415 - imports the reports

    rows = [_rows(folder) for folder in (before, after)]
    print_comparison(console, compare_runs(*rows), names(before, after), environment_differences(before, after))


def names(before: Path, after: Path) -> tuple[str, str]:
    """What to call two folders: by their last part, or by the whole path where that is the same."""
    first, second = before.resolve().name, after.resolve().name
    return (first, second) if first != second else (str(before), str(after))


def environment_differences(before: Path, after: Path) -> list[str]:
    """What differs between the machines and the code of two runs; a line for each that does not tell."""
    read = []
    for folder in (before, after):
        try:
            read.append(read_environment(folder / ENVIRONMENT_NAME))
        except OutputError:
            return [f"{folder / ENVIRONMENT_NAME} cannot be read, so that nobody knows"]
    return [*differences(*read), *load_differences(*read), *code_differences(*read)]


def _rows(folder: Path) -> list[CaseRow]:
    rows = case_rows(read_records(folder / RECORDS_NAME))
    if not rows:
        raise OutputError(f"{folder} holds no finished case yet; measure first with `revbench run`")
    return rows
