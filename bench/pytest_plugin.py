"""The pytest plugin: the fixture `memory_budget`, for tests of what a training step needs.

Nothing of torch is imported until a test asks for the fixture.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from revbench.bench.gate.step import StepMemory

_NUM_ROWS = 3
"""Pytest shows 8 lines unless it is told to show more, or runs in CI."""


@pytest.fixture(scope="session")
def memory_budget() -> "Callable[..., StepMemory]":
    """Traces a training step: `memory_budget(model, rule, batch).peak_bytes <= 40 * 2**20`.

    `model`: a function that makes an nn.Module, or a name, traced without computing anything; or an nn.Module. `rule`:
    `"bptt"`, another name, or a function `step(model, batch, optimizer)`. `batch`: a number of images, or
    (inputs, targets). See `revbench.bench.gate.step.step_memory`.
    """
    from revbench.bench.gate.step import step_memory  # noqa: PLC0415 - imports torch

    return step_memory


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: Any, right: Any) -> list[str] | None:
    """Who holds the bytes, where bytes of a training step were compared in vain."""
    found = next((side for side in (left, right) if _is_of_a_step(side)), None)
    if found is None:
        return None
    shown = [f"{side:,}" if isinstance(side, int | float) else repr(side) for side in (left, right)]
    told_in_full = config.get_verbosity() > 1 or os.environ.get("CI") or os.environ.get("BUILD_NUMBER")
    table = found.table() if told_in_full else found.table(_NUM_ROWS)
    return [f"{shown[0]} {op} {shown[1]} bytes", repr(found.step), *table.splitlines()]


def _is_of_a_step(value: object) -> bool:
    """Whether these are bytes of a training step; nothing is imported to find out."""
    return type(value).__name__ == "StepBytes" and hasattr(value, "step")
