"""On a GPU: the meter is there and moves, and counts are those of the CPU."""

import time

import pytest
import torch

from revbench.bench.energy.meters import open_meter
from revbench.bench.energy.observe import observe_network
from revbench.models import registry

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
WORK_S = 2.0


def test_the_meter_moves_while_the_device_works() -> None:
    """By more than the least that a GPU takes; NVML's counter moves about ten times a second."""
    a = torch.randn(2048, 2048, device="cuda")
    with open_meter(torch.device("cuda")) as meter:
        assert meter.counter in ("nvml_energy", "nvml_power")
        before, begin = meter.joules(), time.perf_counter()
        while time.perf_counter() - begin < WORK_S:
            a @ a
            torch.cuda.synchronize()
        took = meter.joules() - before
    assert 5 * WORK_S < took < 2000 * WORK_S


@pytest.mark.parametrize("model", ["vggbn", "revsresnet", "sdt", "trevsnn"])
def test_counts_are_those_of_the_cpu(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dense operations to the last one; spikes but for those that rounding flips. Nothing is unknown there."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    network = registry.build(model, timesteps=2, depth=1, width=8)
    inputs = torch.randn(network.input_shape.of_batch(2, 2))
    on_cpu = observe_network(network, inputs, strict=True)
    on_gpu = observe_network(network.cuda(), inputs.cuda(), strict=True)
    assert on_gpu.dense_macs == on_cpu.dense_macs
    assert [row.layer for row in on_gpu.synaptic] == [row.layer for row in on_cpu.synaptic]
    assert on_gpu.acs == pytest.approx(on_cpu.acs, rel=0.02, abs=50)
    assert on_gpu.neuron_work.multiplications == on_cpu.neuron_work.multiplications
