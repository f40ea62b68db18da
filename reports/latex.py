r"""A table for a paper, with the rules of booktabs. Nothing in a name or a message is a command of TeX."""

import re

from revbench.reports.table_data import Cell, Column, TableData

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "µ": r"\textmu{}",
    "\N{MULTIPLICATION SIGN}": r"\texttimes{}",
    "±": r"\textpm{}",
    "≈": r"\(\approx\)",
    "²": r"\textsuperscript{2}",
}
MISSING_DASH = "--"
LINES = r">{\raggedright\arraybackslash}X"
LONGEST = 24
"""Characters of a text that stands in one line."""
COLUMN_WIDTH = 42
"""Characters that one of two columns of a page has room for."""


def latex(table: TableData) -> str:
    r"""A `tabular` with caption; the preamble needs `\usepackage{booktabs}`, and T1 fonts for quotation marks.

    A wide one takes the whole page of a paper that has two columns. With long texts in it, which are broken into lines,
    it is a `tabularx`, and needs `\usepackage{tabularx}` too.
    """
    breaks = any(map(_is_long, table.columns))
    is_wide = breaks or sum(column.width + 1 for column in table.columns) > COLUMN_WIDTH
    spec = "".join("r" if column.align == "right" else LINES if _is_long(column) else "l" for column in table.columns)
    environment, body = "table*" if is_wide else "table", "tabularx" if breaks else "tabular"
    packages = [r"\usepackage{booktabs}", *([r"\usepackage{tabularx}"] if breaks else [])]
    headers = [column.header.split("\n") for column in table.columns]
    height = max(len(lines) for lines in headers)
    # The last line of every header stands on the rule, as in the terminal.
    padded = [[""] * (height - len(lines)) + lines for lines in headers]
    lines = [
        f"% {' '.join(packages)} " + r"\usepackage[T1]{fontenc} \usepackage{textcomp}",
        rf"\begin{{{environment}}}",
        r"\centering",
        *([r"\footnotesize\setlength{\tabcolsep}{3pt}"] if is_wide else []),
        rf"\caption{{{escaped(_caption(table))}}}",
        rf"\begin{{{body}}}" + (r"{\textwidth}" if breaks else "") + f"{{{spec}}}",
        r"\toprule",
        *(_line([escaped(line) for line in level]) for level in zip(*padded, strict=True)),
        r"\midrule",
        *(_line(list(map(_cell, row, table.columns))) for row in table.rows),
        r"\bottomrule",
        rf"\end{{{body}}}",
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that TeX sets as it is; a character outside ASCII without a command is left to the font."""
    plain = " ".join(text.split())
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found.group()], plain)


def _caption(table: TableData) -> str:
    title = table.title.rstrip(".")
    return f"{title}. {table.note}." if table.note else f"{title}."


def _is_long(column: Column) -> bool:
    return column.align == "left" and max((len(cell.text) for cell in column.cells), default=0) > LONGEST


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, column: Column) -> str:
    if cell.is_missing:
        return MISSING_DASH
    text = escaped(cell.text)
    if _is_long(column):
        text = text.replace(r"\_", r"\_\allowbreak{}")
    return rf"\textbf{{{text}}}" if cell.kind == "status" else text
