"""Does recomputation change what is learnt: reversible networks and the same with stored activations, trained alike.

Run with `python -m revbench.bench.benchmarks.twins FIGURE.png`. Both twins begin with the same weights and see the same
digits in the same order, by the recipe of the learning pass. What recomputation restores differs from what was stored
in the last digits, so that sooner or later a spike flips and the twins go different ways; how soon, and whether one of
them learns less, is what is asked.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench.cases import Case, DType
from revbench.bench.learning.measure import Epoch, Recipe, train
from revbench.bench.training import prepare

NUM_EPOCHS = 3
SMALL = Case(model="", depth=1, timesteps=2, batch_size=32, activations="recomputed")
NETWORKS = (
    replace(SMALL, model="revsresnet", width=4),
    replace(SMALL, model="revsformer", width=32),
    replace(SMALL, model="trevsnn", width=8, timesteps=4, states="inverted"),
)
PRECISIONS: tuple[DType, ...] = ("float32", "float64")
LIMITS = (0.0, 1e-6, 1e-3, 1e-2)
"""Relative differences of the losses whose first step is told: any at all, and these."""

TITLE = "Reversible networks beside their twins with stored activations, trained on digits"
HEADERS = (
    "network",
    "precision",
    "differs\nat all",
    *(f"by\n{limit:g}" for limit in LIMITS[1:]),
    "accuracy",
    "twin's\naccuracy",
)
NOTE = (
    "First of {num_steps} training steps whose losses differ by more than so much of the stored twin's. Where the "
    "read-out reads spikes, losses are the same to the last bit until a spike flips, though weights differ before. "
    "T-RevSNN inverts its states."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """What training came to with recomputed and with stored activations.

    Attributes:
        case: the one that recomputes.
        recomputed: its epochs.
        stored: those of its twin.
    """

    case: Case
    recomputed: tuple[Epoch, ...]
    stored: tuple[Epoch, ...]

    @property
    def losses(self) -> list[tuple[float, float]]:
        """Of each training step: recomputed, stored."""
        both = zip(self.recomputed, self.stored, strict=True)
        return [pair for mine, other in both for pair in zip(mine.losses, other.losses, strict=True)]

    @property
    def differences(self) -> list[float]:
        """Of each training step: the distance of the losses over the stored twin's."""
        return [abs(mine - other) / abs(other) for mine, other in self.losses]

    def first_step(self, limit: float) -> int | None:
        """The first step, from 1, whose losses differ by more than that; None if there is none."""
        beyond = (step for step, difference in enumerate(self.differences, start=1) if difference > limit)
        return next(beyond, None)


def twins_of(case: Case, num_epochs: int) -> Twins:
    """Trains a network that recomputes, and its twin."""
    recipe = Recipe(num_epochs=num_epochs)
    stored = replace(case, activations="stored", states=None)
    mine, other = (tuple(train(prepare(each), recipe)) for each in (case, stored))
    return Twins(case=case, recomputed=mine, stored=other)


def row(twins: Twins) -> tuple[str, ...]:
    """The row of a pair of twins."""
    steps = (twins.first_step(limit) for limit in LIMITS)
    return (
        twins.case.model,
        twins.case.dtype,
        *("never" if step is None else str(step) for step in steps),
        *(f"{100 * epochs[-1].test_accuracy:.1f} %" for epochs in (twins.recomputed, twins.stored)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes the figure; returns the exit code."""
    from revbench.reports.style import save_figure  # noqa: PLC0415 - the harness knows no reports
    from revbench.reports.twins_figure import twins_figure  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m revbench.bench.benchmarks.twins", description=TITLE)
    parser.add_argument("figure", type=Path, help="where the figure goes: a .png, .svg or .pdf")
    parser.add_argument("--epochs", type=int, default=NUM_EPOCHS, help="of training, at least 1 (%(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.epochs < 1 or chosen.figure.suffix not in (".png", ".svg", ".pdf"):
        parser.error("epochs are at least 1, and the figure's name ends in .png, .svg or .pdf")
    cases = [replace(network, dtype=dtype) for network in NETWORKS for dtype in PRECISIONS]
    found = [twins_of(case, chosen.epochs) for case in cases]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if place > 1 else "left", vertical="bottom", no_wrap=True)
    for twins in found:
        table.add_row(*row(twins))
    console = Console()
    console.print(TITLE, style="bold")
    console.print(table)
    console.print(NOTE.format(num_steps=len(found[0].losses)), style="dim")
    chosen.figure.parent.mkdir(parents=True, exist_ok=True)
    save_figure(twins_figure(found, TITLE), chosen.figure)
    console.print(f"figure: {chosen.figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
