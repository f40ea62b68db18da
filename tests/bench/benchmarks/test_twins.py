"""Twins: when their losses part, and that only what recomputation gets wrong parts them."""

from dataclasses import replace
from pathlib import Path

import pytest

from revbench.bench.benchmarks import twins as benchmark
from revbench.bench.benchmarks.twins import NETWORKS, Twins, main, row, twins_of
from revbench.bench.cases import Case
from revbench.bench.learning import measure as learning
from revbench.bench.learning.digits import Digits, digits_for
from revbench.bench.learning.measure import Epoch
from revbench.bench.training import Training, prepare
from revbench.models.networks.spiking import InputShape
from revbench.models.reversible import ReversibleSequence

CASE = Case(model="revsresnet", depth=1, width=4, timesteps=2, batch_size=4, activations="recomputed", dtype="float64")


def epochs(*losses: tuple[float, ...], accuracy: float = 0.5) -> tuple[Epoch, ...]:
    """Epochs of those losses."""
    return tuple(Epoch(losses=each, test_accuracy=accuracy, train_s=1.0) for each in losses)


PARTED = Twins(
    case=CASE,
    recomputed=epochs((2.0, 2.0), (2.0 + 1e-4, 1.5), accuracy=0.25),
    stored=epochs((2.0, 2.0 + 2e-9), (2.0, 1.0), accuracy=0.75),
)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains on 12 digits and tests on 4."""

    def few(shape: InputShape, timesteps: int) -> Digits:
        digits = digits_for(shape, timesteps)
        return Digits(
            digits.train_inputs[:12], digits.train_targets[:12], digits.test_inputs[:4], digits.test_targets[:4]
        )

    monkeypatch.setattr(learning, "digits_for", few)


def test_the_first_step_beyond_each_limit() -> None:
    """Golden steps, counted from 1 over all epochs, of differences relative to the stored twin."""
    assert PARTED.losses == [(2.0, 2.0), (2.0, 2.0 + 2e-9), (2.0 + 1e-4, 2.0), (1.5, 1.0)]
    assert PARTED.differences == pytest.approx([0, 1e-9, 5e-5, 0.5])
    assert [PARTED.first_step(limit) for limit in (0.0, 1e-6, 1e-3, 1e-2, 1.0)] == [2, 3, 4, 4, None]


def test_a_row_tells_them() -> None:
    """Golden row; what never happens says so."""
    assert row(PARTED) == ("revsresnet", "float64", "2", "3", "4", "4", "25.0 %", "75.0 %")
    same = replace(PARTED, recomputed=PARTED.stored)
    assert row(same)[:6] == ("revsresnet", "float64", *["never"] * 4)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("network", NETWORKS, ids=lambda case: case.model)
def test_twins_begin_alike_and_learn(network: Case) -> None:
    """The same weights and digits: the first loss is the same to the last bit, and later ones are others."""
    twins = twins_of(replace(network, batch_size=4, timesteps=2, dtype="float64"), num_epochs=1)
    assert len(twins.losses) == 3
    assert twins.differences[0] == 0
    assert max(twins.differences) < 1e-9
    assert len({stored for _, stored in twins.losses}) == 3


@pytest.mark.usefixtures("few_digits")
def test_wrong_gradients_part_the_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients that are twice what they should be, in one of the two alone, are seen."""

    def prepared(case: Case) -> Training:
        training = prepare(case)
        for module in training.model.modules():
            if isinstance(module, ReversibleSequence) and case.activations == "recomputed":
                for parameter in module.parameters():
                    parameter.register_hook(lambda grad: 2 * grad)
        return training

    monkeypatch.setattr(benchmark, "prepare", prepared)
    assert twins_of(CASE, num_epochs=1).first_step(1e-9) is not None


@pytest.mark.usefixtures("few_digits")
def test_the_program_prints_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for each network and precision, and a figure in a folder that it makes."""
    monkeypatch.setattr(benchmark, "NETWORKS", (replace(NETWORKS[0], batch_size=4),))
    path = tmp_path / "new" / "twins.png"
    assert main([str(path), "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("revsresnet") == 2
    assert "float64" in printed
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["twins.gif"], ["twins.png", "--epochs", "0"], []])
def test_what_cannot_be_drawn_ends_at_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is trained."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage" in capsys.readouterr().err
