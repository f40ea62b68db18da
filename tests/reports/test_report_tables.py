"""The tables of a report and their files: the same cells in each."""

import csv
from dataclasses import replace
from io import StringIO
from itertools import product
from pathlib import Path

import closings
import pytest
from rich.console import Console

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.reports.published_table import published_table
from revbench.reports.report import figures, write_report
from revbench.reports.report_tables import narrowed, report_tables, write_tables
from revbench.reports.table_data import TableData
from revbench.reports.table_formats import csv_text, markdown, terminal
from revbench.reports.tables import write_cases_csv

RESNET = CaseRow(
    case=Case(model="revsresnet21_published", timesteps=4, batch_size=32),
    num_parameters=10_967_690,
    activation_peak_bytes=int(28.3 * 2**20) * 32,
    forward_end_activation_bytes=int(23.56 * 2**20) * 32,
)


def cells(markdown_text: str) -> list[list[str]]:
    """The cells of a table of Markdown without escapes, header and rule left out."""
    lines = [line for line in markdown_text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("*").replace("\\", "") for cell in line.strip("|").split(" | ")] for line in lines]


def test_terminal_csv_and_markdown_say_the_same(depth_records: list[Record]) -> None:
    """Every text of the table stands in Markdown and in the terminal, and each number is that of the CSV."""
    table = report_tables(case_rows(depth_records), "Memory")["cases"]
    texts = [[cell.text for cell in row] for row in table.rows]
    assert cells(markdown(table)) == texts
    console = Console(width=120, record=True, file=StringIO())
    console.print(terminal(table, 120))
    shown = [line.split() for line in console.export_text().splitlines()[-len(texts) :]]
    assert shown == texts
    values = list(csv.reader(StringIO(csv_text(table))))[1:]
    for row, line in zip(table.rows, values, strict=True):
        for cell, value in zip(row, line, strict=True):
            assert value == ("" if cell.is_missing else cell.text if cell.kind == "status" else str(cell.value))


def test_the_table_and_the_wide_csv_hold_the_same_numbers(depth_records: list[Record], tmp_path: Path) -> None:
    """Columns are named as those of `<suite>.csv`, and a number that is shown is the one that is stored."""
    rows = case_rows(depth_records)
    write_cases_csv(rows, tmp_path / "suite.csv")
    wide = list(csv.DictReader(StringIO((tmp_path / "suite.csv").read_text(encoding="utf-8"))))
    table = report_tables(rows, "Memory")["cases"]
    compared = 0
    for column in table.columns:
        for cell, line in zip(column.cells, wide, strict=True):
            if cell.kind == "number":
                assert line[column.name] == str(cell.value)
                compared += 1
    assert compared > 40


def test_published_numbers_stand_beside_measured_ones() -> None:
    """A ratio where they compare, the reason where they do not, and the measured number in the published unit."""
    table = published_table([RESNET])
    assert table is not None
    names = [column.name for column in table.columns]
    found = {
        (row[names.index("quantity")].text, row[names.index("place")].text): [
            row[names.index(name)].text for name in ("published", "unit", "measured", "ratio", "reasons")
        ]
        for row in table.rows
    }
    again = found["activation memory per image", "code, memory of a training step"]
    assert again == ["28.3", "MiB", "28.30", "1.000", "-"]
    other = replace(RESNET, case=replace(RESNET.case, timesteps=2))
    (ratio, reason) = next(
        (row[names.index("ratio")].text, row[names.index("reasons")].text)
        for row in (published_table([other]) or table).rows
        if row[names.index("quantity")].text == "forward end memory per image"
    )
    assert (ratio, reason) == ("-", "T: 4, not 2")


def test_models_without_published_numbers_have_no_such_table(depth_records: list[Record]) -> None:
    """Families of any size are in no paper."""
    assert published_table(case_rows(depth_records)) is None
    assert list(report_tables(case_rows(depth_records), "Memory")) == ["cases"]


def grid() -> list[CaseRow]:
    """A method over depth and timesteps."""
    return [
        CaseRow(
            case=Case(model="msresnet", depth=depth, timesteps=timesteps),
            activation_peak_bytes=1000 + 64 * depth * timesteps,
        )
        for depth, timesteps in product((1, 2, 4, 8, 16), repeat=2)
    ]


def test_files_of_tables(tmp_path: Path) -> None:
    """CSV always, Markdown and LaTeX where they are asked for, all tables in one file."""
    tables: dict[str, TableData] = report_tables([*grid(), RESNET], "Both")
    assert list(tables) == ["cases", "complexity", "published"]
    assert [path.name for path in write_tables(tables, "both", tmp_path, ("png",))] == [
        "both-complexity.csv",
        "both-published.csv",
    ]
    written = write_tables(tables, "both", tmp_path, ("md", "latex"))
    assert [path.name for path in written[2:]] == ["both.md", "both.tex"]
    text = (tmp_path / "both.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### Both",
        "### How the costs grow with depth L and timesteps T",
        "### Published beside measured",
    ]
    tex = (tmp_path / "both.tex").read_text(encoding="utf-8")
    assert tex.count(r"\begin{tabular") == tex.count(r"\end{tabular") == 3
    assert "reason" in text
    assert "reason" not in tex


def test_a_grid_is_drawn_along_its_edges() -> None:
    """Memory against depth at the longest T, and against T at the greatest depth."""
    rows = [replace(row, closings=(closings.closing(row.case, "memory"),)) for row in grid()]
    drawn = figures(rows, "grid", "Grid")
    labels = {name: figure.axes[-1].get_xlabel() for name, figure in drawn.items()}
    assert labels == {"grid": "depth (blocks per stage)", "grid-timesteps": "timesteps T"}
    assert [len(figure.axes[0].lines) for figure in drawn.values()] == [1, 1]


def test_what_fits_no_page_is_left_to_the_csv() -> None:
    """Reasons of verdicts and places in papers."""
    tables = report_tables([*grid(), RESNET], "Both")
    full, narrow = tables["complexity"], narrowed(tables)["complexity"]
    assert {"reason", "unit"} < {column.name for column in full.columns}
    assert not {"reason", "unit"} & {column.name for column in narrow.columns}


@pytest.mark.parametrize(
    ("formats", "suffixes"),
    [
        (("csv",), [".csv", ".csv"]),
        (("md", "latex"), [".csv", ".csv", ".md", ".tex"]),
        (("svg", "md"), [".csv", ".csv", ".md", ".svg"]),
    ],
)
def test_a_report_in_formats(
    formats: tuple[str, ...], suffixes: list[str], depth_records: list[Record], tmp_path: Path
) -> None:
    """Without a format of figures none is drawn."""
    written = write_report(depth_records, "suite", "Title", tmp_path, formats)
    assert [path.suffix for path in written] == suffixes
    assert all(path.stat().st_size for path in written)
