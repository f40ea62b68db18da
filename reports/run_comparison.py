"""Two runs in the terminal: a table of what changed, the better number marked, and sentences on all else."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from revbench.bench.analysis.compare_runs import Change, Metric, RunComparison
from revbench.bench.cases import Case
from revbench.reports.table_data import Cell, Column, TableData, text_cell
from revbench.reports.table_formats import terminal
from revbench.reports.tables import print_whole
from revbench.reports.units import MISSING, mebibytes_text, microjoules, milliseconds_text, significant_text

DIGITS = 4
BEST = "*"
UNIT_SHOWN = {"B": "MiB", "s": "ms", "J": "µJ", "1/s": "1/s", "1": "1"}
MOST_CASES = 8
NOTE = f"{BEST} the better; in parentheses how many times worse"


def comparison_table(comparison: RunComparison, names: tuple[str, str]) -> TableData | None:
    """What changed, case by case; None where nothing did.

    Args:
        comparison: of the two runs.
        names: what they are called.
    """
    changes = comparison.changes
    if not changes:
        return None
    columns = (
        Column("case", "case", tuple(text_cell(change.case.label()) for change in changes), "left"),
        Column("metric", "metric", tuple(text_cell(_metric(change.metric)) for change in changes), "left"),
        Column("unit", "unit", tuple(text_cell(UNIT_SHOWN[change.metric.unit]) for change in changes), "left"),
        Column(f"{names[0]}", names[0], tuple(_cell(change, change.before) for change in changes)),
        Column(f"{names[1]}", names[1], tuple(_cell(change, change.after) for change in changes)),
        Column(
            "remark",
            "remark",
            tuple(text_cell("within the spread" if change.within_spread else None) for change in changes),
            "left",
        ),
    )
    return TableData(f"{names[0]} and {names[1]}", NOTE, columns)


def print_comparison(
    console: Console, comparison: RunComparison, names: tuple[str, str], environments: Sequence[str]
) -> None:
    """Prints what changed, what ended otherwise, what only one run has, and on what the runs ran.

    Args:
        console: where to.
        comparison: of the two runs.
        names: what they are called.
        environments: what differs between the machines and the code, one line each.
    """
    table = comparison_table(comparison, names)
    if table is not None:
        if all(cell.is_missing for cell in table.columns[-1].cells):
            table = table.without("remark")
        print_whole(terminal(table, console.width), console)
        console.print()
    for line in [*_sentences(comparison, names), *_environment_lines(environments)]:
        console.print(Text(line))


def _sentences(comparison: RunComparison, names: tuple[str, str]) -> list[str]:
    told = ["No case is in both, so that nothing is compared."]
    if comparison.num_cases:
        counted = f"{_count(comparison.num_cases, 'case')} in both: {_count(comparison.num_same, 'number')} the same"
        told = [f"{counted}, {len(comparison.changes)} changed."]
    if comparison.devices:
        told.append(
            f"Devices differ, all else of the cases does not: {comparison.devices[0]} and {comparison.devices[1]}."
        )
    told += [
        f"{change.case.label()}: the {change.pass_name} pass ended {change.before} in {names[0]}, "
        f"{change.after} in {names[1]}."
        for change in comparison.statuses
    ]
    for name, cases in zip(names, (comparison.only_before, comparison.only_after), strict=True):
        if cases:
            told.append(f"Only in {name}: {_listed(cases)}.")
    return told


def _environment_lines(environments: Sequence[str]) -> list[str]:
    if not environments:
        return ["Measured on the same machine with the same software, as far as the runs tell."]
    return ["What the runs ran on differs:", *(f"  {line}" for line in environments)]


def _cell(change: Change, value: float | None) -> Cell:
    """The number, with how many times worse than the best it is; in full where the two read the same otherwise."""
    if value is None:
        return Cell(MISSING)
    told = {_number(change.metric, number) for number in (change.before, change.after) if number is not None}
    text = _number(change.metric, value) if len(told) > 1 or change.best is None else f"{value:,} {change.metric.unit}"
    multiple = change.multiple(value)
    if multiple is not None:
        text += f"{BEST if value == change.best else ''} ({multiple:.2f})"
    return Cell(text, value, "number")


def _number(metric: Metric, value: float) -> str:
    match metric.unit:
        case "B":
            return mebibytes_text(value)
        case "s":
            return milliseconds_text(value)
        case "J":
            return significant_text(microjoules(value), DIGITS)
        case _:
            return f"{value:,}" if isinstance(value, int) or value == int(value) else significant_text(value, DIGITS)


def _metric(metric: Metric) -> str:
    suffix = {"B": "_bytes", "s": "_s", "J": "_j"}.get(metric.unit, "")
    return metric.name.removesuffix(suffix).replace("_", " ")


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def _listed(cases: Sequence[Case]) -> str:
    more = f", and {len(cases) - MOST_CASES} more" if len(cases) > MOST_CASES else ""
    return ", ".join(case.label() for case in cases[:MOST_CASES]) + more
