"""A table for a terminal, as CSV, and as Markdown; LaTeX has rules of its own (`latex`)."""

import csv
import io
import re

from rich import box
from rich.table import Table
from rich.text import Text

from revbench.reports.table_data import Cell, TableData


def terminal(table: TableData, width: int) -> Table:
    """The table for a person at a terminal; a status is red, and nothing in a name is markup."""
    heading = Text.assemble((table.title, "bold"), "\n", (table.note, "dim"))
    drawn = Table(
        title=heading,
        min_width=min(width, max(line.cell_len for line in heading.split())),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
    )
    for column in table.columns:
        drawn.add_column(column.header, justify=column.align)
    for row in table.rows:
        drawn.add_row(*(Text(cell.text, style="bold red" if cell.kind == "status" else "") for cell in row))
    return drawn


def csv_text(table: TableData) -> str:
    """The values in base units, an empty cell for what is missing, a status as its word; lines end in a line feed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_stored(cell) for cell in row] for row in table.rows)
    return file.getvalue()


def markdown(table: TableData) -> str:
    """A table of GitHub's Markdown, below its title, the note after it."""
    headers = [escaped(column.header.replace("\n", " ")) for column in table.columns]
    rules = ["---:" if column.align == "right" else "---" for column in table.columns]
    lines = [_line(headers), _line(rules)]
    lines += [_line([_marked(cell) for cell in row]) for row in table.rows]
    parts = [f"### {escaped(table.title)}", "\n".join(lines)]
    if table.note:
        parts.append(escaped(table.note))
    return "\n\n".join(parts) + "\n"


def _stored(cell: Cell) -> object:
    if cell.kind == "status":
        return cell.text
    return "" if cell.value is None else cell.value


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marked(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"**{text}**" if cell.kind == "status" else text


def escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is, in one line."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", " ".join(text.split()))
