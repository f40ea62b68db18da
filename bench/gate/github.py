"""Annotations of GitHub Actions: lines of the log that GitHub shows beside the code."""

import inspect
from collections.abc import Sequence
from pathlib import Path

from revbench.bench.cases import Case
from revbench.bench.gate.finding import Finding
from revbench.bench.gate.wording import HEADERS, blame_rows
from revbench.bench.training import prepare, world

NUM_ANNOTATIONS = 10
"""GitHub shows no more errors of one step."""


def annotations(findings: Sequence[Finding], baseline: Path) -> list[str]:
    """One line for each of the worst regressions and failed cases, in the order given.

    It points at the class of the layer that grew most, where that is a file below the working directory, else at the
    baseline.
    """
    bad = [each for each in findings if each.verdict in ("grew", "failed")]
    return [_annotation(each, baseline) for each in bad[:NUM_ANNOTATIONS]]


def _annotation(finding: Finding, baseline: Path) -> str:
    file, line = str(baseline), 1
    text = finding.sentence()
    title = f"{finding.name} {'grew' if finding.verdict == 'grew' else 'failed'}"
    if finding.verdict == "grew" and (growths := finding.blame()):
        file, line = source_of(finding.case, growths[0].holder.layer) or (file, line)
        rows = [HEADERS, *blame_rows(finding)]
        text = "\n".join([text, *("  ".join(row) for row in rows)])
    return error_line(text, title, file, line)


def error_line(text: str, title: str, file: str, line: int = 1) -> str:
    """An annotation; the text may have several lines."""
    return f"::error file={_property(file)},line={line},title={_property(title)}::{_message(text)}"


def source_of(case: Case, layer: str, folder: Path | None = None) -> tuple[str, int] | None:
    """File, relative to the folder, and line of the class of a layer, or of the innermost whole around it that is here.

    Args:
        case: whose model it is.
        layer: dotted path; what is no layer stands for the network.
        folder: where the files are looked for; by default the working directory.
    """
    folder = (folder or Path.cwd()).resolve()
    try:
        with world(case):
            modules = dict(prepare(case).model.named_modules())
    except Exception:  # the model was built before; whatever it says now is not about the bytes
        return None
    parts = layer.split(".") if layer in modules else []
    for length in range(len(parts), -1, -1):
        kind = type(modules[".".join(parts[:length])])
        try:
            path, line = Path(inspect.getsourcefile(kind) or "").resolve(), inspect.getsourcelines(kind)[1]
        except (OSError, TypeError):
            continue
        if path.is_relative_to(folder) and "site-packages" not in path.parts:
            return str(path.relative_to(folder)), line
    return None


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
