"""Numbers and growth that papers state, as data: one TOML file a paper, each number with its source.

A file holds `[paper]`, `[[tables]]` of numbers and `[[claims]]` of growth. A table names the unit of each of its
quantities once and what its rows share; a row names the rest. What a source does not tell is absent, never guessed.
"""

from revbench.reports.published.load import (
    PublishedError,
    published_claims,
    published_numbers,
    published_papers,
    read_paper,
)
from revbench.reports.published.numbers import (
    Claim,
    Cost,
    Paper,
    Provenance,
    PublishedCounter,
    PublishedNumber,
    Quantity,
)

__all__ = [
    "Claim",
    "Cost",
    "Paper",
    "Provenance",
    "PublishedCounter",
    "PublishedError",
    "PublishedNumber",
    "Quantity",
    "published_claims",
    "published_numbers",
    "published_papers",
    "read_paper",
]
