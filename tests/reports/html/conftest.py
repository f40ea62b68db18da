"""Runs whose records try to become markup."""

from collections.abc import Callable

import pytest

from revbench.bench.cases import Case
from revbench.bench.records import Record
from revbench.bench.run import SuiteNote

HOSTILE = "</script><img src=x onerror=alert(1)><b>&amp;\"'%{x}$x$"
MEBIBYTE = 2**20


@pytest.fixture
def hostile_note() -> SuiteNote:
    """A suite whose every text is markup."""
    return SuiteNote(name="hostile", title=HOSTILE, claim=f"claim {HOSTILE}", mirrors=f"mirrors {HOSTILE}")


@pytest.fixture
def hostile_records(
    record_memory: Callable[..., list[Record]], record_pass: Callable[..., list[Record]]
) -> list[Record]:
    """A model of a hostile name along depth, of which the last case failed with a hostile message."""
    cases = [Case(model=HOSTILE, depth=depth, batch_size=2) for depth in (1, 2, 4, 8)]
    records = [
        record for case in cases[:3] for record in record_memory(case, 10, (12 + 7 * (case.depth or 0)) * MEBIBYTE)
    ]
    return [*records, *record_pass(cases[3], "memory", status="oom", detail=f"because {HOSTILE}")]
