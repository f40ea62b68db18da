"""Cases and growth in words."""

from collections.abc import Iterable, Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.growth import Axis, GroupGrowth, Growth, activation_growth
from revbench.bench.analysis.row_groups import varying_fields
from revbench.bench.cases import CASE_FIELDS, Case
from revbench.reports.units import bytes_text, mebibytes_text

FIELD_HEADERS = {"timesteps": "T", "batch_size": "batch"}
STEP_OF_AXIS: dict[Axis, str] = {"depth": "block in each stage", "timesteps": "timestep"}


def field_header(name: str) -> str:
    """The short name of a case field."""
    return FIELD_HEADERS.get(name, name)


def field_phrase(name: str, value: object) -> str:
    """A case field with its value, as a person would say it: `T=4`, `batch 2`, `coded states`, `predicted`."""
    match name:
        case "timesteps":
            return f"T={value}"
        case "depth" | "width" | "batch_size" | "seed":
            return f"{field_header(name)} {value}"
        case "activations" | "states":
            return f"{value} {name}"
        case "checkpoint":
            return f"{name} {value}"
        case "device" if value == "fake":
            return "predicted"
        case _:
            return str(value)


def describe(case: Case, names: Iterable[str]) -> str:
    """The named fields of a case in one line, those without a value left out: `T=4, batch 2`."""
    values = ((name, getattr(case, name)) for name in names)
    return ", ".join(field_phrase(name, value) for name, value in values if value is not None)


def distinguishing_names(cases: Sequence[Case]) -> list[str]:
    """For each case what tells it from the others: `revsresnet37`, or `bptt` and `sltt`; of one case the model."""
    telling = [name for name in CASE_FIELDS if len({getattr(case, name) for case in cases}) > 1]
    if "model" not in telling and not all(describe(case, telling) for case in cases):
        telling.insert(0, "model")
    return [describe(case, telling) for case in cases]


def common_description(rows: Sequence[CaseRow], leaving_out: Sequence[str] = ()) -> str:
    """What all the rows have in common, in one line; the model and the fields named are left out."""
    untold = {"model", *varying_fields(rows), *leaving_out}
    return describe(rows[0].case, [name for name in CASE_FIELDS if name not in untold])


def growth_sentences(rows: Sequence[CaseRow], axis: Axis = "depth") -> list[str]:
    """One sentence a group: how the activation peak grows along the axis, exact where it is exact.

    Groups of a single case, and groups of which the memory pass was never run, have no sentence.
    """
    groups = [group for group in activation_growth(rows, axis) if len(group.rows) > 1]
    varying = set(varying_fields([row for group in groups for row in group.rows]))
    return [_group_sentence(group, varying) for group in groups if group.growth or _failures(group)]


def _group_sentence(group: GroupGrowth, varying: set[str]) -> str:
    """What names the group, what the law is, and which cases the law does not know."""
    case = group.rows[0].case
    told = [name for name in CASE_FIELDS if name not in ("model", group.axis) and _is_told(case, name, varying)]
    growth = group.growth
    law = f"activation peak {_law_clause(growth, group.axis, case.batch_size)}" if growth else "no activation peak"
    return f"{case.model} ({describe(case, told)}): {law}{_left_out_clause(group)}."


def _is_told(case: Case, name: str, varying: set[str]) -> bool:
    """T and batch always; another field if it tells the groups apart or has been chosen."""
    always = name in ("timesteps", "batch_size")
    return always or name in varying or getattr(case, name) != getattr(Case(model=case.model), name)


def _law_clause(growth: Growth, axis: Axis, batch_size: int) -> str:
    """The law in words, with its numbers in bytes and, for a person, in MiB per image."""
    step = STEP_OF_AXIS[axis]
    first, last = growth.points[growth.num_skipped][0], growth.points[-1][0]
    span = f"{field_phrase(axis, first)} to {last}"
    on = f" from {field_phrase(axis, first)} on" if growth.num_skipped else ""
    count = f"{len(growth.points) - growth.num_skipped} points"
    smallest, smallest_bytes = growth.points[0]
    skipped = f"; at {field_phrase(axis, smallest)} it is {bytes_text(smallest_bytes)}" if growth.num_skipped else ""
    intercept, slope = bytes_text(growth.intercept), bytes_text(abs(growth.slope))
    line = f"{intercept} {'-' if growth.slope < 0 else '+'} {slope} per {step}"
    slope_per_image = f"{mebibytes_text(abs(growth.slope) / batch_size)} MiB per image and {step}"
    match growth.law:
        case "point":
            return f"{intercept} at {field_phrase(axis, first)} (1 point, no slope)"
        case "flat":
            level = f"{intercept} ({mebibytes_text(growth.intercept / batch_size)} MiB per image)"
            return f"flat in {field_header(axis)}{on}: {level} at each of {count}, {span}{skipped}"
        case "affine" if growth.is_tested:
            exact = f"constant to the byte over {span}"
            return f"{line}{on}, {exact} ({count}; {slope_per_image}){skipped}"
        case "affine":
            goes = "falls" if growth.slope < 0 else "grows"
            return f"{goes} by {slope} per {step} over {span} ({count}, too few to test a law; {slope_per_image})"
        case "irregular":
            low, high = bytes_text(min(growth.local_slopes)), bytes_text(max(growth.local_slopes))
            return (
                f"not exactly affine in {field_header(axis)}: {low} to {high} per {step} over {span} "
                f"({count}; least squares {line}, {slope_per_image})"
            )


def _failures(group: GroupGrowth) -> list[CaseRow]:
    return [row for row in group.left_out if row.failed("memory")]


def _left_out_clause(group: GroupGrowth) -> str:
    if not group.left_out:
        return ""
    named = ", ".join(
        f"{field_phrase(group.axis, getattr(row.case, group.axis))}: {row.pass_status('memory')}"
        for row in group.left_out
    )
    one = len(group.left_out) == 1
    cases, are, have = ("case", "is", "has") if one else ("cases", "are", "have")
    failed = "failed" if _failures(group) == list(group.left_out) else f"{have} no number"
    return f"; {len(group.left_out)} {cases} {failed} and {are} not in the fit ({named})"
