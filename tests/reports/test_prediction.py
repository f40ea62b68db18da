"""A forecast for a person: every way in which growth and searches end, and tables that no terminal breaks."""

import io
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from revbench.bench.analysis.growth import growth_along
from revbench.bench.cases import Case
from revbench.bench.memory.capacity import Axis, End, Reach
from revbench.bench.memory.cards import card_of, cublas_workspace, unknown_workspaces
from revbench.bench.memory.forecast import Along, Forecast
from revbench.bench.memory.history import replay
from revbench.bench.memory.predict import Prediction, predict
from revbench.reports.prediction import print_forecast
from revbench.reports.tables import broken_at_dots, print_whole

CASE = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")


@cache
def predicted() -> Prediction:
    return predict(CASE)


def forecast(gpu: str | None = None, **along: Along) -> Forecast:
    card = card_of(gpu) if gpu else None
    workspace = cublas_workspace(card.compute_capability if card else None)
    return Forecast(
        prediction=predicted(),
        differences={"neurons": 1024, "sums": -4},
        bare=replay(predicted().history),
        held=replay(predicted().history, workspace.num_bytes or 0),
        workspace=workspace,
        unknown=tuple(unknown_workspaces()),
        card=card,
        along=along,  # type: ignore[arg-type]
        torch_version="2.99",
    )


def printed(told: Forecast, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_forecast(told, console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([(2, 10), (4, 30), (6, 50)], "per image: 10 B (0.00 MiB), constant to the byte over batch 2 to 6"),
        ([(2, 10), (4, 10), (6, 10)], "per image: 0 B, the peak is the same over batch 2 to 6"),
        (
            [(2, 10), (4, 30), (6, 60)],
            "per image: not constant over batch 2 to 6: 10 B (0.00 MiB) then 15 B (0.00 MiB)",
        ),
    ],
)
def test_growth_in_words(points: list[tuple[int, int]], sentence: str) -> None:
    """Constant, none, or neither, and over what."""
    assert sentence in printed(forecast(batch_size=Along(growth=growth_along(points), reach=None, reason="")))


def test_growth_that_is_not_known() -> None:
    """Has its reason."""
    said = printed(forecast(timesteps=Along(growth=None, reach=None, reason="no such T")))
    assert "per timestep: not known (no such T)" in said


@pytest.mark.parametrize(
    ("axis", "largest", "end", "sentence"),
    [
        ("batch_size", 7, "exact", "Largest batch: 7; one step more does not fit (3 traces more)."),
        ("timesteps", 7, "bound", "Largest T: at least 7, where the search's bound was met (3 traces more)."),
        ("depth", 7, "time", "Largest depth: at least 7, where the search's time was met (3 traces more)."),
        ("timesteps", None, "flat", "Largest T: any, the bytes do not depend on it."),
        ("batch_size", None, "none", "Largest batch: none, not even 1 fits."),
    ],
)
def test_searches_in_words(axis: Axis, largest: int | None, end: End, sentence: str) -> None:
    """What was found, and why the search ended."""
    found = Reach(axis=axis, largest=largest, end=end, num_traces=3)
    law = growth_along([(1, 1), (2, 2), (3, 3)])
    assert sentence in printed(forecast("24GB", **{axis: Along(growth=law, reach=found, reason="")}))


def test_whether_it_fits() -> None:
    """By what the allocator would reserve; by what it must allocate; or not."""
    held = forecast("24GB").held
    between = (held.allocated_bytes + held.reserved_bytes) // 2
    for num_bytes, verdict in (
        (held.reserved_bytes, "It fits: "),
        (between, "It fits only if the allocator gives free segments back: "),
        (held.allocated_bytes - 1, "It does not fit: "),
    ):
        card = replace(card_of("24GB"), memory_bytes=num_bytes)
        assert verdict in printed(replace(forecast("24GB"), card=card))
    assert "fit" not in printed(forecast())


def test_what_is_not_known_is_called_unknown() -> None:
    """A workspace of which nothing is known has no number; without products there is none."""
    unknown = replace(forecast(), workspace=cublas_workspace("99.0"), held=forecast().bare)
    said = printed(unknown, width=200)
    assert "cuBLAS keeps a workspace (not yet measured; of compute capability 99.0 nothing is known) unknown" in said
    history = replace(predicted().history, first_products=())
    without = replace(forecast(), prediction=replace(predicted(), history=history), held=forecast().bare)
    assert "cuBLAS" not in printed(without)
    assert "+1,024" in said
    assert "-4" in said


def test_a_table_is_printed_whole_on_a_narrow_terminal() -> None:
    """Every word in one piece, also of a table wider than the terminal, which stays as it was."""
    console = Console(file=io.StringIO(), width=20)
    table = Table("a long header", "another long header", box=None)
    table.add_row("recomputation", "1,234,567,890")
    print_whole(table, console)
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [["a", "long", "header", "another", "long", "header"], ["recomputation", "1,234,567,890"]]
    assert console.width == 20


@pytest.mark.parametrize(
    ("path", "width", "lines"),
    [
        ("stages.0.functions.1", 26, ["stages.0.functions.1"]),
        ("stages.0.functions.1", 12, ["stages.0.", "functions.1"]),
        ("stages.0.functions.1", 4, ["stages.", "0.", "functions.", "1"]),
        ("(network)", 4, ["(network)"]),
        ("", 4, [""]),
    ],
)
def test_paths_are_broken_behind_dots(path: str, width: int, lines: list[str]) -> None:
    """Never within a name."""
    assert broken_at_dots(path, width).split("\n") == lines


def test_a_forecast_as_json_has_no_stand_in_numbers() -> None:
    """What is not known is null."""
    told: dict[str, Any] = forecast(timesteps=Along(growth=None, reach=None, reason="no such T")).as_dict()
    assert told["along"]["timesteps"] == {
        "law": None,
        "points_bytes": None,
        "bytes_per_step": None,
        "largest": None,
        "search_ended": None,
        "reason": "no such T",
    }
    assert told["card"] is None
