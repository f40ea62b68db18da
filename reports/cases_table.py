"""The table of the cases: what tells them apart, and what was measured of them, in MiB and ms."""

from collections.abc import Callable, Sequence

from revbench.bench.analysis.case_row import NOT_MEASURED, SIMILARITY_METRICS, CaseRow
from revbench.bench.analysis.row_groups import varying_fields
from revbench.bench.cases import CASE_FIELDS
from revbench.bench.records import PassName
from revbench.reports.restoration import Metric, restored
from revbench.reports.table_data import Cell, Column, TableData, number_cell, status_cell, text_cell
from revbench.reports.units import (
    MISSING,
    cosine_text,
    exponent_text,
    mebibytes_text,
    millijoules_text,
    millions_text,
    milliseconds_text,
    minutes_text,
    percent_text,
    rate_text,
    share_text,
)
from revbench.reports.wording import common_description, field_header

DROPPED_FIRST = (
    "spread\nms",
    "inference\nspread\nms",
    "inference\nms",
    "parameters\nmillion",
    "CUDA\nallocated\nMiB",
    "CUDA\nreserved\nMiB",
    "gradient\nerror",
    "stream\nerror",
    "unprotected\nflipped",
    "energy if\nno input is 0\nmJ (45 nm)",
)
"""Headers of what is secondary, which the CSV keeps."""


def cases_table(rows: Sequence[CaseRow], title: str) -> TableData:
    """The rows as a person reads them.

    What all cases have in common stands in the note and has no column; neither has what was measured of none. A pass
    that failed shows its status where its number would be.
    """
    varying = varying_fields(rows)
    identity = [_field_column(rows, name) for name in CASE_FIELDS if name == "model" or name in varying]
    measured = [column for column in _measured(rows) if any(not cell.is_missing for cell in column.cells)]
    return TableData(title, _note(rows), (*identity, *measured))


def _note(rows: Sequence[CaseRow]) -> str:
    """What all have in common, and how epochs were extrapolated."""
    told = [common_description(rows) if rows else "no cases"]
    if any(row.extrapolated_epoch_s is not None for row in rows):
        (images,) = {row.epoch_images for row in rows}
        told.append(f"epochs of {images:,} images extrapolated from the throughput of this device, steps alone")
    return "; ".join(told)


def _measured(rows: Sequence[CaseRow]) -> list[Column]:
    """The columns of numbers in order of reading."""

    def column(header: str, metric: str, text: Callable[[float], str], pass_name: PassName | None = None) -> Column:
        return Column(metric, header, tuple(_cell(row, getattr(row, metric), text, pass_name) for row in rows))

    return [
        column("layers", "num_layers", "{:,}".format),
        column("parameters\nmillion", "num_parameters", millions_text),
        column("step peak\nMiB", "peak_bytes", mebibytes_text, "memory"),
        column("activation\npeak\nMiB/image", "activation_peak_bytes_per_image", mebibytes_text),
        column("CUDA\nallocated\nMiB", "cuda_allocated_bytes", mebibytes_text),
        column("CUDA\nreserved\nMiB", "cuda_reserved_bytes", mebibytes_text),
        column("step\nms", "step_s", milliseconds_text, "time"),
        column("spread\nms", "step_spread_s", milliseconds_text),
        column("images/s", "images_per_s", rate_text),
        column("recomputed\n% of step", "recomputation_share", percent_text),
        column("inference\nms", "inference_s", milliseconds_text, "inference_time"),
        column("inference\nspread\nms", "inference_spread_s", milliseconds_text),
        column("inference\nimages/s", "inference_images_per_s", rate_text),
        column("epoch,\nextrapolated\nmin", "extrapolated_epoch_s", minutes_text),
        *_reversibility_columns(rows),
        *(
            column(f"gradient\ncosine,\n{place}", metric, cosine_text, "similarity")
            for place, metric in zip(("stage ends", "elsewhere", "nowhere"), SIMILARITY_METRICS, strict=True)
        ),
        column("test\naccuracy", "test_accuracy", share_text, "learning"),
        column("training\ns", "train_s", rate_text),
        _dense_column(rows, "inference\nmillion MAC", "dense_macs", millions_text),
        _dense_column(rows, "energy if\nno input is 0\nmJ (45 nm)", "unskipped_energy_j", millijoules_text),
        _dense_column(rows, "training\nmillion MAC", "training_macs", millions_text),
    ]


def _reversibility_columns(rows: Sequence[CaseRow]) -> list[Column]:
    """What is restored, with the engine's protections and, as the last two columns, without."""

    def column(header: str, metric: Metric, text: Callable[[float], str], *, protected: bool = True) -> Column:
        name = metric if protected else f"unprotected_{metric}"
        return Column(
            name, header, tuple(_restored_cell(restored(row, metric, protected=protected), text) for row in rows)
        )

    return [
        Column(
            "reconstruction_error",
            "stream\nerror",
            tuple(number_cell(row.reconstruction_error, exponent_text) for row in rows),
        ),
        column("flipped\nspikes", "flipped_spike_share", share_text),
        column("gradient\nerror", "gradient_error", exponent_text),
        column("gradient\ncosine", "gradient_cosine", cosine_text),
        column("unprotected\nflipped", "flipped_spike_share", share_text, protected=False),
        column("unprotected\ncosine", "gradient_cosine", cosine_text, protected=False),
    ]


def _dense_column(rows: Sequence[CaseRow], header: str, metric: str, text: Callable[[float], str]) -> Column:
    """A number of the operations pass; what other passes tell about operations has tables of its own."""
    cells = tuple(
        Cell(MISSING)
        if row.pass_status("operations") == NOT_MEASURED
        else _cell(row, getattr(row, metric), text, "operations")
        for row in rows
    )
    return Column(metric, header, cells)


def _field_column(rows: Sequence[CaseRow], name: str) -> Column:
    values = [getattr(row.case, name) for row in rows]
    is_number = not any(isinstance(value, str) for value in values)
    cells = (number_cell(value, str) if is_number else text_cell(value) for value in values)
    return Column(name, field_header(name), tuple(cells), "right" if is_number else "left")


def _cell(row: CaseRow, value: float | None, text: Callable[[float], str], pass_name: PassName | None) -> Cell:
    """The number of a pass, or why there is none."""
    if pass_name is not None and row.failed(pass_name):
        return status_cell(row.pass_status(pass_name))
    return number_cell(value, text)


def _restored_cell(value: float | str | None, text: Callable[[float], str]) -> Cell:
    """The number, or the word that stands for it."""
    return status_cell(value) if isinstance(value, str) else number_cell(value, text)
