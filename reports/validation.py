"""Predicted beside measured: the table of errors, as CSV in bytes and for the terminal in MiB."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.cases import CASE_FIELDS
from revbench.bench.memory.validate import GOAL, Comparison
from revbench.bench.records import Counter
from revbench.reports.units import MISSING, mebibytes_text, share_text

CSV_NAME = "validation.csv"
COLUMNS = (
    "predicted_tensors_bytes",
    "predicted_requested_bytes",
    "predicted_allocated_bytes",
    "predicted_reserved_bytes",
    "traced_bytes",
    "measured_requested_bytes",
    "measured_allocated_bytes",
    "measured_reserved_bytes",
    "rounding_bytes",
    "workspace_bytes",
    "unexplained_bytes",
    "unexplained_share",
    "status",
    "detail",
)


MEASURED: tuple[Counter, ...] = ("traced", "cuda_requested", "cuda_allocated", "cuda_reserved")


def write_comparisons(rows: Sequence[Comparison], folder: Path) -> Path:
    """Writes one row a case; what was not measured is an empty cell."""
    path = folder / CSV_NAME
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case_id", *CASE_FIELDS, *COLUMNS))
        writer.writerows((row.case.id, *row.case.as_dict().values(), *_values(row)) for row in rows)
    return path


def _values(row: Comparison) -> tuple[object, ...]:
    return (
        row.tensors_bytes,
        row.predicted.requested_bytes,
        row.predicted.allocated_bytes,
        row.predicted.reserved_bytes,
        *(row.measured.get(counter) for counter in MEASURED),
        row.rounding_bytes,
        row.workspace_bytes,
        row.unexplained_bytes,
        row.unexplained_share,
        row.status,
        row.detail,
    )


def print_comparisons(rows: Sequence[Comparison], console: Console) -> None:
    """Prints the table, the least explained case last, and what it says."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("case")
    for header in ("allocated\nMiB", "predicted\nMiB", "rounding\nMiB", "work-\nspaces", "unex-\nplained", "share"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row.unexplained_share or 0):
        label = row.case.label()
        if row.status != "ok":
            table.add_row(label, Text(row.status, style="bold red"), mebibytes_text(row.predicted.allocated_bytes))
            continue
        table.add_row(
            label,
            mebibytes_text(row.measured.get("cuda_allocated")),
            mebibytes_text(row.predicted.allocated_bytes),
            mebibytes_text(row.rounding_bytes),
            mebibytes_text(row.workspace_bytes),
            mebibytes_text(row.unexplained_bytes),
            MISSING if row.unexplained_share is None else share_text(row.unexplained_share),
        )
    console.print()
    console.print(table)
    console.print()
    console.print(Text(_sentence(rows)), soft_wrap=True)
    for row in rows:
        if row.status not in {"ok", "unsupported"}:
            console.print(Text(f"{row.case.label()}: {row.status}: {row.detail}"), soft_wrap=True)


def _sentence(rows: Sequence[Comparison]) -> str:
    shares = sorted((share, row.case.label()) for row in rows if (share := row.unexplained_share) is not None)
    if not shares:
        return "Nothing was measured that a prediction could be compared with."
    beyond = [label for share, label in shares if share > GOAL]
    worst, label = shares[-1]
    told = (
        f"{len(beyond)} of {len(shares)} cases leave more unexplained" if beyond else f"all {len(shares)} cases meet it"
    )
    return (
        f"Unexplained, of the measured allocated peak: at most {share_text(worst)} ({label}); "
        f"the goal is {share_text(GOAL)}, {told}."
    )
