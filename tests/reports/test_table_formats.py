"""One table in every format: golden output, escaping, and that the formats cannot disagree."""

import csv
import re
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from revbench.reports.latex import escaped, latex
from revbench.reports.table_data import Column, TableData, number_cell, status_cell, text_cell
from revbench.reports.table_formats import csv_text, markdown, terminal
from revbench.reports.units import mebibytes_text

TABLE = TableData(
    "Memory against depth",
    "bptt, T=4",
    (
        Column("model", "model", (text_cell("ms_resnet"), text_cell("rev|resnet")), "left"),
        Column("peak_bytes", "step peak\nMiB", (number_cell(27_262_976, mebibytes_text), status_cell("oom"))),
        Column("step_s", "step\nms", (number_cell(None, str), number_cell(0.25, lambda s: f"{1000 * s:.1f}"))),
    ),
)
TERMINAL = """\
Memory against depth
bptt, T=4
            step peak   step
model             MiB     ms
────────────────────────────
ms_resnet       26.00      -
rev|resnet        oom  250.0
"""
CSV = """\
model,peak_bytes,step_s
ms_resnet,27262976,
rev|resnet,oom,0.25
"""
MARKDOWN = r"""### Memory against depth

| model | step peak MiB | step ms |
| --- | ---: | ---: |
| ms\_resnet | 26.00 | - |
| rev\|resnet | **oom** | 250.0 |

bptt, T=4
"""
LATEX = r"""% \usepackage{booktabs} \usepackage[T1]{fontenc} \usepackage{textcomp}
\begin{table}
\centering
\caption{Memory against depth. bptt, T=4.}
\begin{tabular}{lrr}
\toprule
 & step peak & step \\
model & MiB & ms \\
\midrule
ms\_resnet & 26.00 & -- \\
rev\textbar{}resnet & \textbf{oom} & 250.0 \\
\bottomrule
\end{tabular}
\end{table}
"""
NASTY = '\\{}$&#%_^~<>|"[]*`\n'


def printed(table: TableData, width: int = 100) -> str:
    """What a terminal shows, without trailing blanks."""
    console = Console(width=width, record=True, file=StringIO())
    console.print(terminal(table, width))
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


def test_terminal() -> None:
    """Title, note, units in the header, numbers to the right."""
    assert printed(TABLE) == TERMINAL


def test_csv() -> None:
    """Names with units in the header, values in base units, nothing where there is nothing."""
    assert csv_text(TABLE) == CSV


def test_markdown() -> None:
    """A table that GitHub draws, with what could be markup escaped."""
    assert markdown(TABLE) == MARKDOWN


def test_latex() -> None:
    """A table with the rules of booktabs, the headers in as many lines as they have."""
    assert latex(TABLE) == LATEX


def test_long_texts_are_broken_into_lines() -> None:
    """In a table as wide as the page, whose names may break behind an underscore; a status stays bold."""
    long = Column("case", "case", (text_cell("a_name_of_more_than_24_letters"), status_cell("oom")), "left")
    told = latex(TableData("t", "", (*TABLE.columns[:2], long)))
    assert told.startswith(r"% \usepackage{booktabs} \usepackage{tabularx} ")
    assert r"\begin{table*}" in told
    assert r"\begin{tabularx}{\textwidth}{lr>{\raggedright\arraybackslash}X}" in told
    assert r"ms\_resnet & 26.00 & a\_\allowbreak{}name\_" in told
    assert r"\textbf{oom} & \textbf{oom} \\" in told
    assert told.endswith("\\end{tabularx}\n\\end{table*}\n")


def test_wide_tables_take_the_page() -> None:
    """Both columns of a paper that has two."""
    numbers = Column("n", "a header of twenty-two", (number_cell(1, str), number_cell(2, str)))
    told = latex(TableData("t", "", (*TABLE.columns, numbers)))
    assert r"\begin{table*}" in told
    assert r"\begin{tabular}{lrrr}" in told


def test_columns_can_be_left_out() -> None:
    """Those that are named, and those that do not fit."""
    assert [column.name for column in TABLE.without("peak_bytes").columns] == ["model", "step_s"]
    assert [column.name for column in TABLE.shortened(20, ["step\nms"]).columns] == ["model", "peak_bytes"]
    assert TABLE.shortened(28, ["step\nms"]) == TABLE
    assert len(TABLE.shortened(27, ["step\nms"]).columns) == 2


@given(st.lists(st.text(st.sampled_from(NASTY + "abé"), min_size=1), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_name_breaks_a_table(names: list[str]) -> None:
    """Whatever a model is called, a row stays a row with its cells in each format."""
    numbers = tuple(number_cell(index, str) for index, _ in enumerate(names))
    table = TableData(
        NASTY, NASTY, (Column("name", NASTY, tuple(map(text_cell, names)), "left"), Column("n", "n", numbers))
    )
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(names)
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)
    body = latex(table).split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(names)
    assert all(line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == 1 for line in body)
    read = list(csv.reader(StringIO(csv_text(table))))
    assert [row[0] for row in read[1:]] == names


@given(st.text(st.sampled_from(NASTY + "ab"), max_size=12))
@settings(max_examples=100, deadline=None)
def test_nothing_in_a_text_is_a_command_of_tex(text: str) -> None:
    """Without the commands that stand for single characters nothing special is left, and braces are balanced."""
    told = escaped(text)
    rest = re.sub(r"\\(?:[a-z]+\{\}|[{}$&#%_])", "", told)
    assert not set('\\$&#%_^~<>|"') & set(rest)
    assert re.sub(r"\{[\[\]]\}", "", rest).translate(str.maketrans("", "", "ab*` ")) == ""


def test_every_special_character_of_tex() -> None:
    """Each comes out as its own command."""
    assert escaped(r"50 % & C:\a_b {x} $1 #2 ~3 ^4") == (
        r"50 \% \& C:\textbackslash{}a\_b \{x\} \$1 \#2 \textasciitilde{}3 \textasciicircum{}4"
    )


@pytest.mark.parametrize("text", ["<b>", "a*b*", "[x](y)", "`c`", "# h", "&lt;", "~~s~~"])
def test_markdown_takes_nothing_for_markup(text: str) -> None:
    """Every character that would be markup is escaped."""
    table = TableData(text, "", (Column("n", text, (text_cell(text),), "left"),))
    for character in set(text) & set("<>*[]`#&~"):
        assert not re.search(rf"(?<!\\){re.escape(character)}", markdown(table).removeprefix("### "))
