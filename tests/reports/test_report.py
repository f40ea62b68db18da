from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.errors import OutputError
from revbench.bench.records import Measurement, Record, Status
from revbench.reports.report import figures, print_report, write_report


def test_all_files_are_written(depth_records: list[Record], tmp_path: Path) -> None:
    """Records, cases and the figure in each format, named after the suite, in a folder that did not exist."""
    folder = tmp_path / "run" / "report"
    written = write_report(depth_records, "depth-scaling", "Memory against depth", folder, ("png", "svg", "pdf"))
    names = ["records.csv", "depth-scaling.csv", "depth-scaling.png", "depth-scaling.svg", "depth-scaling.pdf"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert all(path.stat().st_size for path in written)


def test_a_report_drawn_again_says_the_same(depth_records: list[Record], tmp_path: Path) -> None:
    """The files depend on the records alone."""
    first, second = (write_report(depth_records, "suite", "Title", tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def x_labels(figure: Figure) -> list[str]:
    """The labels below the panels that have one."""
    return [label for axes in figure.axes if (label := axes.get_xlabel())]


def test_models_of_a_fixed_size_are_bars(models_records: list[Record]) -> None:
    """Where neither depth nor T varies there is one panel of bars."""
    rows = [row for row in case_rows(models_records) if row.case.timesteps == 4]
    drawn = figures(rows, "cifar", "Models")
    assert list(drawn) == ["cifar"]
    assert x_labels(drawn["cifar"]) == ["activation peak (MiB per image)"]


def test_memory_is_drawn_against_what_varies(depth_records: list[Record], models_records: list[Record]) -> None:
    """That is T where no depth does, and depth where both do."""
    (against_timesteps,) = figures(case_rows(models_records), "event", "Models").values()
    assert x_labels(against_timesteps) == ["timesteps T"]
    rows = [replace(row, case=replace(row.case, timesteps=8)) for row in case_rows(depth_records)]
    (against_depth,) = figures([*case_rows(depth_records), *rows], "both", "Both").values()
    assert x_labels(against_depth) == ["depth (blocks per stage)"]


def test_what_is_restored_has_a_figure(depth_records: list[Record], record_pass: Callable[..., list[Record]]) -> None:
    """It bears the name of the suite, or follows the figure of memory where there is one."""
    found = Measurement(metric="gradient_cosine", value=0.5, unit="1")
    restored = record_pass(Case(model="revsresnet", depth=1), "reversibility", [found])
    assert list(figures(case_rows(restored), "suite", "Title")) == ["suite"]
    assert figures(case_rows(restored), "suite", "Title")["suite"].axes[0].get_ylabel() == "gradient cosine"
    drawn = figures(case_rows([*depth_records, *restored]), "suite", "Title")
    assert list(drawn) == ["suite", "suite-reversibility"]
    assert x_labels(drawn["suite"]) == ["depth (blocks per stage)"]


@pytest.mark.parametrize("status", ["ok", "unsupported"])
def test_similar_gradients_have_a_figure(status: Status, record_pass: Callable[..., list[Record]]) -> None:
    """Whether the pass went well or not; what another pass looked at is not in it."""
    found = Measurement(metric="similarity_nowhere_epoch_0", value=0.5, unit="1")
    compared = record_pass(Case(model="msresnet", depth=1), "similarity", [found] if status == "ok" else [], status)
    restored = record_pass(Case(model="revsresnet", depth=1), "reversibility")
    drawn = figures(case_rows([*compared, *restored]), "suite", "Title")
    assert list(drawn) == ["suite", "suite-similarity"]
    assert [axes.get_title(loc="left") for axes in drawn["suite-similarity"].axes] == ["msresnet", ""]


def test_no_row_is_without_a_figure(depth_records: list[Record], models_records: list[Record]) -> None:
    """Families and models of a fixed size in one suite have a figure each; a single depth is no line."""
    assert list(figures(case_rows([*depth_records, *models_records]), "all", "All")) == ["all", "all-models"]
    rows = [row for row in case_rows(depth_records) if row.case.depth == 1]
    assert len(figures(rows, "one", "One depth")["one"].axes) == 1
    fixed = [row for row in case_rows(models_records) if row.case.timesteps == 4]
    assert {name: len(figure.axes) for name, figure in figures([*rows, *fixed], "one", "One depth").items()} == {
        "one": 1
    }


def test_without_a_pass_that_is_drawn_there_is_no_figure(depth_records: list[Record], tmp_path: Path) -> None:
    """A run that only took times is written as CSV."""
    timed = [record for record in depth_records if record.pass_name == "time"]
    assert [path.name for path in write_report(timed, "suite", "Title", tmp_path)] == ["records.csv", "suite.csv"]


def test_no_records_are_a_report_too(tmp_path: Path) -> None:
    """Without records the tables have headers alone."""
    records_csv, cases_csv = write_report([], "suite", "Title", tmp_path)
    assert [len(path.read_text(encoding="utf-8").splitlines()) for path in (records_csv, cases_csv)] == [1, 1]


def test_a_folder_that_cannot_be_written(depth_records: list[Record], tmp_path: Path) -> None:
    """A file in the way is the user's to mend, and is named."""
    (tmp_path / "report").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="report"):
        write_report(depth_records, "suite", "Title", tmp_path / "report")


def printed(records: list[Record]) -> str:
    """What the terminal shows."""
    console = Console(width=100, record=True, file=StringIO())
    print_report(console, records, "Memory against depth")
    return console.export_text()


def test_print_report(depth_records: list[Record]) -> None:
    """The table, why cases failed, and how memory grows with depth."""
    text = printed(depth_records)
    assert text.startswith("Memory against depth")
    assert "msresnet depth=8 T=4 batch=2: memory: oom, 60 MiB were asked for, 12 MiB were free\n" in text
    assert "revsresnet depth=8 T=4 batch=2: time: timeout, stopped after 60 s\n" in text
    assert "revsresnet (T=4, batch 2): activation peak flat in depth: 27,262,976 B" in text


def test_print_report_along_timesteps(models_records: list[Record]) -> None:
    """Without several depths, growth is that along T."""
    assert "grows by 8,388,608 B per timestep" in printed(models_records)


def test_print_report_of_nothing() -> None:
    """Without records there is a table without rows."""
    assert "no cases" in printed([])
