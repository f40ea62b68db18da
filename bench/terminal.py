"""What the commands share: the terminal they print to, and options that several of them have."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from revbench.bench.errors import ConfigError, nearest

FORMATS = ("png", "svg", "pdf")
TABLE_FORMATS = ("csv", "md", "latex")
PAGE = "html"
"""Tables and interactive charts in one file."""


def console(*, stderr: bool = False) -> Console:
    """The terminal; what models, suites and paths are called is shown as it is, brackets and colons included."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def progress_bar(shown_on: Console, *, disable: bool = False) -> Progress:
    """Of long work: how many of how many, since when, and what at this moment; gone when it ends."""
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=shown_on,
        transient=True,
        disable=disable,
    )


def parse_formats(text: str, kind: str = "figure format", valid: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """Formats of figures, as in `png,svg`, or those that are valid.

    Raises:
        ConfigError: there is no such format.
    """
    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in formats:
        if name not in valid:
            raise ConfigError(f"there is no {kind} {name!r}; {nearest(name, list(valid))}")
    return formats


def parse_report_formats(text: str) -> tuple[str, ...]:
    """Formats of figures and of tables, and the page that has both, as in `pdf,md,latex,html`.

    Raises:
        ConfigError: there is no such format.
    """
    return parse_formats(text, "format", (*FORMATS, *TABLE_FORMATS, PAGE))


def parse_explanation_formats(text: str) -> tuple[str, ...]:
    """Formats of figures, and the page that has all of them, as in `pdf,html`.

    Raises:
        ConfigError: there is no such format.
    """
    return parse_formats(text, "format", (*FORMATS, PAGE))
