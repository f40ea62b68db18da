"""A check as JUnit XML, which CI services show as a table of tests: one test case a case."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from revbench.bench.gate.finding import Finding
from revbench.bench.gate.wording import HEADERS, blame_rows
from revbench.bench.store import writing

SUITE = "revbench check"


def write_junit(findings: Sequence[Finding], path: Path, seconds: float) -> None:
    """Writes the file.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junit(findings, seconds))


def junit(findings: Sequence[Finding], seconds: float) -> bytes:
    """The document: a regression is a failure, a case that failed an error, one that is unsupported is skipped."""
    suite = Xml.Element("testsuite", name=SUITE, time=f"{seconds:.3f}")
    counts = {"tests": len(findings), "failures": 0, "errors": 0, "skipped": 0}
    for each in findings:
        test = Xml.SubElement(suite, "testcase", classname=SUITE, name=_clean(each.name))
        sentence = _clean(each.sentence())
        if each.verdict == "grew":
            counts["failures"] += 1
            Xml.SubElement(test, "failure", message=sentence, type="regression").text = _clean(_table(each))
        elif each.verdict == "failed":
            counts["errors"] += 1
            Xml.SubElement(test, "error", message=sentence, type="failed")
        elif each.is_unsupported:
            counts["skipped"] += 1
            Xml.SubElement(test, "skipped", message="unsupported, as in the baseline")
        elif each.verdict == "shrank":
            Xml.SubElement(test, "system-out").text = f"improvement: {sentence}"
    suite.attrib.update({name: str(number) for name, number in counts.items()})
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    document: bytes = Xml.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _table(finding: Finding) -> str:
    rows = blame_rows(finding)
    if not rows:
        return ""
    rows = [HEADERS, *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _clean(text: str) -> str:
    """The text without the characters that XML does not have."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
