"""Neurons: surrogates, dynamics, and the fused multi-step form against the plain loop and a scalar oracle."""

import itertools
import math
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from revbench.models.networks.max_pooling import MaxPooledNeuron
from revbench.models.neurons import (
    IF,
    LIF,
    ArcTan,
    Dynamics,
    Neuron,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
    compiled,
    kernels,
    native,
)
from revbench.models.neurons.dynamics import multi_step_reference, single_step
from revbench.models.neurons.fused import multi_step
from revbench.models.neurons.memory import Memory
from revbench.models.neurons.modules import Backend

SURROGATES = [Sigmoid(4.0), ArcTan(2.0), Triangle(1.0), Rectangle(1.0)]
CHARGES = {"if": {}, "lif": {"leak": 0.5, "input_scale": 0.5}, "lif_plain_input": {"leak": 2 / 3}}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}


@pytest.fixture(params=["torch", "c"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two kernels runs the fused neuron."""
    monkeypatch.setenv(native.SWITCH, request.param)
    if request.param == "c" and not native.status().startswith("c:"):
        pytest.skip(native.status())
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def fresh_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing compiled and nothing loaded, with an empty cache folder, which it returns."""
    monkeypatch.delenv(native.SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native._load.cache_clear()
    yield tmp_path / "cache" / "revbench"
    native._load.cache_clear()


def drive(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An input that makes neurons fire now and then, and a gradient for their spikes."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 + 1.5 * torch.randn(shape, generator=generator, dtype=dtype)
    return x, torch.randn(shape, generator=generator, dtype=dtype)


def run(
    function: Callable[[Dynamics, Tensor], Tensor], dynamics: Dynamics, x: Tensor, grad_spikes: Tensor
) -> tuple[Tensor, Tensor]:
    """Spikes and the gradient of the input."""
    leaf = x.detach().requires_grad_()
    spikes = function(dynamics, leaf)
    (grad_x,) = torch.autograd.grad(spikes, leaf, grad_spikes)
    return spikes.detach(), grad_x


def assert_fused_equals_reference(dynamics: Dynamics, x: Tensor, grad_spikes: Tensor) -> None:
    """The same spikes bit for bit, the same gradient up to rounding; neither of them trivial."""
    spikes, grad_x = run(multi_step, dynamics, x, grad_spikes)
    expected_spikes, expected_grad_x = run(multi_step_reference, dynamics, x, grad_spikes)
    assert 0.05 < expected_spikes.mean() < 0.95
    assert expected_grad_x.abs().max() > 0
    assert torch.equal(spikes, expected_spikes)
    assert spikes.is_contiguous()
    error = (grad_x - expected_grad_x).abs().max() / expected_grad_x.abs().max()
    assert error <= TOLERANCE[x.dtype]


@pytest.mark.parametrize("charge", CHARGES)
@pytest.mark.parametrize("detach_reset", [True, False], ids=["detached", "attached"])
@pytest.mark.parametrize("v_reset", [0.0, 0.25, None], ids=["hard", "hard_to_quarter", "soft"])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda surrogate: surrogate.name)
def test_fused_equals_the_plain_loop(
    kernel: str, surrogate: Surrogate, v_reset: float | None, detach_reset: bool, charge: str
) -> None:
    """Every neuron, over thresholds, dtypes, timesteps and sizes that divide by nothing."""
    for threshold, dtype, timesteps in itertools.product((1.0, 0.5), TOLERANCE, range(1, 7)):
        dynamics = Dynamics(
            **CHARGES[charge],
            threshold=threshold,
            v_reset=v_reset,
            detach_reset=detach_reset,
            surrogate=surrogate,
        )
        x, grad_spikes = drive((timesteps, 3, 7, 11), dtype, seed=timesteps)
        assert native.runs(dynamics, x) == (kernel == "c")
        assert_fused_equals_reference(dynamics, x, grad_spikes)


STRIDED: dict[str, Callable[[Tensor], Tensor]] = {
    "channel_slice": lambda x: x[:, :, 1:4],
    "narrow_channel_slice": lambda x: x[:, :, :2, :3, :3],
    "expanded_timesteps": lambda x: x[:1].expand(5, *x.shape[1:]),
    "expanded_batch": lambda x: x[:, :1].expand(-1, 5, -1, -1, -1),
    "batch_first": lambda x: x.transpose(0, 1),
    "channels_last": lambda x: x.permute(0, 1, 3, 4, 2),
    "every_other_timestep": lambda x: x[::2],
    "no_inner_dimensions": lambda x: x[:, :, 0, 0, 0],
}


@pytest.mark.parametrize("view", STRIDED.values(), ids=STRIDED)
def test_fused_takes_any_strides(kernel: str, view: Callable[[Tensor], Tensor]) -> None:
    """Input and gradient may be views of larger or smaller tensors."""
    x, grad_spikes = (view(tensor) for tensor in drive((4, 3, 6, 9, 10)))
    assert not x.is_contiguous()
    assert_fused_equals_reference(Dynamics(leak=0.5, detach_reset=False), x, grad_spikes)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fused_in_threads(kernel: str, threads: Callable[[int], None], count: int) -> None:
    """Any number of threads, for a tensor large enough for threads and huge pages, in one row and in several."""
    threads(count)
    x, grad_spikes = drive((3, 4, 3, 20011))
    for rows in (slice(None), slice(0, 2)):
        assert_fused_equals_reference(Dynamics(leak=0.5), x[:, :, rows], grad_spikes[:, :, rows])


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_fused_at_the_threshold_and_beyond_numbers(kernel: str, threshold: float) -> None:
    """Bit-equal spikes for inputs at and around the threshold, signed zeros, denormals, infinities and NaN."""
    at = torch.tensor(threshold)
    around = [at, torch.nextafter(at, at + 1), torch.nextafter(at, at - 1)]
    special = [0.0, -0.0, 1e-40, -1e-40, math.inf, -math.inf, math.nan]
    values = torch.stack([*around, *map(torch.tensor, special)])
    x = torch.stack(torch.meshgrid(values, values, values, indexing="ij")).flatten(1).unsqueeze(1)
    for dynamics in (
        Dynamics(threshold=threshold),
        Dynamics(threshold=threshold, v_reset=None),
        Dynamics(threshold=threshold, leak=0.5, input_scale=0.5, v_reset=-0.5),
    ):
        assert torch.equal(multi_step(dynamics, x), multi_step_reference(dynamics, x))


@pytest.mark.parametrize("v_reset", [0.0, 0.3, None])
def test_half_precision_takes_operators_of_torch(v_reset: float | None) -> None:
    """Other dtypes run too, bit-equal with constants that the dtype cannot represent."""
    dynamics = Dynamics(leak=0.7, threshold=0.3, v_reset=v_reset)
    for dtype in (torch.bfloat16, torch.float16):
        x, _ = drive((5, 2, 200), dtype)
        assert not native.runs(dynamics, x)
        assert torch.equal(multi_step(dynamics, x), multi_step_reference(dynamics, x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_fused_on_a_gpu() -> None:
    """On a device the operators of torch run, with the same spikes as the plain loop there."""
    x, grad_spikes = (tensor.cuda() for tensor in drive((4, 3, 7, 11)))
    assert not native.runs(Dynamics(), x)
    assert_fused_equals_reference(Dynamics(leak=0.5, detach_reset=False), x, grad_spikes)


def scalar_derivative(surrogate: Surrogate, u: float) -> float:
    """The closed forms of the surrogates in plain Python."""
    alpha = surrogate.alpha
    match surrogate:
        case Sigmoid():
            e = math.exp(-alpha * abs(u))
            return alpha * e / (1 + e) ** 2
        case ArcTan():
            return alpha / 2 / (1 + (math.pi * alpha * u / 2) ** 2)
        case Triangle():
            return max(0.0, alpha - alpha**2 * abs(u))
        case _:
            return 1 / alpha if abs(u) <= alpha / 2 else 0.0


def scalar_neuron(dynamics: Dynamics, x: list[float], grad_spikes: list[float]) -> tuple[list[float], list[float]]:
    """Spikes and input gradient of one neuron, by the equations."""
    v, potentials, spikes = dynamics.v_rest, [], []
    for t, x_t in enumerate(x):
        leak, bias = (dynamics.leak, dynamics.bias) if t else (1.0, 0.0)
        h = leak * v + dynamics.input_scale * x_t + bias
        s = float(h >= dynamics.threshold)
        v = h - dynamics.threshold * s if dynamics.v_reset is None else (1 - s) * h + s * dynamics.v_reset
        potentials.append(h)
        spikes.append(s)
    grad_v, grad_x = 0.0, [0.0] * len(x)
    for t in reversed(range(len(x))):
        slope = scalar_derivative(dynamics.surrogate, potentials[t] - dynamics.threshold)
        if dynamics.v_reset is None:
            by_h, by_s = 1.0, -dynamics.threshold
        else:
            by_h, by_s = 1 - spikes[t], dynamics.v_reset - potentials[t]
        grad_h = grad_spikes[t] * slope + grad_v * (by_h + (0.0 if dynamics.detach_reset else by_s * slope))
        grad_x[t] = dynamics.input_scale * grad_h
        grad_v = dynamics.leak * grad_h
    return spikes, grad_x


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda surrogate: surrogate.name)
@pytest.mark.parametrize(
    ("v_reset", "detach_reset"), [(0.0, True), (0.25, False), (None, True), (None, False)], ids=str
)
@pytest.mark.parametrize("function", [multi_step, multi_step_reference], ids=["fused", "reference"])
def test_equations_neuron_by_neuron(
    kernel: str,
    function: Callable[[Dynamics, Tensor], Tensor],
    v_reset: float | None,
    detach_reset: bool,
    surrogate: Surrogate,
) -> None:
    """Both forms do what the equations say, by a loop over neurons in plain Python."""
    dynamics = Dynamics(
        leak=0.75, input_scale=0.5, threshold=0.5, v_reset=v_reset, detach_reset=detach_reset, surrogate=surrogate
    )
    x, grad_spikes = drive((5, 2, 13), torch.float64)
    spikes, grad_x = run(function, dynamics, x, grad_spikes)
    for b, n in itertools.product(range(2), range(13)):
        expected = scalar_neuron(dynamics, x[:, b, n].tolist(), grad_spikes[:, b, n].tolist())
        assert spikes[:, b, n].tolist() == expected[0]
        assert grad_x[:, b, n].tolist() == pytest.approx(expected[1], rel=1e-12, abs=1e-12)
    assert 0.05 < spikes.mean() < 0.95
    assert grad_x.abs().max() > 0


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("surrogate", [Sigmoid(25.0), ArcTan(25.0), Triangle(0.1), Rectangle(0.1)], ids=str)
def test_slopes_of_sharp_surrogates_far_from_the_threshold(
    kernel: str, surrogate: Surrogate, dtype: torch.dtype
) -> None:
    """No overflow, and full precision relative to the peak, for potentials far from the threshold."""
    x = torch.linspace(-1e3, 1e3, 9973, dtype=dtype).reshape(1, 1, -1)
    grad_x = run(multi_step, Dynamics(surrogate=surrogate), x, torch.ones_like(x))[1]
    expected = torch.tensor([scalar_derivative(surrogate, value - 1) for value in x[0, 0].tolist()], dtype=dtype)
    assert torch.isfinite(grad_x).all()
    assert grad_x[0, 0] == pytest.approx(expected, abs=2 * TOLERANCE[dtype] * surrogate.alpha)


def drive_in_parts(
    function: Callable[..., Tensor], dynamics: Dynamics, x: Tensor, grad_spikes: Tensor, lengths: Iterable[int]
) -> tuple[Tensor, Tensor]:
    """Spikes and the gradient of the input, some timesteps at a time."""
    memory, results, start = Memory(), [], 0
    for length in lengths:
        part = slice(start, start + length)
        memory.begin_part()
        run_part = partial(function, memory=memory)
        results.append(run(run_part, dynamics, x[part], grad_spikes[part]))
        start += length
    memory.begin_part()
    remembered = memory.before()
    assert remembered is not None
    assert not remembered.requires_grad
    assert remembered.untyped_storage().nbytes() == math.prod(x.shape[1:]) * x.itemsize
    spikes, grads = zip(*results, strict=True)
    return torch.cat(spikes), torch.cat(grads)


def loop_in_parts(dynamics: Dynamics, x: Tensor, grad_spikes: Tensor, lengths: Iterable[int]) -> tuple[Tensor, Tensor]:
    """The same by single steps whose potential is detached where a part begins."""
    starts = {0, *itertools.accumulate(lengths)}
    leaf, v, spikes = x.clone().requires_grad_(), None, []
    for t, x_t in enumerate(leaf.unbind(0)):
        s, v = single_step(dynamics, x_t, v.detach() if v is not None and t in starts else v)
        spikes.append(s)
    found = torch.stack(spikes)
    return found.detach(), torch.autograd.grad(found, leaf, grad_spikes)[0]


ALL_DYNAMICS = [
    Dynamics(**CHARGES[charge], v_reset=v_reset, detach_reset=detach_reset)
    for charge in CHARGES
    for v_reset in (0.0, 0.25, None)
    for detach_reset in (True, False)
]


@pytest.mark.parametrize("lengths", [(1, 1, 1, 1, 1), (2, 3), (4, 1), (5,)], ids=str)
@pytest.mark.parametrize("dtype", [*TOLERANCE, torch.bfloat16, torch.float16], ids=str)
def test_a_sequence_in_parts(kernel: str, dtype: torch.dtype, lengths: tuple[int, ...]) -> None:
    """The spikes of the whole, bit for bit, and gradients that end where a part begins; for all neurons."""
    x, grad_spikes = drive((5, 3, 7, 11), dtype)
    for dynamics in ALL_DYNAMICS:
        expected, expected_grad_x = loop_in_parts(dynamics, x, grad_spikes, lengths)
        assert torch.equal(expected, multi_step_reference(dynamics, x))
        assert 0.05 < expected.mean() < 0.95
        for function in (multi_step, multi_step_reference):
            spikes, grad_x = drive_in_parts(function, dynamics, x, grad_spikes, lengths)
            assert torch.equal(spikes, expected)
            error = (grad_x - expected_grad_x).abs().max() / expected_grad_x.abs().max()
            assert error <= TOLERANCE.get(dtype, 0.02)


def test_gradients_do_end_where_a_part_begins() -> None:
    """The comparison above tells parts from the whole."""
    x, grad_spikes = drive((5, 3, 7, 11), torch.float64)
    for dynamics in ALL_DYNAMICS:
        whole = loop_in_parts(dynamics, x, grad_spikes, (5,))[1]
        for lengths in ((1, 1, 1, 1, 1), (2, 3), (4, 1)):
            parts = loop_in_parts(dynamics, x, grad_spikes, lengths)[1]
            assert (parts - whole).abs().max() > 0.1
            assert torch.equal(parts[-1], whole[-1])


@pytest.mark.parametrize("view", STRIDED.values(), ids=STRIDED)
def test_parts_of_any_strides(kernel: str, view: Callable[[Tensor], Tensor]) -> None:
    """What is remembered of a view is what is remembered of its copy."""
    x, grad_spikes = (view(tensor) for tensor in drive((4, 3, 6, 9, 10)))
    dynamics, lengths = Dynamics(leak=0.5, detach_reset=False), [1] * x.shape[0]
    spikes, grad_x = drive_in_parts(multi_step, dynamics, x, grad_spikes, lengths)
    expected, expected_grad_x = loop_in_parts(dynamics, x.contiguous(), grad_spikes, lengths)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(grad_x, expected_grad_x, rtol=0, atol=1e-5)


def test_what_is_remembered_may_have_any_strides(kernel: str) -> None:
    """A view is read as its copy."""
    x, _ = drive((2, 3, 40))
    before = drive((3, 80))[0][:, ::2]
    for dynamics in ALL_DYNAMICS:
        found, expected = (kernels.forward(dynamics, x, True, each) for each in (before, before.contiguous()))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("function", [multi_step, multi_step_reference], ids=["fused", "reference"])
def test_without_gradients_through_time(kernel: str, function: Callable[[Dynamics, Tensor], Tensor]) -> None:
    """The spikes of the whole, and the gradients of single timesteps, however the reset is differentiated."""
    x, grad_spikes = drive((5, 3, 7, 11), torch.float64)
    for dynamics in ALL_DYNAMICS:
        cut = replace(dynamics, temporal_gradient=False)
        spikes, grad_x = run(function, cut, x, grad_spikes)
        expected, expected_grad_x = loop_in_parts(dynamics, x, grad_spikes, [1] * 5)
        assert torch.equal(spikes, expected)
        torch.testing.assert_close(grad_x, expected_grad_x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("learns", [True, False])
def test_a_layer_remembers_between_calls(kernel: str, backend: Backend, learns: bool) -> None:
    """With a memory a layer goes on, and max pooled ones too; without one it begins at rest again."""
    x, _ = drive((4, 3, 2, 6, 6))
    for neuron in (LIF(backend=backend), MaxPooledNeuron(LIF(backend=backend), stride=2)):
        whole = neuron(x)
        neuron.memory = Memory()
        parts = []
        for start in range(4):
            neuron.memory.begin_part()
            parts.append(neuron(x[start : start + 1].requires_grad_(learns)).detach())
        assert torch.equal(torch.cat(parts), whole)
        neuron.memory.begin_part()
        assert not torch.equal(neuron(x[:1]), whole[:1])
        neuron.memory = None
        assert torch.equal(neuron(x), whole)


def saved_by(function: Callable[[], object]) -> list[Tensor]:
    """What autograd saves while `function` runs."""
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return saved


def test_one_tensor_is_saved(kernel: str) -> None:
    """The fused neuron saves the size of its input, and nothing where no gradient is asked for."""
    x, _ = drive((4, 2, 5, 3))
    leaf = x.clone().requires_grad_()
    (saved,) = saved_by(lambda: multi_step(Dynamics(), leaf))
    assert saved.untyped_storage().nbytes() == x.nbytes
    assert saved_by(lambda: multi_step(Dynamics(), x)) == []
    with torch.no_grad():
        assert saved_by(lambda: multi_step(Dynamics(), leaf)) == []
    assert kernels.forward(Dynamics(), x, keep_potential=False)[1].untyped_storage().nbytes() == 0


@pytest.mark.parametrize("neuron", [IF(), LIF(), LIF(v_reset=None), LIF(tau=3.0, v_reset=0.25)], ids=str)
def test_single_steps_in_a_chain_are_the_multi_step(kernel: str, neuron: Neuron) -> None:
    """One timestep at a time with the state passed on gives the spikes of the sequence."""
    x, _ = drive((5, 3, 40))
    v, spikes = None, []
    for x_t in x:
        s, v = neuron.single_step(x_t, v)
        spikes.append(s)
    assert torch.equal(torch.stack(spikes), neuron(x))
    assert 0.05 < neuron(x).mean() < 0.95


def test_single_step_of_known_numbers() -> None:
    """An IF neuron with threshold 1 adds up its input, fires and starts again."""
    x = torch.tensor([[0.5], [0.75], [0.25]])
    spikes, v = single_step(Dynamics(), x[0])
    assert (spikes.item(), v.item()) == (0, 0.5)
    spikes, v = single_step(Dynamics(), x[1], v)
    assert (spikes.item(), v.item()) == (1, 0)
    soft = Dynamics(v_reset=None)
    spikes, v = single_step(soft, x[1], single_step(soft, x[0])[1])
    assert (spikes.item(), v.item()) == (1, 0.25)


def test_modules_set_the_constants() -> None:
    """IF does not leak; LIF leaks by its time constant and may keep its input whole."""
    assert (IF().dynamics.leak, IF().dynamics.input_scale) == (1, 1)
    assert (LIF(tau=4.0).dynamics.leak, LIF(tau=4.0).dynamics.input_scale) == (0.75, 0.25)
    assert LIF(tau=4.0, decay_input=False).dynamics.input_scale == 1
    assert LIF(tau=4.0, v_reset=0.5).dynamics.bias == 0.125
    assert IF(threshold=0.5, surrogate=ArcTan()).dynamics == Dynamics(threshold=0.5, surrogate=ArcTan())


def test_modules_forget_and_agree() -> None:
    """Two calls give the same spikes, from either backend."""
    x, _ = drive((4, 2, 30))
    neuron = LIF()
    assert torch.equal(neuron(x), neuron(x))
    assert torch.equal(neuron(x), LIF(backend="reference")(x))


def test_tau_below_one_is_refused() -> None:
    """The potential would change its sign at every timestep."""
    with pytest.raises(ValueError, match=r"tau is 0\.5"):
        LIF(tau=0.5)


@pytest.mark.parametrize("surrogate", [*SURROGATES, Sigmoid(1.0), ArcTan(3.0), Triangle(2.0), Rectangle(0.5)], ids=str)
def test_surrogates_have_their_closed_forms(surrogate: Surrogate) -> None:
    """Each derivative equals its formula, is even, and integrates to one like the step's."""
    u = torch.linspace(-3, 3, 601, dtype=torch.float64)
    slopes = surrogate.derivative(u)
    assert slopes.tolist() == pytest.approx([scalar_derivative(surrogate, value) for value in u.tolist()])
    assert torch.allclose(slopes, slopes.flip(0))
    wide = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64)
    assert torch.trapezoid(surrogate.derivative(wide), wide).item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(
    ("surrogate", "u", "slope"),
    [
        (Sigmoid(4.0), 0.0, 1.0),
        (Sigmoid(4.0), math.log(3) / 4, 0.75),
        (ArcTan(2.0), 0.0, 1.0),
        (ArcTan(2.0), 1 / math.pi, 0.5),
        (Triangle(1.0), 0.25, 0.75),
        (Triangle(2.0), -0.25, 1.0),
        (Triangle(1.0), 1.5, 0.0),
        (Rectangle(2.0), 1.0, 0.5),
        (Rectangle(2.0), -1.01, 0.0),
    ],
    ids=str,
)
def test_surrogates_at_known_points(surrogate: Surrogate, u: float, slope: float) -> None:
    """Values that can be worked out by hand."""
    assert surrogate.derivative(torch.tensor(u, dtype=torch.float64)).item() == pytest.approx(slope)


def test_unknown_surrogates_take_operators_of_torch() -> None:
    """The C kernel leaves surrogates that it does not know to torch."""

    class Own(Sigmoid):
        pass

    assert not native.runs(Dynamics(surrogate=Own()), torch.zeros(1, 1))


def compiler(folder: Path, script: str) -> str:
    """A command that stands for a compiler."""
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def assert_torch_takes_over(reason: str) -> None:
    """The status tells the reason, and the neuron works."""
    assert native.status() == f"torch: {reason}"
    assert_fused_equals_reference(Dynamics(), *drive((3, 2, 50)))


def test_the_environment_chooses_torch(fresh_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch keeps the C kernel away, and nothing is compiled."""
    monkeypatch.setenv(native.SWITCH, "torch")
    assert_torch_takes_over("REVBENCH_NEURON_KERNEL is torch")
    assert not fresh_kernels.exists()


def test_without_a_compiler(fresh_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler on the path and none named: torch."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert_torch_takes_over("no C compiler found")


def test_with_a_compiler_that_fails(fresh_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does not run, or does not know this processor: torch."""
    broken = compiler(tmp_path, "echo 'unknown architecture' >&2; exit 1")
    monkeypatch.setenv("CC", broken)
    assert_torch_takes_over(f"{broken} failed: unknown architecture")


def test_with_a_compile_that_fails(fresh_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that answers but cannot compile: torch, and nothing is left behind."""
    broken = compiler(tmp_path, 'case "$*" in *-dM*) ;; *) echo "no space" >&2; exit 1;; esac')
    monkeypatch.setenv("CC", broken)
    assert_torch_takes_over(f"{broken} failed: no space")
    assert list(fresh_kernels.iterdir()) == []


needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler")


@needs_compiler
def test_compiled_once(fresh_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status names the compiler; a second process finds the result in the cache and need not compile."""
    status = native.status()
    assert status.split()[:2] in (["c:", "gcc"], ["c:", "clang"])
    (file,) = fresh_kernels.iterdir()
    written = file.stat().st_mtime_ns
    native._load.cache_clear()
    assert native.status() == status
    assert [file.stat().st_mtime_ns for file in fresh_kernels.iterdir()] == [written]


@needs_compiler
def test_racing_compiles(fresh_kernels: Path) -> None:
    """Several at once leave one whole file."""
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(compiled.load, native.SOURCE, "-DBITS=32") for _ in range(4)]
    assert len({load.result()[1] for load in loads}) == 1
    assert len(list(fresh_kernels.iterdir())) == 1


@needs_compiler
def test_without_a_cache(fresh_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be written the kernel is compiled into a temporary folder, which goes away."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (tmp_path / "cache").touch()
    assert native.status().startswith("c:")
    assert_fused_equals_reference(Dynamics(), *drive((3, 2, 50)))
    assert list(temporary.iterdir()) == []


def test_lazy() -> None:
    """Importing the neurons compiles and loads nothing."""
    script = "from revbench.models.neurons import native; print(native._load.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "0\n"


FORK = """
import os, torch
from revbench.models.neurons import Dynamics, kernels
torch.set_num_threads(2)
x = torch.randn(4, 100_000)
spikes, potential = kernels.forward(Dynamics(), x, True)
grad_x = kernels.backward(Dynamics(), x, potential)
child = os.fork()
if not child:
    results = *kernels.forward(Dynamics(), x, True), kernels.backward(Dynamics(), x, potential)
    torch.set_num_threads(1)  # torch's own operators do wait for lost threads
    os._exit(0 if all(map(torch.equal, results, (spikes, potential, grad_x))) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_fork() -> None:
    """A process forked after the kernel ran in several threads runs it too, and does not wait for lost threads."""
    if not native.status().startswith("c:"):
        pytest.skip(native.status())
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == "0\n"
