"""The benchmark of counting: what it measures, and that it prints ratios beside their limits."""

import pytest

from revbench.bench.benchmarks import counting
from revbench.bench.benchmarks.counting import Cost, measured
from revbench.models import registry


def test_counting_stays_within_its_memory() -> None:
    """Bytes are exact, so their limit can be tested; time is only measured."""
    cost = measured("vgg11sws", batch_size=1, rounds=1)
    network = registry.build("vgg11sws", timesteps=counting.TIMESTEPS)
    largest = 4 * counting.TIMESTEPS * 64 * 32 * 32
    assert sum(p.nbytes for p in network.parameters()) > largest
    assert 2 * largest <= cost.plain_bytes <= cost.counted_bytes <= counting.MEMORY_LIMIT * cost.plain_bytes
    assert cost.time_ratio > 0


def test_limits_stand_beside_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a model, with what is kept and what is missed."""
    costs = {
        "fast": Cost(time_ratio=1.2, plain_bytes=2_000_000, counted_bytes=2_500_000),
        "slow": Cost(time_ratio=3.5, plain_bytes=2_000_000, counted_bytes=2_500_000),
        "large": Cost(time_ratio=1.2, plain_bytes=2_000_000, counted_bytes=5_000_000),
    }
    monkeypatch.setattr(counting, "measured", costs.__getitem__)
    counting.main(list(costs))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["model", "limit", "3", "limit", "2", "MB", "MB", "limits"]
    assert lines[3:6] == [
        ["fast", "1.20", "1.25", "2.00", "2.50", "kept"],
        ["slow", "3.50", "1.25", "2.00", "2.50", "missed"],
        ["large", "1.20", "2.50", "2.00", "5.00", "missed"],
    ]
