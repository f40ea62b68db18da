"""One interactive chart: its numbers as a table, and how plotly draws them.

The download of a chart is the CSV of its table. What plotly draws is made from the same objects as that table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.colors import to_hex

from revbench.reports.drawing import Look
from revbench.reports.table_data import Cell, Column, TableData

Trace = dict[str, Any]
Layout = dict[str, Any]
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
}
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
ON_BOTH_GROUNDS = {"#000000": "#808080"}
"""What stands for a colour that only a white ground shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        name: tells it from the others of a page, in letters, digits, hyphens and underscores: `memory-depth`.
        table: its numbers, in base units; title and note stand above the chart.
        traces: for plotly, every text made by `shown`.
        layout: likewise.
        remarks: sentences below it, folded away.
        remarks_title: what they are opened by.
        can_be_logarithmic: whether there is a button for logarithmic axes.
        is_wide: whether it takes the whole width of the page.
    """

    name: str
    table: TableData
    traces: Sequence[Trace]
    layout: Layout
    remarks: Sequence[str] = ()
    remarks_title: str = ""
    can_be_logarithmic: bool = False
    is_wide: bool = False

    @property
    def figure(self) -> dict[str, Any]:
        """What the page's script hands to plotly."""
        return {"traces": list(self.traces), "layout": self.layout}


def shown(text: object) -> str:
    """A text that plotly shows as it is, though it takes some HTML for markup and dollars for mathematics."""
    return escape(str(text), quote=False).replace("$", "&#36;")


def colour(look: Look) -> str:
    """The colour of a look, on light and on dark ground."""
    return ON_BOTH_GROUNDS.get(look.colour, look.colour)


def hexadecimal(shade: str) -> str:
    """A colour as browsers write it; figures write a grey by its lightness, `0.55`."""
    return str(to_hex(shade))


def line_style(look: Look) -> dict[str, Any]:
    """Line and marker of a look."""
    return {
        "line": {"color": colour(look), "dash": DASHES.get(look.line_style, "solid"), "width": 2},
        "marker": {"color": colour(look), "symbol": SYMBOLS.get(look.marker, "circle"), "size": 8},
    }


def titled(text: str) -> dict[str, Any]:
    """The title of an axis, a legend or a bar of colours."""
    return {"title": {"text": shown(text)}}


def axes_layout(x_title: str, y_title: str, **more: Mapping[str, Any]) -> Layout:
    """Two axes from zero with titles, the legend below them; `xaxis` and `yaxis` add to the axes."""
    x_axis = {**titled(x_title), "rangemode": "tozero", **more.pop("xaxis", {})}
    y_axis = {**titled(y_title), "rangemode": "tozero", **more.pop("yaxis", {})}
    return {"xaxis": x_axis, "yaxis": y_axis, **more}


def tidy_table(
    title: str, rows: Sequence[Mapping[str, Cell]], headers: Mapping[str, str] | None = None, note: str = ""
) -> TableData:
    """A table of rows that have the same names; words stand to the left, numbers to the right.

    Args:
        title: what it shows.
        rows: cells by the name of their column.
        headers: of the columns that are not called by their name.
        note: what one must know to read it.
    """
    columns = []
    for name in rows[0] if rows else ():
        cells = tuple(row[name] for row in rows)
        is_word = any(cell.kind == "text" and not cell.is_missing for cell in cells)
        columns.append(Column(name, (headers or {}).get(name, name), cells, "left" if is_word else "right"))
    return TableData(title, note, tuple(columns))
