"""LaTeX tables go through TeX, and what stands on the page is what was meant."""

import shutil
import subprocess
from pathlib import Path
from unicodedata import normalize

import pytest

from revbench.reports.latex import SPECIAL, latex
from revbench.reports.table_data import Column, TableData, number_cell, status_cell, text_cell

TEX = next((name for name in ("pdflatex", "lualatex", "tectonic") if shutil.which(name)), None)
NEEDED = ("booktabs", "tabularx", "textcomp")
LETTERS = dict.fromkeys(("\\", *"{}$&#%_^~<>|[]", '"', *SPECIAL))
"""What TeX reads as a command, and what we have a command for."""
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{tabularx}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\begin{document}
%s
\end{document}
"""


@pytest.fixture(scope="module")
def tex() -> str:
    """The TeX of this machine, if it has one with the packages that the tables name."""
    if TEX is None:
        pytest.skip("no TeX here: install pdflatex, lualatex or tectonic")
    if TEX != "tectonic" and not all(_has(f"{package}.sty") for package in NEEDED):
        pytest.skip(f"{TEX} lacks one of the packages {', '.join(NEEDED)}")
    return TEX


def _has(file: str) -> bool:
    found = subprocess.run(["kpsewhich", file], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip())


def compiled(tex: str, text: str, folder: Path) -> str:
    """What stands on the page, as far as `pdftotext` is there to tell; fails where TeX does."""
    (folder / "table.tex").write_text(DOCUMENT % text, encoding="utf-8")
    options = ["-halt-on-error", "-interaction=nonstopmode"] if tex != "tectonic" else ["--keep-logs"]
    done = subprocess.run([tex, *options, "table.tex"], cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "table.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log
    assert (folder / "table.pdf").stat().st_size > 1000
    if not shutil.which("pdftotext"):
        return ""
    shown = subprocess.run(["pdftotext", "-layout", "table.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return shown.stdout.decode("utf-8")


def test_a_table_compiles(tex: str, tmp_path: Path) -> None:
    """Headers of several lines, a status, a number that is missing."""
    table = TableData(
        "Memory against depth",
        "bptt, T=4",
        (
            Column("model", "model", (text_cell("ms_resnet"), text_cell("rev|resnet")), "left"),
            Column("peak_bytes", "step peak\nMiB", (number_cell(26.5, str), status_cell("oom"))),
            Column("step_s", "step\nms", (number_cell(None, str), number_cell(250.25, str))),
        ),
    )
    page = compiled(tex, latex(table), tmp_path)
    if page:
        words = page.split()
        assert [
            word for word in ("ms_resnet", "rev|resnet", "26.5", "oom", "250.25", "bptt,") if word not in words
        ] == []
        assert "Table 1: Memory against depth. bptt, T=4." in " ".join(words)


def test_a_wide_table_fits_the_page(tex: str, tmp_path: Path) -> None:
    """Of a paper with two columns, long names and sentences included."""
    names = tuple(text_cell(f"spikingformer{number}_384_published_with_stored_activations") for number in range(3))
    reasons = tuple(text_cell("counter unknown; batch: 64, not 32; precision unknown; T: 4, not 8") for _ in names)
    numbers = tuple(number_cell(1234567.0, "{:,.2f}".format) for _ in names)
    columns = (
        Column("case", "case", names, "left"),
        *(Column(f"n{index}", f"number {index}\nMiB", numbers) for index in range(5)),
        Column("reasons", "why no ratio", reasons, "left"),
    )
    compiled(tex, latex(TableData("Published beside measured", "", columns)), tmp_path)
    assert "Overfull" not in (tmp_path / "table.log").read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: f"U+{ord(letter):04X}")
def test_every_special_character_is_set(letter: str) -> None:
    """By a text of its own, whose braces close."""
    told = SPECIAL[letter].replace(r"\{", "").replace(r"\}", "")
    assert SPECIAL[letter] != letter
    assert told.count("{") == told.count("}")


def test_special_characters_compile(tex: str, tmp_path: Path) -> None:
    """All of them, anywhere: in the title, the note, a header, a name, and where a row begins."""
    every = "".join(LETTERS)
    names = [*(f"{letter}x{letter}" for letter in LETTERS), every]
    table = TableData(every, every, (Column("name", f"{every}\n{every}", tuple(map(text_cell, names)), "left"),))
    page = compiled(tex, latex(table), tmp_path)
    if page:
        words = normalize("NFKC", page).split()
        read = [name for name in names[:-1] if "²" not in name]  # which pdftotext puts on a line above
        assert [name for name in read if normalize("NFKC", name) not in words] == []
