"""What an HTML page holds, read back by a parser: tables, charts, downloads, and which elements there are."""

import base64
import csv
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import StringIO
from typing import Any

VOID = ("meta", "br", "link", "img", "input")


@dataclass
class ReadCell:
    """A cell: its text, and the value that it is sorted by."""

    text: str = ""
    value: str | None = None
    classes: tuple[str, ...] = ()


@dataclass
class ReadTable:
    """A table."""

    caption: str = ""
    headers: list[str] = field(default_factory=list)
    rows: list[list[ReadCell]] = field(default_factory=list)


class ReadPage(HTMLParser):
    """A page.

    Attributes:
        tags: how often each element occurs.
        attributes: every name of an attribute that occurs.
        errors: end tags that end nothing.
        tables: the sortable ones.
        downloads: by the name of the file, its rows.
        scripts: their texts.
        text: all that is to be read.
    """

    def __init__(self, page: str):
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.errors: list[str] = []
        self.tables: list[ReadTable] = []
        self.downloads: dict[str, list[list[str]]] = {}
        self.scripts: list[str] = []
        self.policy = ""
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.errors += [f"<{tag}> is not ended" for tag in self._open]

    @property
    def figures(self) -> dict[str, Any]:
        """What the script draws, by the name of the chart."""
        return json.loads(next(script for script in self.scripts if script.startswith("{")))

    def table(self, caption: str) -> ReadTable:
        """The table of that caption."""
        return next(table for table in self.tables if table.caption == caption)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= given.keys()
        if tag not in VOID:
            self._open.append(tag)
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given.get("content") or ""
        if tag == "a" and (name := given.get("download")):
            data = (given.get("href") or "").removeprefix("data:text/csv;charset=utf-8;base64,")
            self.downloads[name] = list(csv.reader(StringIO(base64.b64decode(data).decode())))
        if tag == "script":
            self.scripts.append("")
        if tag == "table" and given.get("class") == "sortable":
            self.tables.append(ReadTable())
        if self._in_table():
            if tag == "th":
                self.tables[-1].headers.append("")
            if tag == "br":
                self.tables[-1].headers[-1] += "\n"
            if tag == "tr" and "tbody" in self._open:
                self.tables[-1].rows.append([])
            if tag == "td":
                classes = tuple((given.get("class") or "").split())
                self.tables[-1].rows[-1].append(ReadCell(value=given.get("data-value"), classes=classes))

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        if not self._open or self._open.pop() != tag:
            self.errors.append(f"</{tag}> ends something else")

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        within = self._open[-1] if self._open else ""
        if within == "script":
            self.scripts[-1] += data
            return
        if within != "style":
            self.text += data
        if self._in_table():
            if within == "caption":
                self.tables[-1].caption += data
            if within == "button":
                self.tables[-1].headers[-1] += data
            if within == "td":
                self.tables[-1].rows[-1][-1].text += data

    def _in_table(self) -> bool:
        return bool(self.tables) and "table" in self._open and "details" not in self._open
