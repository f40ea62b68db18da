"""Cards by name with their memory, and what libraries take of it: two tables with their sources."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from revbench.bench.errors import ConfigError, nearest

MEBIBYTE = 1 << 20
UNITS = {"GB": 10**9, "GiB": 1 << 30, "MB": 10**6, "MiB": MEBIBYTE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card, or an amount of memory.

    Attributes:
        name: as the user typed it.
        title: as people call it.
        memory_bytes: all of it; the driver's context takes some.
        compute_capability: `9.0`; None for an amount of memory.
        source: of the amount.
    """

    name: str
    title: str
    memory_bytes: int
    compute_capability: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What a library takes for its own use.

    Attributes:
        library: which.
        num_bytes: of one handle of the library; None where it is not known.
        verified: whether a measurement has confirmed it.
        source: of the number, or why there is none.
    """

    library: str
    num_bytes: int | None
    verified: bool
    source: str


def card_of(text: str) -> Card:
    """The card of that name, or the amount of memory that the text writes, such as `24GB` or `24GiB`.

    Raises:
        ConfigError: it is neither.
    """
    amount = re.fullmatch(r"(\d+(?:\.\d+)?) ?(GB|GiB|MB|MiB)", text)
    if amount and float(amount[1]):
        num_bytes = int(float(amount[1]) * UNITS[amount[2]])
        return Card(name=text, title=text, memory_bytes=num_bytes, compute_capability=None, source="as told")
    known = _table("cards.toml")
    row = known.get(text.lower())
    if row is None:
        raise ConfigError(f"there is no card {text!r}, and it is no amount such as 24GB; {nearest(text, list(known))}")
    return Card(
        name=text,
        title=row["title"],
        memory_bytes=row["memory_mebibytes"] * MEBIBYTE,
        compute_capability=row["compute_capability"],
        source=row["source"],
    )


def card_names() -> list[str]:
    """All names."""
    return list(_table("cards.toml"))


def cublas_workspace(compute_capability: str | None) -> Workspace:
    """What one handle of cuBLAS takes on cards of this kind; where the kind is not told, the most of all."""
    rows = _table("workspaces.toml")["workspaces"]
    if compute_capability is None:
        row = max(rows, key=lambda row: row["bytes"])
        source = f"{row['source']}, the most of all cards, since none is named"
        return Workspace(library=row["library"], num_bytes=row["bytes"], verified=row["verified"], source=source)
    for row in rows:
        if compute_capability in row["compute_capabilities"]:
            return Workspace(
                library=row["library"], num_bytes=row["bytes"], verified=row["verified"], source=row["source"]
            )
    reason = f"of compute capability {compute_capability} nothing is known"
    return Workspace(library="cuBLAS", num_bytes=None, verified=False, source=reason)


def unknown_workspaces() -> list[Workspace]:
    """What is taken and not known."""
    rows = _table("workspaces.toml")["unknown"]
    return [Workspace(library=row["library"], num_bytes=None, verified=False, source=row["reason"]) for row in rows]


@cache
def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
