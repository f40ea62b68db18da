"""What was learnt, at a glance: a row for each model, a column for each rule, means over seeds."""

from collections.abc import Sequence
from statistics import fmean

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.row_groups import varying_fields
from revbench.bench.records import PassName
from revbench.reports.table_data import Cell, Column, TableData, number_cell, status_cell, text_cell
from revbench.reports.units import MISSING, share_text
from revbench.reports.wording import common_description, describe

LEARNING: PassName = "learning"


def accuracy_table(rows: Sequence[CaseRow]) -> TableData | None:
    """Test accuracies after training, the mean over seeds, and the lowest of any rule and seed.

    None where no more than one rule or seed trained any model. A rule that failed with some seed shows why.
    """
    learnt = [row for row in rows if row.pass_status(LEARNING) != NOT_MEASURED]
    varying = [name for name in varying_fields(learnt) if name not in ("rule", "seed")]
    names = {row.case: describe(row.case, dict.fromkeys(["model", *varying])) for row in learnt}
    models, rules = dict.fromkeys(names.values()), dict.fromkeys(row.case.rule for row in learnt)
    if len(learnt) == len(models):
        return None
    of: dict[tuple[str, str], list[CaseRow]] = {(model, rule): [] for model in models for rule in rules}
    for row in learnt:
        of[names[row.case], row.case.rule].append(row)
    lowest = [_accuracies([row for rule in rules for row in of[model, rule]]) for model in models]
    over = "mean over seeds; " if len({row.case.seed for row in learnt}) > 1 else ""
    return TableData(
        "Test accuracy by training rule",
        over + common_description(learnt),
        (
            Column("model", "model", tuple(text_cell(model) for model in models), "left"),
            *(
                Column(f"{rule}_mean_test_accuracy", rule, tuple(_mean_cell(of[model, rule]) for model in models))
                for rule in rules
            ),
            Column(
                "lowest_test_accuracy", "lowest", tuple(number_cell(min(a, default=None), share_text) for a in lowest)
            ),
        ),
    )


def _mean_cell(rows: Sequence[CaseRow]) -> Cell:
    for row in rows:
        if row.test_accuracy is None:
            return status_cell(row.pass_status(LEARNING))
    return number_cell(fmean(_accuracies(rows)), share_text) if rows else Cell(MISSING)


def _accuracies(rows: Sequence[CaseRow]) -> list[float]:
    return [row.test_accuracy for row in rows if row.test_accuracy is not None]
