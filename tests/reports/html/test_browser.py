"""Pages in a real headless Chromium, from a file and without a network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from headless_browser import headless_chromium
from playwright.sync_api import Browser, Locator, Request
from playwright.sync_api import Page as Tab

from revbench.bench.cases import Case
from revbench.bench.environment import capture
from revbench.bench.records import Record
from revbench.bench.run import SuiteNote
from revbench.reports.html.report import report_page, write_report_page
from revbench.reports.table_formats import csv_text

NOTE = SuiteNote(name="suite", title="Memory against depth", claim="It does not grow.")
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ACTIVATIONS = "#activation_peak_bytes_per_image-depth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with headless_chromium() as found:
        yield found


@dataclass
class Opened:
    """A page in a tab, and what went wrong in it."""

    tab: Tab
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """What is to be read in all such elements."""
        return self.tab.locator(selector).all_text_contents()

    def hover(self, chart: str, curve: int, point: int, text: str) -> None:
        """Waits until a text is to be read where the pointer is over a point."""
        place = f"{{curveNumber: {curve}, pointNumber: {point}}}"
        self.tab.evaluate(f"Plotly.Fx.hover(document.querySelector('{chart} .drawing'), [{place}])")
        self.tab.locator(f"{chart} .hoverlayer", has_text=text).wait_for(timeout=5000)


@contextmanager
def opened(browser: Browser, path: Path, **choices: Any) -> Iterator[Opened]:
    """The file, opened without a network; it may not complain, nor ask for anything else."""
    context = browser.new_context(offline=True, **{**DESKTOP, **choices})
    page = Opened(context.new_page())
    page.tab.on("console", lambda message: page.complaints.append(f"{message.type}: {message.text}"))
    page.tab.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.tab.on("dialog", lambda dialog: page.complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())
    page.tab.on("request", lambda request: _noted(page, request))
    try:
        page.tab.goto(path.as_uri())
        yield page
        assert page.complaints == []
        assert page.requests == [path.as_uri()]
    finally:
        context.close()


def _noted(page: Opened, request: Request) -> None:
    if not request.url.startswith(("data:", "blob:")):
        page.requests.append(request.url)


@pytest.fixture
def path(depth_records: list[Record], tmp_path: Path) -> Path:
    """The page of a run in which cases failed."""
    return write_report_page(depth_records, NOTE, tmp_path, capture("cpu"))


def test_charts_are_drawn(browser: Browser, path: Path, depth_records: list[Record]) -> None:
    """All of them, with as many points as were measured, named in the legend; axes can be logarithmic, and back."""
    charts = [chart for section in report_page(depth_records, NOTE).sections for chart in section.charts]
    with opened(browser, path) as page:
        assert page.tab.locator(".drawing .main-svg").count() >= len(charts) > 0
        for chart in charts:
            num_points = sum(len(trace["x"]) for trace in chart.traces if "markers" in trace["mode"])
            assert page.tab.locator(f"#{chart.name} .points path.point").count() == num_points > 0
        buttons = page.tab.locator(f"{ACTIVATIONS} .modebar-btn").evaluate_all(
            "each => each.map((b) => b.dataset.title)"
        )
        assert buttons == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"]
        names = page.texts(f"{ACTIVATIONS} .legendtext")
        assert names == ["msresnet", "revsresnet", "revsnn: RevSResNet", "revsnn: MS-ResNet"]
        assert "oom" in page.texts(f"{ACTIVATIONS} .textpoint")
        page.hover(ACTIVATIONS, 0, 1, "depth 2, 18 layers: 13.00 MiB per image")
        button = page.tab.locator(f"{ACTIVATIONS} .logarithmic")
        kind = f"document.querySelector('{ACTIVATIONS} .drawing')._fullLayout.yaxis.type"
        found = [(button.get_attribute("aria-pressed"), page.tab.evaluate(kind))]
        for _ in range(2):
            button.click()
            found.append((button.get_attribute("aria-pressed"), page.tab.evaluate(kind)))
        assert found == [("false", "linear"), ("true", "log"), ("false", "linear")]


def column(table: Locator, index: int) -> list[str]:
    """The texts of a column."""
    return table.locator(f"tbody tr td:nth-child({index})").all_inner_texts()


def test_tables_are_sorted(browser: Browser, path: Path) -> None:
    """Ascending, descending, as they were; by the number and not by its text; what failed stays last.

    Rows stay whole. The headers are buttons: Tab leads there, Enter and Space sort.
    """
    with opened(browser, path) as page:
        table = page.tab.locator("#table-cases table")
        headers = table.locator("thead th")
        names = [" ".join(text.split()) for text in headers.all_inner_texts()]
        peak = next(i for i, name in enumerate(names) if name.startswith("step peak"))
        rows, before = table.locator("tbody tr").all_inner_texts(), column(table, peak + 1)
        assert before.count("oom") == 1
        numbers = sorted((text for text in before if text != "oom"), key=lambda text: float(text.replace(",", "")))
        for direction, expected in (
            ("ascending", [*numbers, "oom"]),
            ("descending", [*numbers[::-1], "oom"]),
            ("none", before),
        ):
            headers.nth(peak).locator("button").click()
            assert column(table, peak + 1) == expected
            assert headers.nth(peak).get_attribute("aria-sort") == direction
            assert sorted(table.locator("tbody tr").all_inner_texts()) == sorted(rows)
        headers.nth(peak).locator("button").click()
        headers.nth(0).locator("button").click()
        assert [each.get_attribute("aria-sort") for each in headers.all()].count("none") == len(names) - 1
        assert column(table, 1) == sorted(column(table, 1))
        headers.nth(1).locator("button").focus()
        for key, direction in (("Enter", "ascending"), ("Space", "descending")):
            page.tab.keyboard.press(key)
            assert headers.nth(1).get_attribute("aria-sort") == direction
        page.tab.keyboard.press("Tab")
        assert page.tab.evaluate("document.activeElement.closest('th').cellIndex") == 2


def test_downloads_and_the_drawer(browser: Browser, path: Path, depth_records: list[Record]) -> None:
    """What is downloaded of a chart and of a table is their CSV; the drawer is closed, and opens."""
    page = report_page(depth_records, NOTE)
    chart = next(chart for section in page.sections for chart in section.charts)
    tables = dict(next(section.tables for section in page.sections if section.name == "tables"))
    with opened(browser, path) as found:
        for place, name, table in (
            (f"#{chart.name}", chart.name, chart.table),
            ("#table-cases", "cases", tables["cases"]),
        ):
            with found.tab.expect_download() as download:
                found.tab.locator(f"{place} a[download]").click()
            assert download.value.suggested_filename == f"suite-{name}.csv"
            assert Path(download.value.path()).read_text(encoding="utf-8") == csv_text(table)
        drawer = found.tab.locator(".drawer")
        assert not drawer.locator("table").is_visible()
        drawer.locator("summary").click()
        assert drawer.locator("table").is_visible()
        assert capture("cpu").python in drawer.inner_text()


def test_nothing_in_a_record_runs(
    browser: Browser, hostile_records: list[Record], hostile_note: SuiteNote, tmp_path: Path
) -> None:
    """Names and messages are read as they are, in the text, the tables, the legend and what hovers."""
    path = write_report_page(hostile_records, hostile_note, tmp_path)
    with opened(browser, path) as page:
        hostile = hostile_note.title
        assert page.texts("h1") == [hostile]
        assert page.texts(f"{ACTIVATIONS} .legendtext") == [hostile]
        assert page.texts("#table-cases tbody tr:first-child td:first-child") == [hostile]
        assert page.tab.locator("img, .drawing b, .drawing a[href]").count() == 0
        page.hover(ACTIVATIONS, 0, 0, f"{hostile}depth 1")
        page.hover(ACTIVATIONS, 2, 0, f"because {hostile}")
        assert page.tab.locator(".hoverlayer img").count() == 0


def test_markup_that_slipped_in_could_not_run(browser: Browser, path: Path, tmp_path: Path) -> None:
    """The policy stops a script that is not the page's own."""
    page = path.read_text(encoding="utf-8")
    pierced = tmp_path / "pierced.html"
    pierced.write_text(
        page.replace("<main>", "<main><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"),
        encoding="utf-8",
    )
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto(pierced.as_uri())
    assert tab.evaluate("window.ran === undefined && window.Plotly !== undefined")
    context.close()


def test_a_phone_reads_it(browser: Browser, path: Path) -> None:
    """Nothing is wider than the screen but what scrolls by itself, and a finger scrolls over charts."""
    with opened(browser, path, **PHONE) as page:
        assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        widths = page.tab.evaluate("[...document.querySelectorAll('.main-svg')].map((each) => each.clientWidth)")
        assert 0 < max(widths) <= 390
        assert page.tab.evaluate("document.querySelector('.drawing')._fullLayout.dragmode") is False
        assert page.tab.evaluate(
            "(() => { const s = document.querySelector('.scroll'); return s.scrollWidth > s.clientWidth; })()"
        )


def test_by_night_texts_are_light(browser: Browser, path: Path) -> None:
    """Of the page and of the charts, on a dark ground."""
    with opened(browser, path, color_scheme="dark") as page:
        ground = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        texts = [
            page.tab.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}")
            for selector, name in (("h1", "color"), (".xtick text", "fill"), (".legendtext", "fill"))
        ]
        assert ground == "rgb(21, 24, 28)"
        assert texts == ["rgb(232, 232, 232)"] * 3


def test_on_paper_it_is_whole(browser: Browser, path: Path) -> None:
    """What is folded is open, buttons are gone, charts are no wider than the paper; after it all is as before."""
    with opened(browser, path, color_scheme="dark") as page:
        page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.tab.emulate_media(media="print")
        assert page.tab.locator(".drawer table").is_visible()
        assert not page.tab.locator(".tools").first.is_visible()
        assert not page.tab.locator("nav").is_visible()
        assert (
            page.tab.evaluate(
                "Math.max(...[...document.querySelectorAll('.main-svg')].map((each) => each.clientWidth))"
            )
            == 680
        )
        assert page.tab.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(26, 26, 26)"
        page.tab.emulate_media(media="screen")
        page.tab.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not page.tab.locator(".drawer table").is_visible()
        page.tab.wait_for_function("document.querySelector('.drawing .main-svg').clientWidth < 660")
        assert len(page.tab.pdf()) > 10_000


def test_a_run_of_failures_alone_is_drawn(
    browser: Browser, record_pass: Callable[..., list[Record]], tmp_path: Path
) -> None:
    """With words in place of points."""
    records = [
        record for depth in (1, 2) for record in record_pass(Case(model="m", depth=depth), "memory", status="oom")
    ]
    with opened(browser, write_report_page(records, NOTE, tmp_path)) as page:
        assert page.texts(f"{ACTIVATIONS} .textpoint") == ["", "oom"]
        assert page.texts(f"{ACTIVATIONS} .legendtext") == ["m"]
    with opened(browser, write_report_page([], NOTE, tmp_path)) as page:
        assert page.texts("h1") == [NOTE.title]
