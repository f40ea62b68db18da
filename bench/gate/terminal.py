"""A check on the terminal: what failed or grew, worst first, with the layers that hold the bytes."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.gate.finding import Finding
from revbench.bench.gate.wording import HEADERS, NAMES, blame_rows, summary

NUM_TABLES = 5
"""Regressions shown with their layers; of the others one line."""
NUM_LINES = 30
_STYLES = {"grew": "bold red", "failed": "bold red", "shrank": "green", "same": ""}


def print_check(findings: Sequence[Finding], console: Console, *, hint: str) -> None:
    """Prints what is not as in the baseline, in the order given, and the summary.

    Args:
        findings: all cases.
        console: where to.
        hint: how to record improvements; printed if there are any.
    """
    told = [each for each in findings if each.verdict != "same"]
    num_tables = 0
    for each in told[:NUM_LINES]:
        name = Text(NAMES[each.verdict], style=_STYLES[each.verdict])
        console.print(Text.assemble(name, f" {each.name}: {each.sentence()}"), soft_wrap=True)
        if each.verdict == "grew" and num_tables < NUM_TABLES and (rows := blame_rows(each)):
            num_tables += 1
            console.print(_table(rows))
            console.print()
    if len(told) > NUM_LINES:
        console.print(f"{len(told) - NUM_LINES} more are not shown; --markdown FILE has more, --junit FILE all of them")
    console.print(Text(f"{summary(findings)}."))
    if any(each.verdict == "shrank" for each in findings):
        console.print(Text(f"Record what is less, so that it stays: {hint}"), soft_wrap=True)


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in HEADERS:
        is_number = header in HEADERS[3:]
        title = f"{header}\nB" if is_number else header
        table.add_column(title, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")
    return table
