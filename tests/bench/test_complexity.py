"""From rows to methods over depth and timesteps."""

from collections.abc import Callable
from itertools import product
from typing import Any

import closings
import pytest

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.complexity import complexities, on_edge, outside_grids
from revbench.bench.cases import Case

DEPTHS, LENGTHS = (1, 2, 4, 8, 16), (2, 4, 8, 16, 32)
Bytes = Callable[[int, int], int | None]


def method(memory: Bytes, depths: tuple[int, ...] = DEPTHS, model: str = "msresnet", **fields: Any) -> list[CaseRow]:
    """Rows of one method: memory by depth and T, operations L T and a parameter for each block."""
    rows = []
    for depth, timesteps in product(depths, LENGTHS):
        case = Case(model=model, depth=depth, timesteps=timesteps, **fields)
        found = memory(depth, timesteps)
        status = "ok" if found is not None else "oom"
        rows.append(
            CaseRow(
                case=case,
                closings=(closings.closing(case, "memory", status, ""),),
                activation_peak_bytes=found,
                training_macs=300.0 * depth * timesteps,
                dense_macs=100.0 * depth * timesteps,
                num_parameters=50 * depth,
                recomputed_macs=0.0,
            )
        )
    return rows


def test_a_method_is_a_group_over_both_axes() -> None:
    """Memory, operations and inference of each rule, each by itself."""
    rows = method(lambda depth, timesteps: 10 + depth * timesteps)
    rows += method(lambda depth, _: 10 + depth, rule="sltt")
    stored, online = complexities(rows[::-1])[::-1]
    assert (stored.rows[0].case.rule, online.rows[0].case.rule) == ("bptt", "sltt")
    assert stored.memory is not None
    assert online.memory is not None
    assert (stored.memory.growth, online.memory.growth) == ("O(LT)", "O(L)")
    assert stored.operations is not None
    assert stored.operations.is_exact
    assert stored.operations.coefficients["LT"] == 300
    assert stored.time is None


def test_an_inference_is_counted_for_each_parameter() -> None:
    """At a given size a network without parameters of its own for each timestep costs in proportion to T."""
    (found,) = complexities(method(lambda _depth, _timesteps: 1))
    assert found.inference is not None
    assert found.inference.fit is not None
    assert (found.inference.fit.is_exact, found.inference.fit.factor) == (True, 2)
    assert [x for x, _ in found.inference.points] == list(LENGTHS)


def test_cases_out_of_memory_are_censored() -> None:
    """They are no points, and are kept."""
    (found,) = complexities(
        method(lambda depth, timesteps: None if depth * timesteps > 256 else 10 + depth * timesteps)
    )
    assert found.memory is not None
    assert found.memory.censored == ((16, 32),)
    assert (16, 32) not in found.memory.points
    assert found.memory.growth == "O(LT)"


@pytest.mark.parametrize("depths", [(), (1,), (1, 2)])
def test_two_depths_are_no_grid(depths: tuple[int, ...]) -> None:
    """Suites along one axis have no complexity table."""
    assert complexities(method(lambda depth, timesteps: depth * timesteps, depths)) == []


@pytest.mark.parametrize(
    ("fields", "counted", "reversible", "is_known"),
    [
        ({"activations": "recomputed"}, None, "depth", True),
        ({"activations": "stored"}, None, None, True),
        ({"activations": "recomputed", "states": "inverted"}, None, "time", True),
        ({}, 0.0, None, True),
        ({}, 7.0, "depth", True),
        ({}, None, None, False),
    ],
)
def test_what_recomputes(fields: dict[str, Any], counted: float | None, reversible: str | None, is_known: bool) -> None:
    """The case says it, or the operations; else nobody knows, and no claim is tested."""
    rows = [
        CaseRow(case=Case(model="m", depth=depth, timesteps=timesteps, **fields), recomputed_macs=counted)
        for depth, timesteps in product(DEPTHS, LENGTHS)
    ]
    (found,) = complexities(rows)
    assert (found.reversible, found.is_known) == (reversible, is_known)
    assert found.memory is None


def test_the_edges_of_a_grid() -> None:
    """Along depth at the longest T, along T at the greatest depth; what is no grid stays whole."""
    other = CaseRow(case=Case(model="msresnet18", timesteps=4))
    rows = [*method(lambda _depth, _timesteps: 1), other]
    deep = [row.case for row in on_edge(rows, "depth")]
    assert [(case.depth, case.timesteps) for case in deep] == [*((depth, 32) for depth in DEPTHS), (None, 4)]
    long = [row.case for row in on_edge(rows, "timesteps")]
    assert [(case.depth, case.timesteps) for case in long] == [*((16, timesteps) for timesteps in LENGTHS), (None, 4)]
    along = method(lambda _depth, _timesteps: 1, (1, 2))
    assert on_edge(along, "depth") == along
    assert outside_grids(rows) == [other]
    assert outside_grids(along) == along
