"""The complexity table of README and site, and the verdicts on the papers' pages, from a run that is held here."""

from collections.abc import Sequence

from revbench.docs.generator.markdown import text_table
from revbench.docs.generator.measured import Row
from revbench.reports.complexity import INFERENCE, MEMORY, NOT_READ, OPERATIONS, TIME
from revbench.reports.published import Claim, Cost
from revbench.reports.table_formats import escaped
from revbench.reports.units import MISSING, significant_text

COSTS: dict[str, Cost] = {
    MEMORY.header: "training_memory",
    TIME.header: "training_time",
    OPERATIONS.header: "training_time",
    INFERENCE.header: "inference_cost",
}
"""What of a claim each measure stands for."""
COEFFICIENTS = {
    "per_block": "per block",
    "per_timestep": "per timestep",
    "per_block_and_timestep": "per block and timestep",
}


def complexity_table(rows: Sequence[Row], measure: str = MEMORY.header) -> str:
    """The rows of one measure as Markdown: claimed and fitted class, coefficients, and the verdict with its reason."""
    headers = ("method", "claimed", "fitted", *COEFFICIENTS.values(), "verdict")
    cells = [
        (
            escaped(row["method"]),
            claimed(row),
            row["fitted"] or MISSING,
            *(_number(row[name]) for name in COEFFICIENTS),
            verdict(row),
        )
        for row in rows
        if row["cost"] == measure
    ]
    return text_table(headers, cells, right=tuple(COEFFICIENTS.values()))


def claimed(row: Row) -> str:
    """The claimed class, with a star where it was not read in the paper."""
    if not row["claimed"]:
        return MISSING
    return row["claimed"] + (rf"\{NOT_READ}" if row["claim_provenance"].endswith("derived") else "")


def verdict(row: Row) -> str:
    """The judgement, and its reason where it is not that all is as claimed."""
    if not row["verdict"]:
        return MISSING
    return row["verdict"] if row["verdict"] == "consistent" else f"{row['verdict']}: {escaped(row['reason'])}"


def rows_about(claim: Claim, rows: Sequence[Row]) -> list[Row]:
    """What was measured of the claim."""
    return [row for row in rows if row["claim_method"] == claim.method and COSTS[row["cost"]] == claim.cost]


def _number(text: str) -> str:
    """A coefficient as the table of the report prints it: whole numbers in full."""
    if not text:
        return MISSING
    value = float(text)
    return f"{int(value):,}" if value.is_integer() else significant_text(value)
