"""The reversibility pass: what it finds where reversibility holds and where it is known to break."""

import warnings

import pytest
import torch

from revbench.bench.cases import Case
from revbench.bench.records import Measurement
from revbench.bench.reversibility import measure
from revbench.bench.reversibility.measure import reversibility_pass

SMALL = {"depth": 1, "width": 8, "timesteps": 2, "batch_size": 2}


def found(**fields: object) -> dict[str, Measurement]:
    """What the pass finds, by metric."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return {m.metric: m for m in reversibility_pass(Case(**(SMALL | fields)))}  # type: ignore[arg-type]


def values(**fields: object) -> dict[str, float]:
    """The numbers alone."""
    return {metric: m.value for metric, m in found(**fields).items() if m.value is not None}


@pytest.mark.parametrize("model", ["revsresnet", "revsformer", "trevsnn"])
def test_float64_restores_everything(model: str) -> None:
    """No spike flips, streams and gradients are right to rounding, and every layer fires."""
    width = 32 if model == "revsformer" else 8
    result = values(model=model, width=width, dtype="float64", timesteps=4)
    assert result["flipped_spike_share"] == 0
    assert result["gradient_cosine"] == pytest.approx(1, abs=1e-12)
    assert result["gradient_error"] < 1e-12
    assert result["reconstruction_error"] < 1e-14 if model != "trevsnn" else "reconstruction_error" not in result
    assert result["smallest_firing_rate"] > 0.001
    assert not [metric for metric in result if metric.startswith("unprotected_")]


def test_streams_in_half_precision_break() -> None:
    """Kept in float32 they do not (RevSNN specification, section 4)."""
    result = values(model="revsresnet", depth=3, dtype="bfloat16", timesteps=4)
    assert result["flipped_spike_share"] < 1e-4
    assert result["gradient_cosine"] > 0.999
    assert result["reconstruction_error"] < 1e-6
    assert result["unprotected_flipped_spike_share"] > 0.01
    assert result["unprotected_gradient_cosine"] < 0.5
    assert result["unprotected_reconstruction_error"] > 0.1


def test_inversion_through_time_collapses_between_8_and_16_timesteps() -> None:
    """With the carry of the beginning, 0.5, in float32 (T-RevSNN specification, section 3); the guard prevents it."""
    results = {
        timesteps: values(model="trevsnn", width=32, timesteps=timesteps, states="inverted") for timesteps in (8, 16)
    }
    assert results[8]["unprotected_gradient_cosine"] > 0.999
    assert results[8]["unprotected_flipped_spike_share"] == 0
    assert results[16]["unprotected_gradient_cosine"] < 0.5
    assert results[16]["unprotected_flipped_spike_share"] > 0
    assert results[16]["gradient_cosine"] > 0.999
    assert results[16]["flipped_spike_share"] == 0
    assert results[16]["num_kept_states"] > 0
    assert results[16]["predicted_error"] <= 1e-4
    assert results[16]["smallest_firing_rate"] > 0.05


def test_a_model_that_restores_nothing_is_unsupported() -> None:
    """One sentence that names it."""
    with pytest.raises(NotImplementedError, match="msresnet keeps its activations"):
        found(model="msresnet")
    with pytest.raises(NotImplementedError, match="revsresnet keeps its activations"):
        found(model="revsresnet", activations="stored")


def test_numbers_out_of_range_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that overflowed gives rows without a number, which say why."""
    monkeypatch.setattr(measure, "gradients_of", lambda _: torch.full((3,), float("inf")))
    result = found(model="revsresnet")
    for metric in ("gradient_cosine", "gradient_error"):
        assert result[metric].value is None
        assert "left the range" in result[metric].detail
    assert result["flipped_spike_share"].value == 0
