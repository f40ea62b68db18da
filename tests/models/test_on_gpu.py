"""The engine, the neurons and the harness on a CUDA device; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from revbench.bench.cases import Case
from revbench.bench.runner import run_jobs
from revbench.bench.store import RunStore, read_records
from revbench.bench.training import prepare
from revbench.models.neurons import IF, LIF, Neuron
from revbench.models.reversible import Activations, Coupling, ReversibleSequence

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CASE = Case(model="revsresnet", depth=2, width=8, timesteps=3, batch_size=4, device="cuda", activations="recomputed")


def gradients(case: Case) -> Tensor:
    """All gradients of one training step, flattened."""
    training = prepare(case)
    training.step()
    return torch.cat([p.grad.flatten() for p in training.model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4), ("bfloat16", 2e-2)])
def test_recomputed_gradients_equal_stored_ones(dtype: str, tolerance: float) -> None:
    """On CUDA as on the CPU; under autocast up to a rounding of the half-precision inputs of a convolution."""
    torch.backends.cudnn.deterministic = True
    case = replace(CASE, dtype=dtype)  # type: ignore[arg-type]
    recomputed, stored = gradients(case), gradients(replace(case, activations="stored"))
    assert stored.norm() > 0
    assert (recomputed - stored).norm() <= tolerance * stored.norm()


def test_random_numbers_of_the_gpu_are_replayed() -> None:
    """Dropout inside a function draws the same mask in the recomputation."""

    def gradient(activations: Activations) -> Tensor:
        torch.manual_seed(0)
        functions = [nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5)).cuda().double() for _ in range(2)]
        sequence = ReversibleSequence([Coupling(0, (1,), functions[0]), Coupling(1, (0,), functions[1])], activations)
        x = torch.randn(32, 64, device="cuda", dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(sum(y.square().sum() for y in sequence(x, x)), [x])
        return gradient

    torch.testing.assert_close(gradient("recomputed"), gradient("stored"))


@pytest.mark.parametrize("neuron", [IF(), LIF(tau=2.0), LIF(tau=1.5, v_reset=None, detach_reset=False)])
def test_the_fused_neuron_equals_the_reference(neuron: Neuron) -> None:
    """The same spikes, and gradients up to rounding."""
    results = []
    for backend in ("fused", "reference"):
        torch.manual_seed(0)
        neuron.backend = backend
        x = (torch.randn(5, 3, 17, device="cuda") + 0.5).requires_grad_()
        spikes = neuron(x)
        spikes.backward(torch.randn_like(spikes))
        results.append((spikes.detach(), x.grad))
    assert 0.05 < results[0][0].mean() < 0.95
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_a_case_runs_in_a_spawned_process_with_all_counters(tmp_path: Path) -> None:
    """Memory and time pass through the real runner; every counter of CUDA has a row."""
    with RunStore.open(tmp_path) as store:
        run_jobs(
            [(CASE, "memory"), (CASE, "time")],
            store,
            timeout_s=300,
            starting=lambda job: None,
            finished=lambda outcome: None,
        )
        records = read_records(store.records_path)
    assert [record.status for record in records if record.metric == "status"] == ["ok", "ok"]
    counters = {record.counter for record in records if record.metric == "peak_bytes"}
    assert counters == {"traced", "cuda_requested", "cuda_allocated", "cuda_reserved"}
