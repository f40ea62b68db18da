"""The papers' pages: what each claims with our verdict, its numbers beside ours, and all that it published."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from revbench.bench.config import Suite
from revbench.docs.generator.complexity import claimed, rows_about
from revbench.docs.generator.markdown import text_table
from revbench.docs.generator.measured import Row, Run
from revbench.docs.generator.suites import anchor
from revbench.reports.published import Claim, Paper, Provenance, PublishedNumber
from revbench.reports.table_formats import escaped
from revbench.reports.units import MISSING, significant_text

READ: dict[str, str] = {
    "paper": "Read in the paper",
    "readme": "Read in the README of the authors' code",
    "log": "Read in the authors' log",
    "second-hand": "Second-hand",
    "measured on the authors' code": "Measured on the authors' code",
    "derived": "Not read: it follows from the method",
}
"""How a number or claim came here, as a sentence begins."""
SETTINGS = {
    "against": "against",
    "model": "our model",
    "rule": "our rule",
    "condition": "condition",
    "dataset": "data",
    "depth": "blocks a stage",
    "timesteps": "T",
    "batch_size": "batch",
    "precision": "precision",
    "gpu": "GPU",
    "counter": "counter",
    "note": "note",
}
SIGNIFICANT = 4


def paper_title(paper: Paper) -> str:
    """The heading of its page."""
    where = f" ({paper.venue})" if paper.venue else ""
    link = f"\n\n[{paper.link.removeprefix('https://')}]({paper.link})" if paper.link else ""
    return f"# {paper.name}{where}{link}"


def paper_sections(
    paper: Paper,
    claims: Sequence[Claim],
    numbers: Sequence[PublishedNumber],
    runs: Sequence[Run],
    suites: Mapping[str, Suite],
) -> str:
    """What follows the heading, or what a person wrote below it.

    Args:
        paper: which.
        claims: of growth, of all papers.
        numbers: of all papers.
        runs: that the repository holds.
        suites: of `bench.toml`.
    """
    own = [number for number in numbers if number.paper == paper.key]
    sections = {
        "Its claims of growth, and our verdicts": growth(claims_about(paper, claims), runs),
        "Its numbers beside ours": beside(paper, runs),
        "Suites that examine it": suite_list(paper, suites),
        "Published numbers": published(own),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def papers_page(papers: Sequence[Paper], numbers: Sequence[PublishedNumber]) -> str:
    """The overview: every paper with how many of its numbers are here, and how they came here, most numbers first."""
    rows = []
    held = {paper: [number for number in numbers if number.paper == paper.key] for paper in papers}
    for paper, own in sorted(held.items(), key=lambda item: -len(item[1])):
        ways = ", ".join(sorted({number.provenance for number in own}))
        rows.append((f"[{escaped(paper.name)}]({paper.key}.md)", paper.venue or MISSING, str(len(own)), ways))
    return (
        "# Papers\n\nNumbers that papers state lie in `reports/published/*.toml`, each with its source: "
        f"{len(numbers):,} of {len(papers)} papers. A number without a source is not there.\n\n"
        + text_table(("paper", "venue", "numbers", "read in"), rows, right=("numbers",))
        + "\n"
    )


def claims_about(paper: Paper, claims: Sequence[Claim]) -> list[Claim]:
    """The claims that the paper makes, and those that others make about its method."""
    names = re.compile(rf"{re.escape(paper.name)}(-K)?")
    return [claim for claim in claims if claim.paper == paper.key or names.fullmatch(claim.method)]


def growth(claims: Sequence[Claim], runs: Sequence[Run]) -> str:
    """A row for each claim and each way in which it was measured; empty without claims."""
    if not claims:
        return ""
    rows: list[tuple[str, ...]] = []
    sources: dict[tuple[str, str], list[str]] = {}
    measured = [(run, row) for run in runs for row in run.table("complexity")]
    for claim in claims:
        found = rows_about(claim, [row for _, row in measured])
        source = _source(claim.provenance, f"{claim.paper}, {claim.place}: {claim.source}")
        sources.setdefault((claim.method, source), []).append(_words(claim.cost))
        said = (escaped(claim.method), _words(claim.cost))
        if not found:
            rows.append((*said, claim.growth, MISSING, MISSING, MISSING, "not measured", MISSING))
        for row in found:
            compared = (escaped(row["method"]), escaped(row["cost"]), row["fitted"] or MISSING, row["verdict"])
            rows.append((*said, claimed(row), *compared, escaped(row["reason"])))
    headers = ("method", "cost", "claimed", "measured on", "as", "fitted", "verdict", "because it")
    origins = dict.fromkeys(f"`{run.command}` ({run.origin})" for run, _ in measured)
    notes = [f"From {'; '.join(origins)}."] if origins else []
    listed = "\n".join(f"* {method}, {', '.join(costs)}. {source}." for (method, source), costs in sources.items())
    return "\n\n".join([text_table(headers, rows), *notes, f"Where the claims come from:\n\n{listed}"])


def beside(paper: Paper, runs: Sequence[Run]) -> str:
    """The published numbers that were measured too; empty if there are none."""
    parts = []
    for run in runs:
        rows = [row for row in run.table("published") if row["paper"] == paper.key]
        if rows:
            headers = ("quantity", "method", "published", "measured", "unit", "measured / published", "why no ratio")
            table = text_table(headers, [*map(_beside, rows)], right=("published", "measured", "measured / published"))
            parts.append(f"`{run.command}` ({run.origin}):\n\n{table}")
    return "\n\n".join(parts)


def suite_list(paper: Paper, suites: Mapping[str, Suite]) -> str:
    """The suites that mirror a table or figure of the paper; empty if none does."""
    name = re.compile(rf"(?<![\w-]){re.escape(paper.name)}(?![\w-])")
    return "\n".join(
        f"* [{key}](../suites.md#{anchor(key)}): {escaped(suite.claim)}"
        for key, suite in suites.items()
        if name.search(suite.mirrors)
    )


def published(numbers: Sequence[PublishedNumber]) -> str:
    """One table a place, with what its rows have in common above it."""
    places: dict[tuple[str, str, str], list[PublishedNumber]] = {}
    for number in numbers:
        places.setdefault((number.place, number.provenance, number.source), []).append(number)
    parts = [
        f"### {escaped(place)}\n\n{_source(provenance, source)}.{_place(own)}"
        for (place, provenance, source), own in places.items()
    ]
    return "\n\n".join(parts)


def _place(numbers: Sequence[PublishedNumber]) -> str:
    rows: dict[tuple[object, ...], list[PublishedNumber]] = {}
    for number in numbers:
        rows.setdefault(_row_of(number), []).append(number)
    told = [{name: _setting(row, name) for name in SETTINGS} for row in rows.values()]
    varying = [name for name in SETTINGS if len({settings[name] for settings in told}) > 1]
    common = [(name, told[0][name]) for name in SETTINGS if name not in varying and told[0][name]]
    quantities = list(dict.fromkeys((number.quantity, number.unit) for number in numbers))
    headers = ["method", *(SETTINGS[name] for name in varying), *(_heading(*each) for each in quantities)]
    cells = [
        [
            escaped(row[0].method),
            *(escaped(settings[name]) or MISSING for name in varying),
            *(_value(row, quantity, unit) for quantity, unit in quantities),
        ]
        for row, settings in zip(rows.values(), told, strict=True)
    ]
    shared = ", ".join(escaped(f"{SETTINGS[name]} {value}") for name, value in common if name != "note")
    noted = "".join(f" Note: {escaped(value)}." for name, value in common if name == "note")
    above = (f" All rows: {shared}." if shared else "") + noted
    return f"{above}\n\n{text_table(headers, cells, right=[_heading(*each) for each in quantities])}"


def _row_of(number: PublishedNumber) -> tuple[object, ...]:
    """What the numbers of one row have in common."""
    apart = ("quantity", "value", "unit", "counter")
    return tuple(getattr(number, field.name) for field in fields(number) if field.name not in apart)


def _setting(row: Sequence[PublishedNumber], name: str) -> str:
    """As text; the counter of a row is that of its memory."""
    return next((str(value) for number in row if (value := getattr(number, name)) not in (None, "")), "")


def _heading(quantity: str, unit: str) -> str:
    return _words(quantity) if unit == "1" else f"{_words(quantity)}, {unit}"


def _value(row: Sequence[PublishedNumber], quantity: str, unit: str) -> str:
    return next((f"{n.value:,}".removesuffix(".0") for n in row if (n.quantity, n.unit) == (quantity, unit)), MISSING)


def _beside(row: Row) -> tuple[str, ...]:
    ratio = f"{float(row['ratio']):.3f}" if row["ratio"] else MISSING
    numbers = (f"{float(row[name]):,}".removesuffix(".0") for name in ("published",))
    measured = float(row["measured"])
    exact = f"{int(measured):,}" if row["unit"] in ("1", "B") and measured.is_integer() else None
    return (
        escaped(row["quantity"]),
        escaped(f"{row['method']}, {row['place']}"),
        *numbers,
        exact or significant_text(measured, SIGNIFICANT),
        row["unit"],
        ratio,
        escaped(row["reasons"]) or MISSING,
    )


def _source(provenance: Provenance | str, source: str) -> str:
    return f"{READ[provenance]}: {escaped(source)}"


def _words(name: str) -> str:
    return name.replace("_", " ")
