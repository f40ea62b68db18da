"""Tables: CSV for spreadsheets, in bytes and seconds, and one for the terminal, in MiB and ms."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from revbench.bench.analysis.case_rows import REVERSIBILITY_METRICS, SIMILARITY_METRICS, CaseRow, varying_fields
from revbench.bench.cases import CASE_FIELDS
from revbench.bench.records import PassName, Record
from revbench.reports.restoration import Metric, restored
from revbench.reports.units import (
    MISSING,
    cosine_text,
    count_text,
    exponent_text,
    mebibytes_text,
    millions_text,
    milliseconds_text,
    rate_text,
    share_text,
)
from revbench.reports.wording import common_description, field_header

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
    *REVERSIBILITY_METRICS,
    "test_accuracy",
    "train_s",
    *SIMILARITY_METRICS,
    "status",
    "detail",
)
TERMINAL_WIDTH = 100
DROPPED_FIRST = (
    "spread\nms",
    "parameters\nmillion",
    "CUDA\nallocated\nMiB",
    "CUDA\nreserved\nMiB",
    "gradient\nerror",
    "stream\nerror",
    "unprotected\nflipped",
)


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
    _write_csv(path, ("case_id", *CASE_FIELDS, *RECORD_FIELDS), rows)


def write_cases_csv(rows: Iterable[CaseRow], path: Path) -> None:
    """Writes the wide table: one row a case."""
    lines = ((row.case.id, *row.case.as_dict().values(), *(getattr(row, name) for name in ROW_FIELDS)) for row in rows)
    _write_csv(path, ("case_id", *CASE_FIELDS, *ROW_FIELDS), lines)


def terminal_table(rows: Sequence[CaseRow], title: str, width: int = TERMINAL_WIDTH) -> Table:
    """The rows for a person at a terminal.

    What all cases have in common stands below the title and has no column; neither has what was measured of none. A
    pass that failed shows its status in red where its number would be. Where the width does not suffice, secondary
    columns are left to the CSV.
    """
    columns = _columns(rows)
    for header in DROPPED_FIRST:
        if sum(column.width for column in columns) + 2 * (len(columns) - 1) > width:
            columns = [column for column in columns if column.header != header]
    heading = Text.assemble((title, "bold"), "\n", (common_description(rows) if rows else "no cases", "dim"))
    table = Table(
        title=heading,
        min_width=min(width, max(line.cell_len for line in heading.split())),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column.header, justify="right" if column.is_number else "left")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the terminal's table."""

    header: str
    cells: list[Text]
    is_number: bool = True

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(len(line) for line in (*self.header.split("\n"), *(cell.plain for cell in self.cells)))


def _columns(rows: Sequence[CaseRow]) -> list[_Column]:
    """The columns in order of reading, without those that say nothing."""
    varying = varying_fields(rows)
    named = [name for name in CASE_FIELDS if name == "model" or name in varying]
    identity = [_field_column(rows, name) for name in named]
    measured = [
        _Column("layers", [Text(count_text(row.num_layers)) for row in rows]),
        _Column("parameters\nmillion", [Text(millions_text(row.num_parameters)) for row in rows]),
        _Column("step peak\nMiB", [_outcome(row, "memory", mebibytes_text(row.peak_bytes)) for row in rows]),
        _Column(
            "activation\npeak\nMiB/image", [Text(mebibytes_text(row.activation_peak_bytes_per_image)) for row in rows]
        ),
        _Column("CUDA\nallocated\nMiB", [Text(mebibytes_text(row.cuda_allocated_bytes)) for row in rows]),
        _Column("CUDA\nreserved\nMiB", [Text(mebibytes_text(row.cuda_reserved_bytes)) for row in rows]),
        _Column("step\nms", [_outcome(row, "time", milliseconds_text(row.step_s)) for row in rows]),
        _Column("spread\nms", [Text(milliseconds_text(row.step_spread_s)) for row in rows]),
        _Column("images/s", [Text(rate_text(row.images_per_s)) for row in rows]),
        *_reversibility_columns(rows),
        *_similarity_columns(rows),
        _Column("test\naccuracy", [_outcome(row, "learning", share_text(row.test_accuracy)) for row in rows]),
        _Column("training\ns", [Text(rate_text(row.train_s)) for row in rows]),
    ]
    return identity + [column for column in measured if any(cell.plain != MISSING for cell in column.cells)]


def _reversibility_columns(rows: Sequence[CaseRow]) -> list[_Column]:
    """What is restored, with the engine's protections and, as the last two columns, without."""

    def column(header: str, metric: Metric, text: Callable[[float], str], *, protected: bool = True) -> _Column:
        found = (restored(row, metric, protected=protected) for row in rows)
        return _Column(header, [_number_or_word(value, text) for value in found])

    return [
        _Column("stream\nerror", [Text(exponent_text(row.reconstruction_error)) for row in rows]),
        column("flipped\nspikes", "flipped_spike_share", share_text),
        column("gradient\nerror", "gradient_error", exponent_text),
        column("gradient\ncosine", "gradient_cosine", cosine_text),
        column("unprotected\nflipped", "flipped_spike_share", share_text, protected=False),
        column("unprotected\ncosine", "gradient_cosine", cosine_text, protected=False),
    ]


def _similarity_columns(rows: Sequence[CaseRow]) -> list[_Column]:
    """Cosines to the full gradient at the end of training, by where temporal gradients are kept."""
    places = ("stage ends", "elsewhere", "nowhere")
    return [
        _Column(
            f"gradient\ncosine,\n{place}",
            [_outcome(row, "similarity", cosine_text(getattr(row, metric))) for row in rows],
        )
        for place, metric in zip(places, SIMILARITY_METRICS, strict=True)
    ]


def _number_or_word(value: float | str | None, text: Callable[[float], str]) -> Text:
    """The number, or in red why there is none."""
    if value is None:
        return Text(MISSING)
    return Text(value, style="bold red") if isinstance(value, str) else Text(text(value))


def _field_column(rows: Sequence[CaseRow], name: str) -> _Column:
    values = [getattr(row.case, name) for row in rows]
    cells = [Text(MISSING if value is None else str(value)) for value in values]
    return _Column(field_header(name), cells, is_number=not any(isinstance(value, str) for value in values))


def _outcome(row: CaseRow, pass_name: PassName, number: str) -> Text:
    """The number of a pass, or in red why there is none."""
    return Text(row.pass_status(pass_name), style="bold red") if row.failed(pass_name) else Text(number)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """None becomes an empty cell; lines end in a line feed everywhere."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
