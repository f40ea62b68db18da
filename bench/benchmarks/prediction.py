"""Predicted beside measured: `python -m revbench.bench.benchmarks.prediction MEASURED_RUN PREDICTED_RUN`.

Joins the cases of two run folders that are equal but for the device, and prints the predicted peak of a training step
beside what was measured under each counter, with the difference in percent of the measured value.
"""

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench.analysis.case_rows import CaseRow, case_rows
from revbench.bench.store import RECORDS_NAME, read_records

COUNTERS = ("peak_bytes", "cuda_requested_bytes", "cuda_allocated_bytes", "cuda_reserved_bytes", "process_bytes")


def joined(measured: Sequence[CaseRow], predicted: Sequence[CaseRow]) -> list[tuple[CaseRow, CaseRow]]:
    """The (measured, predicted) rows of the same case, in the order of the measured ones."""
    by_case = {replace(row.case, device="fake"): row for row in predicted}
    pairs = ((row, by_case.get(replace(row.case, device="fake"))) for row in measured)
    return [(row, twin) for row, twin in pairs if twin is not None and twin.peak_bytes is not None]


def main(measured: Path, predicted: Path) -> None:
    """Prints the table and writes it as `predicted-beside-measured.csv` into the measured run's folder."""
    pairs = joined(*(case_rows(read_records(folder / RECORDS_NAME)) for folder in (measured, predicted)))
    table = Table(title="Peak of a training step, MiB (prediction's difference)", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("case")
    for header in ("predicted", "traced", "requested", "allocated", "reserved", "process"):
        table.add_column(header, justify="right")
    lines: list[tuple[object, ...]] = []
    for row, twin in pairs:
        values = [getattr(row, name) for name in COUNTERS]
        table.add_row(row.case.label(), _text(twin.peak_bytes), *(_text(value, twin.peak_bytes) for value in values))
        lines.append((row.case.id, row.case.label(), twin.peak_bytes, *values))
    Console().print(table)
    with (measured / "predicted-beside-measured.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("case_id", "case", "predicted_bytes", *COUNTERS), *lines])


def _text(num_bytes: int | None, predicted: int | None = None) -> str:
    if num_bytes is None:
        return "-"
    difference = f" ({predicted / num_bytes - 1:+.1%})" if predicted else ""
    return f"{num_bytes / 2**20:,.1f}{difference}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
