"""What one image costs in activations, and one timestep of it: slopes of bytes traced on fake tensors.

A slope between two batch sizes leaves out what a step needs whatever its batch, the standardised weights of T-RevSNN
and the temporaries of weights' gradients: for images of 32x32 that is more than the activations.
"""

import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from revbench.bench.cases import Case
from revbench.bench.environment import num_usable_cpus
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import ACTIVATION_KINDS, activation_peak_bytes, phase_end_splits
from revbench.bench.runner import interrupts_blocked, process_context
from revbench.bench.training import prepare, world
from revbench.models.reversible import Carry

BATCH_SIZES = (16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network whose training step is traced.

    Attributes:
        case: its batch size and device say nothing.
        frozen_carries: whether the carries of T-RevSNN are left untrained.
    """

    case: Case
    frozen_carries: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Bytes of activations, of a batch or of one image.

    Attributes:
        forward_end_bytes: when the backward pass begins.
        peak_bytes: at the instant when they are most.
    """

    forward_end_bytes: float
    peak_bytes: float

    def slope_to(self, more: "Activations", steps: int) -> "Activations":
        """What one of the steps adds that lead from these to `more`."""
        return Activations(
            forward_end_bytes=(more.forward_end_bytes - self.forward_end_bytes) / steps,
            peak_bytes=(more.peak_bytes - self.peak_bytes) / steps,
        )


def of_batch(network: Network, batch_size: int) -> Activations:
    """The activations of the first training step; later ones differ in gradients and optimizer state alone."""
    case = replace(network.case, batch_size=batch_size, device="fake")
    with world(case), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "inverting the states", RuntimeWarning)
        training = prepare(case)
        for module in training.model.modules():
            if isinstance(module, Carry) and network.frozen_carries:
                module.requires_grad_(False)
        timeline = trace(training)
    at_end = phase_end_splits(timeline)["forward"]
    return Activations(
        forward_end_bytes=sum(at_end[kind] for kind in ACTIVATION_KINDS),
        peak_bytes=activation_peak_bytes(timeline),
    )


def per_image(network: Network) -> Activations:
    """What one more image adds, between the two of `BATCH_SIZES`."""
    few, many = BATCH_SIZES
    return of_batch(network, few).slope_to(of_batch(network, many), many - few)


def all_per_image(networks: Iterable[Network]) -> dict[Network, Activations]:
    """The same for many networks, traced side by side."""
    wanted = list(dict.fromkeys(networks))
    with ProcessPoolExecutor(num_usable_cpus(), mp_context=process_context("fake")) as pool:
        with interrupts_blocked():
            found = pool.map(per_image, wanted)
        return dict(zip(wanted, found, strict=True))
