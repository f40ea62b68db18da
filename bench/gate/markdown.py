"""A check as Markdown, for the summary of a job of GitHub Actions and for comments."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from revbench.bench.gate.finding import Finding
from revbench.bench.gate.wording import HEADERS, NAMES, blame_rows, summary
from revbench.bench.store import writing

NUM_TABLES = 20
"""Cases shown with a table; GitHub takes no more than 1 MiB of summary."""
NUM_LINES = 200


def write_markdown(text: str, path: Path, *, append: bool = False) -> None:
    """Writes the text, or adds it to what other steps of a job have written.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if append else "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def markdown(findings: Sequence[Finding], notes: Iterable[str] = ()) -> str:
    """The document.

    Args:
        findings: in the order to be shown.
        notes: sentences under the summary.
    """
    lines = ["### Memory of training steps", "", f"{_escaped(summary(findings))}.", ""]
    for note in notes:
        lines += [_escaped(note), ""]
    told = [each for each in findings if each.verdict != "same"]
    for number, each in enumerate(told[:NUM_LINES]):
        sentence = f"{NAMES[each.verdict]} {_escaped(each.name)}: {_escaped(each.sentence())}"
        rows = blame_rows(each) if each.verdict == "grew" and number < NUM_TABLES else []
        if not rows:
            lines += [f"* {sentence}"]
            continue
        lines += ["", f"**{sentence}**", "", _line(HEADERS), _line(["---"] * 3 + ["---:"] * 3)]
        lines += [*(_line([_escaped(cell) for cell in row]) for row in rows), ""]
    if len(told) > NUM_LINES:
        lines += ["", f"{len(told) - NUM_LINES} more are in the log."]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """The text as it is: what Markdown and HTML would take for their own is escaped."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#~" else letter for letter in text)
