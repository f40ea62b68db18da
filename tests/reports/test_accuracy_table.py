"""The table of accuracies: means over seeds, the lowest of all, and why a number is missing."""

import csv
from io import StringIO

import closings

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.cases import Case
from revbench.bench.records import Status
from revbench.reports.accuracy_table import accuracy_table
from revbench.reports.report_tables import report_tables
from revbench.reports.table_formats import csv_text


def learnt(model: str, rule: str, seed: int, accuracy: float | None, status: Status = "ok", depth: int = 1) -> CaseRow:
    """A case that was trained, or not."""
    case = Case(model=model, rule=rule, seed=seed, depth=depth)
    return CaseRow(case=case, closings=(closings.closing(case, "learning", status),), test_accuracy=accuracy)


ROWS = [
    learnt("msresnet", "bptt", 0, 0.96),
    learnt("msresnet", "bptt", 1, 0.98),
    learnt("msresnet", "sltt", 0, 0.94),
    learnt("trevsnn", "bptt", 0, 0.95),
    learnt("trevsnn", "sltt", 0, None, "unsupported"),
]


def test_means_over_seeds_and_the_lowest() -> None:
    """A rule without an accuracy shows its status, and does not count among the lowest."""
    table = accuracy_table(ROWS)
    assert table is not None
    assert [column.header for column in table.columns] == ["model", "bptt", "sltt", "lowest"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["msresnet", "97.00 %", "94.00 %", "94.00 %"],
        ["trevsnn", "95.00 %", "unsupported", "95.00 %"],
    ]
    assert table.note.startswith("mean over seeds; ")
    (first, _) = csv.DictReader(StringIO(csv_text(table)))
    assert float(first["bptt_mean_test_accuracy"]) == 0.97


def test_rows_tell_apart_whatever_varies_beside_rule_and_seed() -> None:
    """Models of two depths are two rows; a rule that trained one of them alone leaves a gap that says so."""
    table = accuracy_table([*ROWS[:3], learnt("msresnet", "bptt", 0, 0.9, depth=2)])
    assert table is not None
    assert [row[0].text for row in table.rows] == ["msresnet, depth 1", "msresnet, depth 2"]
    assert [cell.text for cell in table.rows[1]] == ["msresnet, depth 2", "90.00 %", "-", "90.00 %"]


def test_a_case_that_failed_with_one_seed_has_no_mean() -> None:
    """Leaving it out would make the mean of the others look like that of all."""
    table = accuracy_table([*ROWS, learnt("msresnet", "sltt", 1, None, "error")])
    assert table is not None
    assert table.rows[0][2].text == "error"


def test_where_there_is_nothing_to_compare_there_is_no_table() -> None:
    """One case of each model, or nothing learnt, needs none; else the report has it."""
    assert accuracy_table([ROWS[0], ROWS[3]]) is None
    assert accuracy_table([]) is None
    assert accuracy_table([CaseRow(case=Case(model="msresnet"))]) is None
    assert "accuracy" in report_tables(ROWS, "Digits")
    assert "accuracy" not in report_tables(ROWS[:1], "Digits")
