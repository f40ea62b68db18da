"""How the states of T-RevSNN survive to the backward pass: stored, coded, inverted, against plain autograd."""

import warnings
from pathlib import Path
from typing import get_args

import lively_trevsnn as small
import pytest
import torch
import trevsnn_process
import two_processes
from torch import Tensor
from torch.optim import SGD

from revbench.bench.cases import Case
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import ACTIVATION_KINDS, activation_peak_bytes, phase_end_splits
from revbench.bench.training import Training, prepare
from revbench.models.data import synthetic_batch
from revbench.models.networks.trevsnn import TRevSNN
from revbench.models.reversible import Carry, States
from revbench.models.rules import BPTT

STATES: tuple[States, ...] = get_args(States)
EXACT = {torch.float64: 1e-13, torch.float32: 1e-5}
"""Of everything but the carries: the projections that timesteps share add their gradients up in another order."""


def errors(network: TRevSNN, reference: dict[str, Tensor]) -> tuple[float, float]:
    """The largest relative error of a gradient, for all parameters but the carries, and for these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        _, found = small.gradients(network)
    assert set(found) == set(reference)
    carries = {f"{name}.factor" for name, module in network.named_modules() if isinstance(module, Carry)}
    worst = {True: 0.0, False: 0.0}
    for name, expected in reference.items():
        error = float((found[name] - expected).norm() / expected.norm())
        worst[name in carries] = max(worst[name in carries], error)
    return worst[False], worst[True]


# ---------------------------------------------------------------------------------------- gradients of plain autograd


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("carry", [1.0, 0.5, 1e-3])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 8, 32])
def test_gradients_are_those_of_plain_autograd(timesteps: int, carry: float, dtype: torch.dtype) -> None:
    """For carries down to their bound; that of a carry itself is as exact as the report predicts."""
    reference = small.with_carries(small.small_images(timesteps, dtype=dtype, activations="stored"), carry)
    rates = small.firing_rates(reference)
    assert min(rates) > 0.03
    assert max(rates) < 0.9
    _, expected = small.gradients(reference)
    assert all(grad.abs().max() > 0 for grad in expected.values())
    for states in STATES:
        network = small.with_carries(small.small_images(timesteps, dtype=dtype, states=states), carry)
        others, carries = errors(network, expected)
        assert others <= EXACT[dtype]
        report = network.sequence.inversion
        assert report is not None
        assert report.predicted_error <= 1e-4
        # The report's numbers are of the states; a gradient adds up many of them, of magnitude up to about 10.
        assert carries <= (EXACT[dtype] if states == "stored" else max(EXACT[dtype], 10 * report.predicted_error))


@pytest.mark.parametrize("states", STATES)
def test_gradients_of_event_networks(states: States) -> None:
    """Each frame is encoded in its own timestep, inside what is recomputed."""
    _, expected = small.gradients(small.small_events(5, activations="stored"))
    assert all(grad.abs().max() > 0 for grad in expected.values())
    assert max(errors(small.small_events(5, states=states), expected)) <= 1e-12


@pytest.mark.parametrize("choice", [{"fusion": "all"}, {"encoding": "groups"}, {"auxiliary_heads": False}], ids=str)
@pytest.mark.parametrize("states", STATES)
def test_gradients_with_other_choices(states: States, choice: dict[str, str]) -> None:
    """The paper's fusion and encoding, and a single read-out."""
    _, expected = small.gradients(small.small_images(activations="stored", **choice))
    assert max(errors(small.small_images(states=states, **choice), expected)) <= 1e-12


def test_inversion_without_its_guard_collapses() -> None:
    """Carry 0.5, float32: right at T = 8, wrong at T = 16 (specification, section 3), and right with the guard."""

    def network(timesteps: int, **choices: object) -> TRevSNN:
        made = small.trevsnn(1, timesteps=timesteps, width=32, image_size=32, **choices)
        return small.with_carries(small.lively(made), 0.5)

    found = {}
    for timesteps in (8, 16):
        _, expected = small.gradients(network(timesteps, activations="stored"))
        for tolerance in (float("inf"), 1e-4):
            inverted = network(timesteps, states="inverted")
            inverted.sequence.tolerance = tolerance
            found[timesteps, tolerance], _ = errors(inverted, expected)
    assert found[8, float("inf")] <= 1e-5
    assert found[16, float("inf")] > 0.1
    assert found[16, 1e-4] <= 1e-5


def test_the_guard_says_so() -> None:
    """A warning where states had to be stored, and a report of how many; none where inversion is safe."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe = small.with_carries(small.small_images(8, states="inverted"), 0.9)
        small.gradients(safe)
    assert safe.sequence.inversion is not None
    assert safe.sequence.inversion.num_kept == 0
    unsafe = small.with_carries(small.small_images(8, dtype=torch.float32, states="inverted"), 0.01)
    with pytest.warns(RuntimeWarning, match=r"would lose more than 0\.0001 .* states are stored; memory grows"):
        small.gradients(unsafe)
    assert unsafe.sequence.inversion is not None
    assert unsafe.sequence.inversion.num_kept > 4


# --------------------------------------------------------------------------------------------- as a part of a program


@pytest.mark.parametrize("states", STATES)
def test_a_frozen_stem_leaves_the_other_gradients(states: States) -> None:
    """No input wants a gradient then; the published code silently gives none to the levels."""
    networks = [small.small_images(activations="stored"), small.small_images(states=states)]
    for network in networks:
        network.stem.requires_grad_(False)
    _, expected = small.gradients(networks[0])
    assert len(expected) > 100
    assert max(errors(networks[1], expected)) <= 1e-12


@pytest.mark.parametrize("states", STATES)
def test_frozen_carries(states: States) -> None:
    """Carries that do not learn get no gradient and change no other."""
    networks = [small.small_images(activations="stored"), small.small_images(states=states)]
    for network in networks:
        for module in network.modules():
            if isinstance(module, Carry):
                module.requires_grad_(False)
    _, expected = small.gradients(networks[0])
    assert not [name for name in expected if name.endswith(".factor")]
    assert max(errors(networks[1], expected)) <= 1e-13


@pytest.mark.parametrize("states", STATES)
def test_autograd_grad_returns_the_gradients_and_sets_none(states: States) -> None:
    """All parameters are seen, those that timesteps share included."""
    network = small.small_images(states=states, published_dead_parameters=False)
    parameters = list(network.parameters())
    x, targets = small.batch_of(network)
    found = torch.autograd.grad(network.loss(network(x), targets), parameters)
    assert all(p.grad is None for p in parameters)
    _, expected = small.gradients(small.small_images(activations="stored", published_dead_parameters=False))
    for grad, wanted in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-10, atol=1e-12)


def test_gradient_hooks_of_shared_projections_fire_once() -> None:
    """On the whole gradient, not once a timestep."""
    network = small.small_images()
    shared = network.get_parameter("sequence.functions.0.blocks.1.projection.pointwise.weight")
    seen: list[Tensor] = []
    shared.register_hook(lambda grad: seen.append(grad.clone()))
    small.gradients(network)
    assert len(seen) == 1
    assert shared.grad is not None
    assert torch.equal(seen[0], shared.grad)
    assert seen[0].abs().max() > 0


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """Two processes end with the average of the gradients that each would have alone."""
    alone = []
    for rank in range(2):
        network = small.small_images(3, activations="stored", published_dead_parameters=False)
        alone.append(trevsnn_process.second_step(network, network, rank))
    results = two_processes.results_of(trevsnn_process, tmp_path)
    assert len(results) == len(STATES)
    for result in results:
        for grad, first, second in zip(result, *alone, strict=True):
            torch.testing.assert_close(grad, (first + second) / 2, rtol=1e-9, atol=1e-11)
    assert max(float((a - b).abs().max()) for a, b in zip(*alone, strict=True)) > 0.01


@pytest.mark.parametrize("states", STATES)
def test_running_statistics_are_updated_once(states: States) -> None:
    """The published code updates them twice a step, in effect with another momentum."""
    networks = [small.small_images(activations="stored"), small.small_images(states=states)]
    for network in networks:
        small.gradients(network)
    buffers = [dict(network.named_buffers()) for network in networks]
    assert any("num_batches_tracked" in name for name in buffers[0])
    for name, expected in buffers[0].items():
        assert torch.equal(buffers[1][name], expected), name


def test_states_stay_in_float32_under_autocast() -> None:
    """Values of half precision are added to states of float32, also to those that a first timestep creates."""
    network = small.small_images(dtype=torch.float32, states="stored")
    dtypes: list[torch.dtype] = []

    def pack(tensor: Tensor) -> Tensor:
        dtypes.append(tensor.dtype)
        return tensor

    x, _ = small.batch_of(network)
    with torch.autocast("cpu", torch.bfloat16):
        encoded = network.stem(x)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            features = network.sequence(encoded)
    assert encoded.dtype == torch.bfloat16
    assert {f.dtype for f in features} == {torch.float32}
    assert len(dtypes) >= 4 * 4
    assert set(dtypes) == {torch.float32}


# --------------------------------------------------------------------------------------------------- memory, in bytes


def training(network: TRevSNN, batch_size: int = 4) -> Training:
    """A training step of the network, for the tracker."""
    batch = synthetic_batch(
        network.input_shape, batch_size=batch_size, timesteps=network.timesteps, num_classes=network.num_classes
    )
    case = Case(model="trevsnn", timesteps=network.timesteps, batch_size=batch_size, device="fake")
    # A rate of 0: the guard sees the carries as they are at the beginning.
    return Training(case, network, BPTT(), batch, SGD(network.parameters(), lr=0.0, momentum=0.9))


def bytes_of(timesteps: int, num_blocks: int = 1, *, frozen: bool = False, **choices: object) -> tuple[int, int]:
    """Activation bytes at the end of forward, and their peak, of a steady training step at 16x16, batch 4."""
    network = small.trevsnn(num_blocks, timesteps=timesteps, width=8, image_size=16, **choices)
    for module in network.modules():
        if isinstance(module, Carry) and frozen:
            module.requires_grad_(False)
    step = training(network)
    step.warm_up(1)
    timeline = trace(step)
    end = phase_end_splits(timeline)["forward"]
    return sum(end[kind] for kind in ACTIVATION_KINDS), activation_peak_bytes(timeline)


STATE_ELEMENTS = 4 * (8 * 4 * 4 + 16 * 2 * 2 + 32 + 48)
"""Of all four states of a batch of 4."""


def test_coded_states_grow_by_two_bits_an_element() -> None:
    """With frozen carries, to the byte."""
    ends = [bytes_of(timesteps, frozen=True)[0] for timesteps in (8, 9, 12)]
    assert ends[1] - ends[0] == STATE_ELEMENTS // 4
    assert ends[2] - ends[0] == STATE_ELEMENTS


def test_learnt_carries_keep_one_state_in_eight() -> None:
    """Beside the codes of the seven others."""
    ends = [bytes_of(timesteps)[0] for timesteps in (16, 24)]
    assert ends[1] - ends[0] == 7 * STATE_ELEMENTS // 4 + 4 * STATE_ELEMENTS


def test_inverted_states_are_flat_in_time_to_the_byte() -> None:
    """For as many timesteps as the initial carries and magnitudes allow."""
    assert len({bytes_of(timesteps, states="inverted")[0] for timesteps in (4, 5, 6)}) == 1


def test_stored_states_grow_by_their_size() -> None:
    """As in the published code: 4 bytes an element and timestep."""
    ends = [bytes_of(timesteps, states="stored")[0] for timesteps in (4, 5)]
    assert ends[1] - ends[0] == 4 * STATE_ELEMENTS


@pytest.mark.parametrize("states", STATES)
def test_what_is_kept_is_flat_in_depth_to_the_byte(states: States) -> None:
    """Stored activations grow with every block; the published retained graphs make the peak higher and steeper."""
    ends, peaks = zip(*(bytes_of(4, depth, states=states) for depth in (1, 2, 4)), strict=True)
    assert len(set(ends)) == 1
    plain, _ = zip(*(bytes_of(4, depth, activations="stored") for depth in (1, 2, 4)), strict=True)
    assert plain[0] < plain[1] < plain[2]
    retained = [bytes_of(4, depth, states=states, published_retained_graphs=True)[1] for depth in (2, 4)]
    assert retained[0] > 1.3 * peaks[1]
    assert retained[1] - retained[0] > 1.3 * (peaks[2] - peaks[1])


@pytest.mark.parametrize("states", STATES)
def test_predicted_memory_is_that_of_real_tensors(states: States) -> None:
    """Real and fake tensors agree change by change."""
    case = Case(model="trevsnn", depth=1, width=8, timesteps=3, batch_size=2, states=states)
    step = prepare(case)
    step.warm_up(1)
    real = trace(step)
    with fake_world():
        step = prepare(case)
        step.warm_up(1)
        fake = trace(step)
    assert real.live_bytes(ACTIVATION_KINDS).tolist() == fake.live_bytes(ACTIVATION_KINDS).tolist()
