"""Activations per image: slopes that leave out what is the same for every batch, on fake tensors."""

from dataclasses import replace

import pytest

from revbench.bench.benchmarks import per_image as module
from revbench.bench.benchmarks.per_image import Activations, Network, of_batch, per_image
from revbench.bench.cases import Case, DType
from revbench.bench.memory.measure import memory_pass
from revbench.bench.training import prepare

TREVSNN = Network(case=Case(model="trevsnn", depth=1, width=8, timesteps=4))
STATE_ELEMENTS = 8 * 8 * 8 + 16 * 4 * 4 + 32 * 2 * 2 + 48 * 2 * 2
"""Of one image and timestep: the four levels of that network."""


def test_slope() -> None:
    """The difference over the number of steps, of each of the two figures."""
    few = Activations(forward_end_bytes=100, peak_bytes=1000)
    many = Activations(forward_end_bytes=130, peak_bytes=1600)
    assert few.slope_to(many, 4) == Activations(forward_end_bytes=7.5, peak_bytes=150)


def test_what_is_the_same_for_every_batch_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes that are affine in the batch size, the slope alone is what an image costs."""

    def affine(_: Network, batch_size: int) -> Activations:
        return Activations(forward_end_bytes=5000 + 7 * batch_size, peak_bytes=90000 + 11 * batch_size)

    monkeypatch.setattr(module, "of_batch", affine)
    assert per_image(TREVSNN) == Activations(forward_end_bytes=7, peak_bytes=11)


@pytest.mark.parametrize(("model", "dtype"), [("revsresnet", "float32"), ("trevsnn", "bfloat16")])
def test_a_batch_costs_what_the_memory_pass_finds_on_real_tensors(model: str, dtype: DType) -> None:
    """To the byte, in the first step as in the second, whatever batch size and device the case names."""
    case = Case(model=model, depth=1, width=8, timesteps=2, batch_size=3, dtype=dtype)
    found = {measurement.metric: measurement.value for measurement in memory_pass(prepare(case))}
    assert of_batch(Network(case=replace(case, batch_size=1, device="cuda")), 3) == Activations(
        forward_end_bytes=found["forward_end_activation_bytes"] or 0, peak_bytes=found["activation_peak_bytes"] or 0
    )


def test_frozen_carries_leave_two_bits_an_element_and_timestep() -> None:
    """Learnt ones keep the last states exactly as well, four bytes an element instead of two bits."""
    frozen = replace(TREVSNN, frozen_carries=True)
    later = replace(frozen, case=replace(frozen.case, timesteps=5))
    before, after, learnt = (of_batch(network, 2).forward_end_bytes / 2 for network in (frozen, later, TREVSNN))
    assert after - before == STATE_ELEMENTS / 4
    assert learnt - before == 4 * STATE_ELEMENTS - STATE_ELEMENTS / 4
