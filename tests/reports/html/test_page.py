"""The page of a run: well formed, self-contained, the numbers of the CSV, and nothing in a record becomes markup."""

import base64
import csv
import hashlib
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import plotly.graph_objects as go
import pytest
from html_page import ReadPage
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.environment import capture
from revbench.bench.errors import OutputError
from revbench.bench.records import Record
from revbench.bench.run import SuiteNote
from revbench.reports.html.chart import Chart
from revbench.reports.html.page import Page, Section, json_in_script, page_html, write_page
from revbench.reports.html.report import report_page, write_report_page
from revbench.reports.report_tables import report_tables
from revbench.reports.table_data import Column, TableData, number_cell, status_cell, text_cell
from revbench.reports.table_formats import csv_text

NOTE = SuiteNote(name="suite", title="Memory against depth", claim="It does not grow.", mirrors="A paper, figure 1")
TABLE = TableData(
    "Numbers",
    "all of them",
    (
        Column("name", "name", (text_cell("a"), text_cell("b"), text_cell(None)), "left"),
        Column(
            "peak_bytes", "peak\nMiB", (number_cell(2**20, lambda _: "1.00"), status_cell("oom"), number_cell(0.1, str))
        ),
    ),
)
MARKUP = (
    "</script></style></title></textarea>--><!--<script>alert(1)</script><img src=x onerror=alert(1)>"
    "\"'&lt;&#60;\u2028%{x}"
)


def read(records: list[Record], note: SuiteNote = NOTE) -> ReadPage:
    """The page of these records, read back."""
    return ReadPage(page_html(report_page(records, note, capture("cpu"))))


def test_the_page_is_well_formed_and_needs_nothing_else(depth_records: list[Record]) -> None:
    """Every element is ended, and no address leads outside the file."""
    page = page_html(report_page(depth_records, NOTE, capture("cpu")))
    found = ReadPage(page)
    assert found.errors == []
    assert page.startswith("<!DOCTYPE html>")
    assert page.index('<meta charset="utf-8">') < 1024
    assert found.tags["h1"] == found.tags["main"] == 1
    assert {"link", "img", "iframe", "object"}.isdisjoint(found.tags)
    assert not re.search(
        r"""<[^>]+ (src|href)="(?!#|data:text/csv)""", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    )
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links == {"findings", "failures", "growth", "tables", "environment"}
    assert all(f'id="{link}"' in page for link in links)
    assert len(re.findall(r' id="([^"]+)"', page)) == len(set(re.findall(r' id="([^"]+)"', page)))


def test_the_browser_may_run_these_scripts_alone(depth_records: list[Record]) -> None:
    """The policy has the digests of plotly and of the page's script, and allows nothing else to be loaded."""
    found = read(depth_records)
    run = [script for script in found.scripts if not script.startswith("{")]
    assert len(run) == 2
    assert "plotly.js" in run[0][:100]
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run}
    assert set(re.findall(r"'sha256-([^']+)'", found.policy)) == digests
    assert found.policy.startswith("default-src 'none'; ")
    script_rule = found.policy.split("script-src ")[1].split(";")[0]
    assert "unsafe" not in script_rule
    assert not any(name.startswith("on") for name in found.attributes)


def test_what_is_told(depth_records: list[Record]) -> None:
    """Title, claim, findings, failures with their reasons, environment."""
    found = read(depth_records)
    for text in (
        "Memory against depth",
        "It does not grow.",
        "A paper, figure 1",
        "8, of which 2 without a number",
        "activation peak flat in depth: 27,262,976 B",
        "msresnet depth=8 T=4 batch=2: memory: oom, 60 MiB were asked for, 12 MiB were free",
        f"torch{capture('cpu').torch}".replace("torch", "", 1),
    ):
        assert text in found.text


def test_without_an_environment_the_page_says_so(depth_records: list[Record]) -> None:
    """A run folder may have lost it."""
    found = ReadPage(page_html(report_page(depth_records, NOTE)))
    assert "The run folder does not tell what it was measured with." in found.text
    assert "What it was measured with" not in found.text


def test_every_cell_is_that_of_the_csv(depth_records: list[Record], models_records: list[Record]) -> None:
    """Texts are those of the table; values, to the last digit, those of its CSV, whose download is the same."""
    records = [*depth_records, *models_records]
    tables = report_tables(case_rows(records), NOTE.title)
    found = read(records)
    assert [table.caption for table in found.tables][::-1] == [table.title for table in tables.values()]
    for name, table in tables.items():
        shown = found.table(table.title)
        stored = list(csv.reader(StringIO(csv_text(table))))
        assert found.downloads[f"suite-{name}.csv"] == stored
        assert shown.headers == [column.header for column in table.columns]
        assert len(shown.rows) == len(table.rows) > 0
        for shown_row, row, stored_row in zip(shown.rows, table.rows, stored[1:], strict=True):
            assert [cell.text for cell in shown_row] == [cell.text for cell in row]
            for shown_cell, cell, stored_cell in zip(shown_row, row, stored_row, strict=True):
                assert shown_cell.value == (stored_cell if cell.kind == "number" else None)
                assert ("status" in shown_cell.classes) == (cell.kind == "status")


def test_every_chart_has_a_download_of_its_table(depth_records: list[Record]) -> None:
    """The same CSV as the table's."""
    page = report_page(depth_records, NOTE)
    charts = [chart for section in page.sections for chart in section.charts]
    found = ReadPage(page_html(page))
    assert list(found.figures) == [chart.name for chart in charts] != []
    for chart in charts:
        assert found.downloads[f"suite-{chart.name}.csv"] == list(csv.reader(StringIO(csv_text(chart.table))))
        assert found.figures[chart.name] == json.loads(json.dumps(chart.figure))


def test_plotly_knows_every_property(
    depth_records: list[Record], models_records: list[Record], hostile_records: list[Record]
) -> None:
    """A misspelt one would be ignored by the browser without a word."""
    for records in (depth_records, models_records, hostile_records):
        for section in report_page(records, NOTE).sections:
            for chart in section.charts:
                go.Figure(data=list(chart.traces), layout=chart.layout)
    with pytest.raises(ValueError, match="colour"):
        go.Figure(layout={"xaxis": {"colour": "red"}})


def test_nothing_in_a_record_becomes_markup(hostile_records: list[Record], hostile_note: SuiteNote) -> None:
    """Model, message, title and claim are read as they are; no element comes of them."""
    found = read(hostile_records, hostile_note)
    assert found.errors == []
    assert {"img", "b"}.isdisjoint(found.tags)
    assert found.tags["script"] == 3
    assert found.text.count(hostile_note.title) >= 4
    assert f"because {hostile_note.title}" in found.text
    assert any(hostile_note.title in cell.text for table in found.tables for row in table.rows for cell in row)
    assert hostile_records[0].case.model in {row[0] for row in found.downloads["hostile-cases.csv"]}
    texts = json.dumps(found.figures)
    assert "<img" not in texts
    assert "&lt;img src=x onerror=alert(1)&gt;" in texts


@given(st.text(st.sampled_from(MARKUP), max_size=40) | st.just(MARKUP))
@settings(max_examples=12, deadline=None)
def test_no_text_escapes_its_place(text: str) -> None:
    """Wherever it stands: the same elements, and it is read as it is."""
    word = f"[{text}]"
    plain, found = (ReadPage(page_html(page_of(said))) for said in ("plain", word))
    assert found.errors == []
    assert found.tags == plain.tags
    assert found.figures["chart"]["layout"]["title"]["text"] == word
    assert found.text.count(word) == plain.text.count("plain") > 10


def page_of(text: str) -> Page:
    """A page with a text wherever there may be one."""
    table = TableData(text, text, (Column(text, text, (text_cell(text),), "left"),))
    layout = {"title": {"text": text}}
    chart = Chart(name="chart", table=table, traces=[], layout=layout, remarks=[text], remarks_title=text)
    section = Section(
        name="section",
        title=text,
        sentences=[text],
        charts=[chart],
        tables=[("table", table)],
        drawer=[(text, text)],
        drawer_title=text,
    )
    return Page(name="page", title=text, facts=[(text, text)], sections=[section])


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(max_examples=30, deadline=None)
def test_json_ends_no_script(data: object) -> None:
    """It has no `<`, and is the same when read back."""
    text = json_in_script({"data": data})
    assert "<" not in text
    assert json.loads(text) == {"data": data}


def test_json_holds_no_nan() -> None:
    """A browser could not read it."""
    with pytest.raises(ValueError, match="JSON"):
        json_in_script([float("nan")])


@pytest.mark.parametrize("status", ["oom", "timeout", "error", "unsupported"])
def test_a_run_of_failures_alone(status: str, record_pass: Callable[..., list[Record]]) -> None:
    """It has a page with the words."""
    passes = ("memory", "time", "energy", "operations", "joules", "reversibility", "learning", "similarity")
    records = [
        record
        for depth in (1, 2)
        for name in passes
        for record in record_pass(Case(model="m", depth=depth), name, status=status, detail="because")
    ]
    found = read(records)
    assert found.errors == []
    assert "2, of which 2 without a number" in found.text
    assert any(cell.text == status for table in found.tables for row in table.rows for cell in row)


def test_no_records_are_a_page_too() -> None:
    """With a table without rows."""
    found = read([])
    assert found.errors == []
    assert found.figures == {}
    assert [len(table.rows) for table in found.tables] == [0]


def test_a_page_without_sections_has_no_script() -> None:
    """And none may run."""
    found = ReadPage(page_html(Page(name="n", title="t", facts=[], sections=[Section(name="s", title="empty")])))
    assert "script-src 'none'" in found.policy
    assert "empty" not in found.text


def test_two_charts_of_one_name_are_an_error() -> None:
    """Each would draw into the other's place."""
    chart = Chart(name="c", table=TABLE, traces=[], layout={})
    with pytest.raises(ValueError, match="same name"):
        page_html(Page(name="n", title="t", facts=[], sections=[Section(name="s", title="s", charts=[chart, chart])]))


def test_the_same_records_give_the_same_file(depth_records: list[Record], tmp_path: Path) -> None:
    """In the folder that is named, under the name of the suite."""
    environment = capture("cpu")
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(write_report_page(depth_records, NOTE, tmp_path / name, environment))
    assert [path.name for path in paths] == ["suite.html", "suite.html"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_that_cannot_be_written(depth_records: list[Record], tmp_path: Path) -> None:
    """The user is told which, and what to do."""
    (tmp_path / "suite.html").mkdir()
    with pytest.raises(OutputError, match=r"suite\.html.*folder"):
        write_report_page(depth_records, NOTE, tmp_path)


def test_a_title_that_is_no_text(tmp_path: Path) -> None:
    """A damaged note may hold half a character; the page is written all the same."""
    page = Page(name="n", title="half \ud800", facts=[], sections=[])
    write_page(page, tmp_path / "page.html")
    assert "half ?" in (tmp_path / "page.html").read_text(encoding="utf-8")
