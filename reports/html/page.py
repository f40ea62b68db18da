"""One page that works offline: everything it needs is in the file, and nothing in a record can become markup.

Texts are escaped by the template, data for the script is JSON without a `<`, and a policy in the page lets the browser
run no script but those that this module writes, by their digests, and load nothing from anywhere.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from revbench.bench.store import writing
from revbench.reports.html.chart import Chart
from revbench.reports.table_data import TableData
from revbench.reports.table_formats import csv_text

FOLDER = Path(__file__).parent
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page.

    Attributes:
        name: letters, digits and hyphens; the page's links lead there.
        title: of the part.
        sentences: what is to be said first.
        charts: side by side where there is room.
        tables: by name, below the charts.
        drawer: labels with texts, folded away.
        drawer_title: what it is opened by.
    """

    name: str
    title: str
    sentences: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[tuple[str, TableData]] = ()
    drawer: Facts = ()
    drawer_title: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.sentences or self.charts or self.tables or self.drawer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        name: begins the names of files that are downloaded.
        title: of the page.
        facts: labels with texts, below the title.
        sections: from above; empty ones are left out.
    """

    name: str
    title: str
    facts: Facts
    sections: Sequence[Section]


def page_html(page: Page) -> str:
    """The page as one file; the same page gives the same text.

    Raises:
        ValueError: two charts have the same name (an error of this program).
    """
    sections = [section for section in page.sections if not section.is_empty]
    charts = [chart for section in sections for chart in section.charts]
    if len({chart.name for chart in charts}) < len(charts):
        raise ValueError(f"charts of the same name: {sorted(chart.name for chart in charts)}")
    scripts = [get_plotlyjs(), _read("page.js")] if charts or any(section.tables for section in sections) else []
    templates = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return templates.get_template("page.html").render(
        page=Page(name=page.name, title=page.title, facts=page.facts, sections=sections),
        charts=charts,
        style=Markup(_read("page.css")),
        policy=_policy(scripts),
        figures=Markup(json_in_script({chart.name: chart.figure for chart in charts})),
        scripts=[Markup(script) for script in scripts],
        download=download,
    )


def write_page(page: Page, path: Path) -> None:
    """Writes the page.

    Raises:
        OutputError: it cannot be written.
    """
    # A title from a damaged file may hold what is no text.
    data = page_html(page).encode("utf-8", errors="replace")
    with writing(path):
        path.write_bytes(data)


def json_in_script(data: object) -> str:
    """JSON that ends no script element: every `<` is written as an escape.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def download(table: TableData) -> str:
    """The address that a browser saves the table's CSV from."""
    data = csv_text(table).encode("utf-8", errors="replace")
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(data).decode()}"


def _policy(scripts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
