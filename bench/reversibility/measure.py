"""The reversibility pass: one training step with recomputed activations beside the same step with stored ones.

Where a precision or a way of keeping states is known to break reversibility, the engine protects: streams stay in
float32 under autocast, and a guard limits how far states are inverted. There the step is run once more without the
protection, under metrics that begin with `unprotected_`: what the published codes do with streams in half precision,
and what inversion through all timesteps would do.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from revbench.bench.cases import Case
from revbench.bench.records import Measurement
from revbench.bench.reversibility.liveliness import enliven
from revbench.bench.reversibility.observe import Observer
from revbench.bench.training import Training, prepare
from revbench.bench.vectors import cosine, relative_error
from revbench.models.reversible import ReversibleSequence
from revbench.models.simulation import recomputed_sequences

HALF = ("bfloat16", "float16")


def reversibility_pass(case: Case) -> list[Measurement]:
    """What the pass finds about a case.

    Raises:
        NotImplementedError: the case keeps its activations, so there is nothing to restore.
    """
    training = _prepared(case)
    sequences = recomputed_sequences(training.model)
    if not sequences:
        raise NotImplementedError(f"{case.model} keeps its activations; there is nothing to restore")
    found = _compared(training, case, unprotected=False)
    for sequence in sequences:
        if sequence.carries and sequence.states == "inverted" and sequence.inversion is not None:
            found["num_kept_states"] = sequence.inversion.num_kept
            found["predicted_error"] = sequence.inversion.predicted_error
    inverts_carries = any(sequence.carries and sequence.states == "inverted" for sequence in sequences)
    if case.dtype in HALF or inverts_carries:
        without = _compared(_prepared(case), case, unprotected=True)
        found |= {f"unprotected_{metric}": value for metric, value in without.items()}
    return [_measurement(metric, value) for metric, value in found.items()]


def _measurement(metric: str, value: float) -> Measurement:
    if math.isfinite(value):
        return Measurement(metric=metric, value=value, unit="1")
    return Measurement(metric=metric, value=None, unit="1", detail="the numbers left the range of the precision")


def _prepared(case: Case) -> Training:
    training = prepare(case)
    torch.manual_seed(case.seed)
    enliven(training.model)
    return training


def _compared(training: Training, case: Case, *, unprotected: bool) -> dict[str, float]:
    reference = _prepared(replace(case, activations="stored", states=None))
    for model in (training.model, reference.model):
        for sequence in model.modules():
            if isinstance(sequence, ReversibleSequence) and unprotected:
                sequence.published_half_precision_streams = case.dtype in HALF
                sequence.tolerance = float("inf")
    with Observer(training.model) as observer:
        training.step()
    reference.step()
    found, expected = gradients_of(training.model), gradients_of(reference.model)
    metrics = {
        "flipped_spike_share": observer.flipped_spike_share,
        "gradient_cosine": cosine(found, expected),
        "gradient_error": relative_error(found, expected),
    }
    if observer.reconstruction_error is not None:
        metrics["reconstruction_error"] = observer.reconstruction_error
    if not unprotected:
        metrics["smallest_firing_rate"] = min(observer.firing_rates, default=0.0)
    return metrics


def gradients_of(model: nn.Module) -> Tensor:
    """All gradients in one vector of float64; a parameter without one counts as zeros."""
    grads = (torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters())
    return torch.cat([grad.flatten().double() for grad in grads])
