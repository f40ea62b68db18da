"""Synthetic records: an affine model, a flat one, a case that ran out of memory, and a time pass that timed out."""

from collections.abc import Callable

import pytest
from closings import recorded

from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record

MEBIBYTE = 2**20
RecordPass = Callable[..., list[Record]]


def measured_memory(case: Case, num_layers: int, activation_peak_bytes: int) -> list[Record]:
    """A memory pass that went well: three million parameters, with gradients and momentum."""
    traced = {
        "peak_bytes": activation_peak_bytes + 36_000_000,
        "activation_peak_bytes": activation_peak_bytes,
        "forward_end_activation_bytes": activation_peak_bytes - MEBIBYTE,
    }
    counts = {"num_parameters": 3_000_000, "num_layers": num_layers, "num_blocks": 4 * (case.depth or 2)}
    return recorded(
        case,
        "memory",
        [
            *(Measurement(metric=name, value=value, unit="1") for name, value in counts.items()),
            *(Measurement(metric=name, value=value, unit="B", counter="traced") for name, value in traced.items()),
        ],
    )


def measured_time(case: Case, step_s: float) -> list[Record]:
    """A time pass that went well."""
    values = {
        "step_s": (step_s, "s"),
        "step_spread_s": (step_s / 50, "s"),
        "images_per_s": (case.batch_size / step_s, "1/s"),
        "num_steps": (20, "1"),
    }
    return recorded(
        case, "time", [Measurement(metric=name, value=value, unit=unit) for name, (value, unit) in values.items()]
    )


@pytest.fixture
def record_pass() -> RecordPass:
    """Makes the rows of one pass, `record_pass(case, pass_name, measurements, status, detail)`."""
    return recorded


@pytest.fixture
def record_memory() -> RecordPass:
    """Makes the rows of a memory pass, `record_memory(case, num_layers, activation_peak_bytes)`."""
    return measured_memory


@pytest.fixture
def depth_records() -> list[Record]:
    """An affine model that runs out of memory at depth 8, and a flat one of which one time pass timed out."""
    records = []
    for depth in (1, 2, 4, 8):
        plain, reversible = (Case(model=model, depth=depth, batch_size=2) for model in ("msresnet", "revsresnet"))
        if depth == 8:
            records += recorded(plain, "memory", status="oom", detail="60 MiB were asked for, 12 MiB were free")
            records += recorded(plain, "time", status="oom", detail="60 MiB were asked for, 12 MiB were free")
        else:
            records += measured_memory(plain, 8 * depth + 2, (12 + 7 * depth) * MEBIBYTE)
            records += measured_time(plain, 0.05 * depth)
        records += measured_memory(reversible, 8 * depth + 5, 26 * MEBIBYTE)
        if depth == 8:
            records += recorded(reversible, "time", status="timeout", detail="stopped after 60 s")
        else:
            records += measured_time(reversible, 0.08 * depth)
    return records


@pytest.fixture
def models_records() -> list[Record]:
    """Two models of their own size at two simulation lengths, predicted; one prediction failed."""
    records = []
    for timesteps in (4, 8):
        for model, mebibytes in (("msresnet18", 3), ("revsresnet21", 2)):
            case = Case(model=model, timesteps=timesteps, batch_size=4, device="fake")
            if (model, timesteps) == ("msresnet18", 8):
                records += recorded(case, "memory", status="error", detail="no such operator")
            else:
                records += measured_memory(case, 18, 4 * timesteps * mebibytes * MEBIBYTE)
    return records
