"""The reversible residual networks with recomputed against stored activations."""

import pytest
import torch
from residual_networks import REVERSIBLE, convolutions, firing_rates, gradients, on_meta, random_input, small

from revbench.models.reversible import ReversibleSequence


@pytest.mark.parametrize("name", REVERSIBLE)
def test_gradients_of_whole_networks_are_those_of_autograd(name: str) -> None:
    """In float64, every gradient of a network whose every layer fires (see `small`) is that of plain autograd."""
    recomputed, stored = (small(name, activations=way, dtype=torch.float64) for way in ("recomputed", "stored"))
    x = random_input(recomputed, torch.float64)
    rates = firing_rates(recomputed, x)
    assert all(0.01 < rate < 0.99 for rate in rates)
    expected, found = gradients(stored, x), gradients(recomputed, x)
    assert len(expected) == len(found) == len(list(stored.parameters()))
    assert all(g.norm() > 0 for g in expected.values())
    assert all((found[key] - expected[key]).norm() <= 1e-10 * expected[key].norm() for key in expected)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_whole_networks_in_float32(name: str) -> None:
    """In float32 logits and statistics are the same bits, and all gradients agree within 1e-5."""
    recomputed, stored = (small(name, activations=way) for way in ("recomputed", "stored"))
    x = random_input(recomputed)
    assert torch.equal(recomputed(x), stored(x))
    expected, found = gradients(stored, x), gradients(recomputed, x)
    assert len(found) == len(expected)
    assert all((found[key] - expected[key]).norm() <= 1e-5 * expected[key].norm() for key in expected)
    statistics = dict(stored.named_buffers())
    assert len(statistics) == 3 * sum(convolutions(stored).values())
    assert all(torch.equal(buffer, statistics[key]) for key, buffer in recomputed.named_buffers())


@pytest.mark.parametrize("name", REVERSIBLE)
def test_weights_fit_both_ways(name: str) -> None:
    """Networks with recomputed and stored activations have the same keys and give the same logits."""
    recomputed, stored = (small(name, activations=way) for way in ("recomputed", "stored"))
    x = random_input(recomputed)
    recomputed(x)
    assert list(recomputed.state_dict()) == list(stored.state_dict())
    stored.load_state_dict(recomputed.state_dict())
    assert torch.equal(recomputed.eval()(x), stored.eval()(x))


def test_activations_are_recomputed_unless_told_otherwise() -> None:
    """The choice reaches every stage, and recomputation is the default."""
    for given, expected in ((None, "recomputed"), ("recomputed", "recomputed"), ("stored", "stored")):
        network = on_meta("revsresnet37", activations=given)
        sequences = [m for m in network.modules() if isinstance(m, ReversibleSequence)]
        assert [m.activations for m in sequences] == [expected] * 4
