"""Tables of Markdown whose cells are Markdown already."""

from collections.abc import Sequence


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """A table; the columns of the headers in `right` stand to the right."""
    rules = ["---:" if header in right else "---" for header in headers]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rules, *rows))
