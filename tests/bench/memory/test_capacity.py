"""How bytes grow and what fits: searches against a look at every value, on made-up needs and on real traces."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revbench.bench.cases import Case
from revbench.bench.memory import capacity
from revbench.bench.memory.capacity import Need, Traces, growth, largest, reach
from revbench.bench.memory.history import replay
from revbench.bench.memory.predict import predict

SMALL = Case(model="msresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")
LATER = 1e9


def search(
    needs: Callable[[int], int], room: int, start: int = 1, bound: int = 10_000
) -> tuple[tuple[object, str], int]:
    """The answer and how many values were looked at."""
    asked: list[int] = []

    def need(number: int) -> Need:
        assert 1 <= number <= bound
        assert number not in asked, "the same value is not traced twice"
        asked.append(number)
        return Need(needs(number) <= room, needs(number))

    deadline = time.process_time() + LATER
    return largest(need, start=start, bound=bound, capacity_bytes=room, deadline=deadline), len(asked)


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 9), st.integers(0, 500), st.integers(1, 300), st.integers(1, 200))
def test_the_largest_that_fits(base: int, slope: int, room: int, start: int, bound: int) -> None:
    """Of needs that grow with steps on the way, as a look at every value finds it."""

    def needs(number: int) -> int:
        return base + slope * number + 7 * (number // 5) * (slope > 0)

    fitting = [number for number in range(1, bound + 1) if needs(number) <= room]
    (found, end), _ = search(needs, room, start, bound)
    assert found == (fitting[-1] if fitting else None)
    assert end == ("none" if not fitting else "bound" if fitting[-1] == bound else "exact")


def test_few_values_are_looked_at() -> None:
    """On a line: where it begins, one more, where the line says, and the next."""
    (found, end), num_asked = search(lambda number: 1000 + 35 * number, 240_000, start=128)
    assert (found, end) == (6828, "exact")
    assert num_asked <= 6


def test_a_search_ends_with_its_time() -> None:
    """And says how far it came."""

    def need(number: int) -> Need:
        return Need(True, number)

    found, end = largest(need, start=3, bound=100, capacity_bytes=1000, deadline=time.process_time() - 1)
    assert (found, end) == (3, "time")


def test_growth_is_that_of_traces() -> None:
    """Along every axis the differences of predictions, with the case's own point."""
    traces = Traces(SMALL)
    for axis, values in (("batch_size", (2, 4, 6)), ("timesteps", (2, 4, 6)), ("depth", (1, 2, 3))):
        law = growth(traces, axis)  # type: ignore[arg-type]
        expected = [(value, predict(replace(SMALL, **{axis: value})).requested_bytes) for value in values]  # type: ignore[arg-type]
        assert list(law.points) == expected
        assert law.points[-1][1] > law.points[0][1]
    assert traces.num_traces == 7


@pytest.mark.parametrize(("axis", "case"), [("batch_size", SMALL), ("timesteps", SMALL), ("depth", SMALL)])
def test_one_more_does_not_fit(axis: capacity.Axis, case: Case) -> None:
    """The allocator finds room for the value found, and none for the next."""
    room = 2 * replay(predict(case).history).reserved_bytes
    traces = Traces(case)
    found = reach(traces, axis, growth(traces, axis), 0, room)
    assert found.end == "exact"
    assert found.largest is not None
    for value, fits in ((found.largest, True), (found.largest + 1, False)):
        history = predict(replace(case, **{axis: value})).history  # type: ignore[arg-type]
        held = replay(history)
        try:
            replay(history, capacity_bytes=room)
        except capacity.OutOfMemoryError:
            assert not fits
        else:
            assert fits or held.allocated_bytes > room


def test_what_does_not_grow_has_no_end() -> None:
    """SLTT needs the same for any number of timesteps, from two on."""
    case = replace(SMALL, rule="sltt")
    traces = Traces(case)
    law = growth(traces, "timesteps")
    assert law.law == "flat"
    room = 2 * replay(predict(case).history).reserved_bytes
    assert reach(traces, "timesteps", law, 0, room).end == "flat"
    assert reach(traces, "timesteps", law, 0, 1000).end == "none"


def test_truncated_bptt_takes_multiples_of_its_length() -> None:
    """T in steps of K; all other axes, and all other rules, in steps of one."""
    truncated = replace(SMALL, rule="tbptt-2", timesteps=4)
    assert [capacity._unit(truncated, axis) for axis in capacity.AXES] == [1, 2, 1]
    assert [capacity._unit(replace(SMALL, rule="sltt-2"), axis) for axis in capacity.AXES] == [1, 1, 1]


def test_a_workspace_counts() -> None:
    """The same memory is too little where a library takes some of it."""
    traces = Traces(SMALL)
    law = growth(traces, "batch_size")
    room = replay(traces.of().history).reserved_bytes + (1 << 20)
    assert reach(traces, "batch_size", law, 0, room).largest is not None
    assert reach(traces, "batch_size", law, 20 << 20, room).end == "none"
