"""Tables: CSV for spreadsheets, in bytes and seconds, and one for the terminal, in MiB and ms."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from revbench.bench.analysis.case_row import (
    ENERGY_METRICS,
    JOULES_METRICS,
    REVERSIBILITY_METRICS,
    SIMILARITY_METRICS,
    CaseRow,
)
from revbench.bench.cases import CASE_FIELDS
from revbench.bench.records import Record
from revbench.reports.cases_table import DROPPED_FIRST, cases_table
from revbench.reports.table_formats import terminal

RECORD_FIELDS = ("pass", "metric", "value", "unit", "counter", "status", "detail", "at")
ROW_FIELDS = (
    "num_layers",
    "num_blocks",
    "num_parameters",
    "peak_bytes",
    "peak_bytes_per_image",
    "activation_peak_bytes",
    "activation_peak_bytes_per_image",
    "forward_end_activation_bytes",
    "forward_end_activation_bytes_per_image",
    "cuda_requested_bytes",
    "cuda_allocated_bytes",
    "cuda_reserved_bytes",
    "process_bytes",
    "step_s",
    "step_spread_s",
    "images_per_s",
    "inference_s",
    "inference_spread_s",
    "inference_images_per_s",
    "recomputation_share",
    "extrapolated_epoch_s",
    *REVERSIBILITY_METRICS,
    "test_accuracy",
    "train_s",
    *SIMILARITY_METRICS,
    "unskipped_energy_j",
    *ENERGY_METRICS,
    *JOULES_METRICS,
    "status",
    "detail",
)
TERMINAL_WIDTH = 100
UNLIMITED_WIDTH = 1000
PATH_WIDTH = 26


def write_records_csv(records: Iterable[Record], path: Path) -> None:
    """Writes the tidy table: one row a record, each with all fields of its case."""
    rows = (
        (
            record.case.id,
            *record.case.as_dict().values(),
            record.pass_name,
            record.metric,
            record.value,
            record.unit,
            record.counter,
            record.status,
            record.detail,
            record.at,
        )
        for record in records
    )
    write_csv(path, ("case_id", *CASE_FIELDS, *RECORD_FIELDS), rows)


def write_cases_csv(rows: Iterable[CaseRow], path: Path) -> None:
    """Writes the wide table: one row a case."""
    lines = ((row.case.id, *row.case.as_dict().values(), *(getattr(row, name) for name in ROW_FIELDS)) for row in rows)
    write_csv(path, ("case_id", *CASE_FIELDS, *ROW_FIELDS), lines)


def terminal_table(rows: Sequence[CaseRow], title: str, width: int = TERMINAL_WIDTH) -> Table:
    """The rows for a person at a terminal.

    What all cases have in common stands below the title and has no column; neither has what was measured of none. A
    pass that failed shows its status in red where its number would be. Where the width does not suffice, secondary
    columns are left to the CSV.
    """
    return terminal(cases_table(rows, title).shortened(width, DROPPED_FIRST), width)


def print_whole(table: Table, console: Console) -> None:
    """Prints a table in its own width, however narrow the terminal: lines may wrap there, words and numbers do not."""
    before = console.width
    console.width = UNLIMITED_WIDTH
    try:
        console.width = max(before, console.measure(table).maximum)
        console.print(table)
    finally:
        console.width = before


def broken_at_dots(path: str, width: int = PATH_WIDTH) -> str:
    """A dotted path in lines of this width, broken behind dots where it can be."""
    lines = [""]
    for part in path.replace(".", ".\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table: None becomes an empty cell; lines end in a line feed everywhere."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
