"""The complexity table: each method's costs, the growth that a paper claims, and the growth that was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from revbench.bench.analysis.big_o import TERMS, GrowthClass, Term
from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.complexity import Complexity, complexities
from revbench.bench.analysis.row_groups import varying_fields
from revbench.bench.analysis.scaling import Scaling, scaling_along
from revbench.bench.analysis.surface import Surface
from revbench.bench.analysis.verdict import (
    TOLERANCE,
    TOLERANCE_OF_TIME,
    Verdict,
    judge_surface,
    judge_timesteps,
    undescribed,
)
from revbench.bench.cases import CASE_FIELDS
from revbench.models.rules import rules
from revbench.reports.published import Claim, Cost, published_claims
from revbench.reports.table_data import Cell, Column, TableData, number_cell, text_cell
from revbench.reports.units import MILLISECONDS_PER_SECOND, MISSING, cosine_text, significant_text
from revbench.reports.wording import common_description, describe

TITLE = "How the costs grow with depth L and timesteps T"
NOT_READ = "*"
HEADERS: dict[Term, tuple[str, str]] = {
    "L": ("per_block", "per\nblock"),
    "T": ("per_timestep", "per\ntimestep"),
    "LT": ("per_block_and_timestep", "per block\nand timestep"),
}
DEFINITIONS = (
    "L counts blocks in each stage. Memory: the activation peak of a training step. Whole numbers are laws to the last "
    f"unit, others are of least squares. {NOT_READ} not read in the paper: it follows from the method."
)


@dataclass(frozen=True, slots=True)
class _Measure:
    """What stands for a cost: its name with the unit that is read and with the one that is stored, and their ratio."""

    header: str
    unit: str
    scale: int = 1


MEMORY = _Measure("memory, B", "B")
TIME = _Measure("step time, ms", "s", MILLISECONDS_PER_SECOND)
OPERATIONS = _Measure("training, MAC/image", "MAC/image")
INFERENCE = _Measure("inference, MAC/parameter", "MAC/parameter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexityRow:
    """One cost of one method.

    Attributes:
        method: model, rule, and what else tells it from the others.
        measure: what was measured.
        claim: what a paper claims of it; None where no paper does.
        fitted: the class of what was measured; None where none can be claimed.
        coefficients: by term, in the stored unit; None where they are unknown.
        log_log_slopes: the naive exponents in L and in T, each at the greatest of the other; a constant in the cost
            makes them too small, which is why no verdict rests on them.
        is_exact: whether they are a law to the last unit.
        verdict: on the claim; None without one.
    """

    method: str
    measure: _Measure
    claim: Claim | None
    fitted: GrowthClass | None
    coefficients: Mapping[Term, Fraction | None]
    log_log_slopes: tuple[float | None, float | None]
    is_exact: bool
    verdict: Verdict | None


def complexity_rows(rows: Sequence[CaseRow]) -> list[ComplexityRow]:
    """Memory, time and inference of each method that was measured over depth and timesteps."""
    methods = complexities(rows)
    telling = [
        name
        for name in CASE_FIELDS
        if name not in ("depth", "timesteps") and len({getattr(each.rows[0].case, name) for each in methods}) > 1
    ]
    found = []
    for method in methods:
        name = describe(method.rows[0].case, dict.fromkeys(["model", "rule", *telling]))
        found.append(_surface_row(name, method, "training_memory", MEMORY, method.memory))
        if method.time is not None:
            found.append(_surface_row(name, method, "training_time", TIME, method.time))
        if method.operations is not None:
            found.append(_surface_row(name, method, "training_time", OPERATIONS, method.operations))
        if method.inference is not None:
            found.append(_inference_row(name, method, method.inference))
    return found


def complexity_table(rows: Sequence[CaseRow]) -> TableData | None:
    """The table; None where no method was measured over depth and timesteps."""
    found = complexity_rows(rows)
    if not found:
        return None
    columns = (
        Column("method", "method", tuple(text_cell(row.method) for row in found), "left"),
        Column("cost", "cost", tuple(Cell(row.measure.header, row.measure.header) for row in found), "left"),
        Column("unit", "unit", tuple(text_cell(row.measure.unit) for row in found), "left"),
        Column("claimed", "claimed", tuple(_claimed(row) for row in found), "left"),
        Column("claim_method", "claimed for", tuple(text_cell(_claimed_for(row)) for row in found), "left"),
        Column("claim_provenance", "claim from", tuple(_provenance(row) for row in found), "left"),
        Column("fitted", "fitted", tuple(text_cell(row.fitted) for row in found), "left"),
        *(
            Column(name, header, tuple(_coefficient(row, term) for row in found))
            for term, (name, header) in HEADERS.items()
        ),
        *(
            Column(
                f"log_log_slope_in_{name}",
                f"log-log slope\nin {letter}",
                tuple(number_cell(row.log_log_slopes[index], cosine_text) for row in found),
            )
            for index, (letter, name) in enumerate((("L", "depth"), ("T", "timesteps")))
        ),
        Column(
            "verdict",
            "verdict",
            tuple(text_cell(row.verdict.judgement if row.verdict else None) for row in found),
            "left",
        ),
        Column(
            "reason", "reason", tuple(text_cell(row.verdict.reason if row.verdict else None) for row in found), "left"
        ),
    )
    gridded = [case for method in complexities(rows) for case in method.rows]
    leaving_out = {"rule", "model", *varying_fields(gridded)}
    return TableData(TITLE, common_description(gridded, tuple(leaving_out)), columns)


def verdict_sentences(rows: Sequence[CaseRow]) -> list[str]:
    """One sentence a verdict: the reason of it."""
    return [
        f"{row.method}, {row.measure.header.partition(',')[0]}: {row.verdict.reason}; {row.verdict.judgement} "
        f"{'on' if row.verdict.judgement == 'undecided' else 'with'} {row.claim.growth} of {row.claim.method}."
        for row in complexity_rows(rows)
        if row.verdict is not None and row.claim is not None
    ]


def matching_claim(method: Complexity, cost: Cost, claims: Sequence[Claim]) -> Claim | None:
    """The claim about networks that recompute like this one, under its rule."""
    if not method.is_known:
        return None
    rule = method.rows[0].case.rule
    return next(
        (
            claim
            for claim in claims
            if claim.cost == cost and claim.reversible == method.reversible and _is_of(rule, claim.rule)
        ),
        None,
    )


def _is_of(rule: str, claimed: str) -> bool:
    """Whether the rule is the claimed one; a K in that stands for a number."""
    known = rules().get(claimed)
    return rule == claimed or (known is not None and known.number_in(rule) is not None)


def _surface_row(
    name: str, method: Complexity, cost: Cost, measure: _Measure, surface: Surface | None
) -> ComplexityRow:
    claim = matching_claim(method, cost, published_claims())
    tolerance = TOLERANCE_OF_TIME if measure is TIME else TOLERANCE
    is_described = surface is not None and undescribed(surface, tolerance) is None
    return ComplexityRow(
        method=name,
        measure=measure,
        claim=claim,
        fitted=surface.growth if surface is not None and is_described else None,
        coefficients={term: surface.coefficients[term] if surface else None for term in TERMS},
        log_log_slopes=(_log_log_slope(surface, 0), _log_log_slope(surface, 1)),
        is_exact=surface is not None and surface.is_exact,
        verdict=judge_surface(surface, claim.growth, tolerance) if claim else None,
    )


def _inference_row(name: str, method: Complexity, scaling: Scaling) -> ComplexityRow:
    claim = matching_claim(method, "inference_cost", published_claims())
    linear = scaling.fit if scaling.fit is not None and scaling.fit.is_exact else None
    is_constant = scaling.trend != "grows"
    fitted: GrowthClass | None = "O(1)" if is_constant else "O(T)" if linear else None
    return ComplexityRow(
        method=name,
        measure=INFERENCE,
        claim=claim,
        fitted=fitted if scaling.is_wide else None,
        coefficients={"L": None, "T": Fraction(linear.factor) if linear else None, "LT": None},
        log_log_slopes=(None, scaling.log_log_slope),
        is_exact=False,
        verdict=judge_timesteps(scaling, claim.growth) if claim else None,
    )


def _log_log_slope(surface: Surface | None, index: int) -> float | None:
    return scaling_along(surface.edge(index)).log_log_slope if surface else None


def _claimed(row: ComplexityRow) -> Cell:
    if row.claim is None:
        return Cell(MISSING)
    mark = f" {NOT_READ}" if row.claim.provenance == "derived" else ""
    return Cell(f"{row.claim.growth}{mark}", row.claim.growth)


def _claimed_for(row: ComplexityRow) -> str | None:
    return row.claim.method if row.claim else None


def _provenance(row: ComplexityRow) -> Cell:
    return text_cell(f"{row.claim.paper}, {row.claim.place}: {row.claim.provenance}" if row.claim else None)


def _coefficient(row: ComplexityRow, term: Term) -> Cell:
    value = row.coefficients[term]
    if value is None:
        return Cell(MISSING)
    shown = value * row.measure.scale
    if row.is_exact and shown.denominator == 1:
        return number_cell(
            value.numerator if value.denominator == 1 else float(value), lambda _: f"{shown.numerator:,}"
        )
    return number_cell(float(value), lambda _: significant_text(float(shown)))
