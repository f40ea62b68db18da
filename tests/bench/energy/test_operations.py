"""The operations pass: dense operations of any size without arithmetic, equal to what is counted on values."""

import pytest

from revbench.bench.cases import Case
from revbench.bench.energy.measure import energy_pass
from revbench.bench.energy.operations import operations_pass
from revbench.bench.learning.measure import Recipe
from revbench.models import registry


@pytest.mark.parametrize("model", ["vggbn", "spikingformer", "trevsnn", "revsresnet"])
def test_fake_tensors_tell_what_values_do(model: str) -> None:
    """Of one image, in inference and in training, and the parameters."""
    case = Case(model=model, depth=1, width=8, timesteps=2, batch_size=3)
    found = {each.metric: each.value for each in operations_pass(case)}
    counted = {each.metric: each.value for each in energy_pass(case, Recipe(num_epochs=0))}
    for metric in ("dense_macs", "training_macs", "recomputed_macs"):
        assert found[metric] == counted[metric], metric
    assert (found["recomputed_macs"] or 0) > 0 or model in ("vggbn", "spikingformer")
    network = registry.build(model, timesteps=2, depth=1, width=8)
    assert found["unskipped_energy_j"] == pytest.approx((found["dense_macs"] or 0) * 4.6e-12)
    assert found["num_parameters"] == sum(p.numel() for p in network.parameters())


def test_any_size_takes_seconds() -> None:
    """A network of the papers' size, whose multiply-accumulates are known."""
    found = {each.metric: each.value for each in operations_pass(Case(model="trevsnn_tiny", timesteps=4))}
    assert found["dense_macs"] == pytest.approx(5.359e9, rel=1e-3)
