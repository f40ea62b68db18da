"""One table, whatever it is printed as: the terminal, CSV, Markdown and LaTeX render the same cells.

A cell has its exact value in base units, which CSV writes, and its text in the unit of the header, which is read. So no
two formats can disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from revbench.reports.units import MISSING

Kind = Literal["text", "number", "status"]
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: what is read, in one line; `-` where there is nothing.
        value: what is computed with, in base units; None where there is nothing.
        kind: a status says why there is no number, and stands out.
    """

    text: str
    value: Value = None
    kind: Kind = "text"

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing to be read."""
        return self.text == MISSING


@dataclass(frozen=True, slots=True)
class Column:
    r"""One column.

    Attributes:
        name: of the values, with their unit, as in CSV: `peak_bytes`.
        header: of the texts, with their unit in its last line: `step peak\nMiB`.
        cells: one a row.
        align: numbers stand to the right.
    """

    name: str
    header: str
    cells: tuple[Cell, ...]
    align: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(len(line) for line in (*self.header.split("\n"), *(cell.text for cell in self.cells)))


@dataclass(frozen=True, slots=True)
class TableData:
    """A table.

    Attributes:
        title: what it shows.
        note: what all its rows have in common, or what one must know to read it.
        columns: from the left; all of the same number of cells.
    """

    title: str
    note: str
    columns: tuple[Column, ...]

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The rows from the top."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def without(self, *names: str) -> "TableData":
        """Without the columns of these names."""
        return replace(self, columns=tuple(column for column in self.columns if column.name not in names))

    def shortened(self, width: int, droppable: Sequence[str], gap: int = 2) -> "TableData":
        """Without as many of the droppable columns, the first first, as do not fit the width."""
        columns = list(self.columns)
        for header in droppable:
            if sum(column.width for column in columns) + gap * (len(columns) - 1) > width:
                columns = [column for column in columns if column.header != header]
        return replace(self, columns=tuple(columns))


def number_cell(value: float | None, text: Callable[[float], str]) -> Cell:
    """A number with its text, or nothing."""
    return Cell(MISSING) if value is None else Cell(text(value), value, "number")


def text_cell(text: str | None) -> Cell:
    """A word, or nothing."""
    return Cell(MISSING) if text is None else Cell(text, text)


def status_cell(status: str) -> Cell:
    """Why there is no number."""
    return Cell(status, None, "status")
