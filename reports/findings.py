"""What the measured rows say, in sentences, and along which axis they grow."""

from collections.abc import Mapping, Sequence

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.complexity import on_edge
from revbench.bench.analysis.growth import Axis
from revbench.bench.analysis.row_groups import of_first_seed
from revbench.reports.comparisons import comparison_sentences
from revbench.reports.wording import growth_sentences


def growth_axis(rows: Sequence[CaseRow]) -> Axis | None:
    """Along which axis the rows grow: depth, failing that timesteps; None where neither varies."""
    axes: tuple[Axis, ...] = ("depth", "timesteps")
    return next((axis for axis in axes if len({getattr(row.case, axis) for row in rows} - {None}) > 1), None)


def compares_rules(rows: Sequence[CaseRow]) -> bool:
    """Whether several rules train several models, which makes more lines than one panel holds."""
    return len({row.case.rule for row in rows}) > 1 and len({row.case.model for row in rows}) > 1


def failed_rows(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Those of which a pass gave no number."""
    return [row for row in rows if row.status not in ("ok", NOT_MEASURED)]


def finding_sentences(rows: Sequence[CaseRow], counterparts: Mapping[str, str]) -> list[str]:
    """How memory grows along depth or, failing that, along T; and what reversible models save.

    Args:
        rows: the cases; of each the first seed counts, and of methods over depth and T those at the longest T.
        counterparts: the model that each is compared with; where both were measured, the ratios are told.
    """
    rows = of_first_seed(rows)
    growth = growth_sentences(on_edge(rows, "depth"), growth_axis(rows) or "timesteps")
    stepped = [row for row in rows if {row.pass_status("memory"), row.pass_status("time")} != {NOT_MEASURED}]
    return [*growth, *comparison_sentences(stepped, counterparts)]
