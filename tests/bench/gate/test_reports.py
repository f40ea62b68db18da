"""A check as JUnit XML, Markdown, annotations and text: parsed back, and escaped whatever the names hold."""

import io
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from gate_readings import CASE, HELD, reading, without_bytes
from rich.console import Console

import revbench
from revbench.bench.cases import Case
from revbench.bench.gate.compare import compare
from revbench.bench.gate.finding import worst_first
from revbench.bench.gate.github import annotations, source_of
from revbench.bench.gate.junit import junit
from revbench.bench.gate.markdown import NUM_LINES, markdown
from revbench.bench.gate.reading import Holder
from revbench.bench.gate.terminal import NUM_TABLES, print_check
from revbench.bench.gate.tolerances import Tolerances
from revbench.bench.gate.wording import NUM_ROWS, blame_rows, summary

ROOT = Path(revbench.__file__).resolve().parent
NASTY = "a<b>&\"'|`*_[x](y)::%0A,\n\x1b[31m\0 \N{BLACK HEART SUIT}"
SAVED = Holder("blocks.0", "2", "saved")


def case(name: str) -> Case:
    """A case of a model of that name."""
    return replace(CASE, model=name)


FOUND = worst_first(
    compare(before, now, Tolerances())
    for before, now in [
        (reading(case=case("same")), reading(case=case("same"))),
        (reading(case=case("less")), reading({**HELD, SAVED: 1}, case=case("less"))),
        (reading(case=case("little")), reading({**HELD, SAVED: 41}, case=case("little"))),
        (reading(case=case("much")), reading({**HELD, SAVED: 400}, case=case("much"))),
        (reading(case=case(NASTY)), without_bytes("failed", NASTY, case(NASTY))),
        (without_bytes("unsupported", case=case("never")), without_bytes("unsupported", "no", case("never"))),
    ]
)


def test_junit_is_read_back() -> None:
    """One test case a case; failures, errors and skips are counted; no character breaks the file."""
    document = junit(FOUND, seconds=1.5)
    [suite] = Xml.fromstring(document)
    assert suite.attrib == {
        "name": "revbench check",
        "tests": "6",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
        "time": "1.500",
    }
    outcomes = {test.get("name", "").split()[0]: [part.tag for part in test] for test in suite}
    assert outcomes == {
        "much": ["failure"],
        "little": ["failure"],
        NASTY.split(maxsplit=1)[0]: ["error"],
        "less": ["system-out"],
        "never": ["skipped"],
        "same": [],
    }
    failure = suite[0][0]
    assert failure.get("message", "").startswith("peak 177 B -> 537 B (+360 B, +203.39 %), in backward; ")
    assert re.search(r"^blocks\.0 +2 +saved +40 +400 +\+360$", failure.text or "", re.M)
    assert "\N{BLACK HEART SUIT}" in (suite[2].get("name") or "")


def test_markdown_is_escaped() -> None:
    """Nothing of a name or a message is taken for Markdown, HTML or the end of a line or a cell."""
    text = markdown(FOUND, ["The baseline was written elsewhere: torch <2>."])
    assert text.startswith("### Memory of training steps\n\n6 cases: 2 regressions, 1 failed case, 1 improvement, ")
    assert "\n| blocks.0 | 2 | saved | 40 | 400 | +360 |\n" in text
    assert "torch &lt;2&gt;." in text
    [line] = [line for line in text.splitlines() if line.startswith("* FAILED")]
    assert r"a&lt;b&gt;&amp;\"'\|\`\*\_\[x\](y)::%0A,".replace('\\"', '"') in line
    assert all(line.count(" | ") == 5 for line in text.splitlines() if line.startswith("| "))


def test_long_checks_stay_short() -> None:
    """A change that hits every case is told with some tables, some lines, and how many more there are."""
    grown = [FOUND[0]] * (NUM_LINES + 3)
    assert "3 more are in the log." in markdown(grown)
    assert len(markdown(grown).encode()) < 2**20
    many = {Holder(f"layer {i}", "all", "saved"): 1 for i in range(NUM_ROWS + 5)}
    rows = blame_rows(compare(reading(), reading({**HELD, **many}), Tolerances()))
    assert [row[0] for row in rows[-2:]] == ["5 more", "all that changed"]
    assert rows[-1][-1] == f"+{NUM_ROWS + 5}"
    assert len(rows) == NUM_ROWS + 2
    out = io.StringIO()
    print_check(grown, Console(file=out, width=80), hint="")
    assert out.getvalue().count("all that changed") == NUM_TABLES
    assert out.getvalue().endswith(f"{NUM_LINES + 3} cases: {NUM_LINES + 3} regressions.\n")


@pytest.mark.parametrize("width", [30, 80, 200])
def test_terminal(width: int) -> None:
    """Worst first, with the rows that grew; numbers are whole however narrow it is."""
    out = io.StringIO()
    print_check(FOUND, Console(file=out, width=width, markup=False), hint="revbench baseline write -s x")
    text = out.getvalue()
    order = [re.split(r"\s", line)[0] for line in text.splitlines() if re.match(r"[A-Z]{5}|improvement", line)]
    assert order == ["REGRESSION", "REGRESSION", "FAILED", "improvement"]
    assert re.search(r"\b40 +400 +\+360$", text, re.M)
    assert text.endswith("Record what is less, so that it stays: revbench baseline write -s x\n")


def test_summary() -> None:
    """Every verdict that occurs, with its number."""
    assert summary(FOUND) == "6 cases: 2 regressions, 1 failed case, 1 improvement, 2 as in the baseline"
    assert summary(FOUND[:1]) == "1 case: 1 regression"
    assert summary([]) == "0 cases: nothing was compared"


def test_annotations_are_one_line_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GitHub's own escapes; elsewhere than beside the code they point at the baseline."""
    monkeypatch.chdir(tmp_path)
    much, little, nasty = annotations(FOUND, Path("a,b:c.json"))
    assert all("\n" not in line for line in (much, little, nasty))
    assert much.startswith(
        "::error file=a%2Cb%3Ac.json,line=1,title=much depth=1 width=8 T=2 batch=2 grew::peak 177 B -"
    )
    assert "%0Ablocks.0  2  saved  40  400  +360%0A" in much
    assert "+203.39 %25" in much
    title = nasty.split("::", 2)[1]
    assert "a<b>&\"'|`*_[x](y)%3A%3A%250A%2C%0A" in title


def test_an_annotation_points_at_the_class_that_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a layer that is no code of this folder (torch's), at the whole around it."""
    monkeypatch.chdir(ROOT)
    source = (ROOT / "models/networks/msresnet.py").read_text(encoding="utf-8").splitlines()
    file, line = source_of(CASE, "blocks.0") or ("", 0)
    assert (file, source[line - 1]) == ("models/networks/msresnet.py", "class Block(nn.Module):")
    file, line = source_of(CASE, "head") or ("", 0)
    assert (file, source[line - 1].split("(")[0]) == ("models/networks/msresnet.py", "class MSResNet")
    assert source_of(CASE, "(no layer)") == (file, line)
    assert source_of(case("gone"), "blocks.0") is None
    found = compare(reading(), reading({**HELD, SAVED: 41}), Tolerances())
    [told] = annotations([found], Path("baseline.json"))
    assert re.match(r"::error file=models/networks/msresnet\.py,line=\d+,title=msresnet ", told)
