r"""A table for a paper, with the rules of booktabs. Nothing in a name or a message is a command of TeX."""

import re

from revbench.reports.table_data import Cell, TableData

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


def latex(table: TableData) -> str:
    r"""A `tabular` with caption; the preamble needs `\usepackage{booktabs}`, and T1 fonts for quotation marks."""
    spec = "".join("r" if column.align == "right" else "l" for column in table.columns)
    headers = [column.header.split("\n") for column in table.columns]
    height = max(len(lines) for lines in headers)
    # The last line of every header stands on the rule, as in the terminal.
    padded = [[""] * (height - len(lines)) + lines for lines in headers]
    lines = [
        r"% \usepackage{booktabs} \usepackage[T1]{fontenc} \usepackage{textcomp}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(_caption(table))}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        *(_line([escaped(line) for line in level]) for level in zip(*padded, strict=True)),
        r"\midrule",
        *(_line([_cell(cell) for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that TeX sets as it is; a character outside ASCII without a command is left to the font."""
    plain = " ".join(text.split())
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found.group()], plain)


def _caption(table: TableData) -> str:
    title = table.title.rstrip(".")
    return f"{title}. {table.note}." if table.note else f"{title}."


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    if cell.is_missing:
        return MISSING_DASH
    text = escaped(cell.text)
    return rf"\textbf{{{text}}}" if cell.kind == "status" else text
