"""What stands below the tables of energy: conventions, how the networks came to their weights, and what is doubtful."""

from collections.abc import Sequence

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import ModelEnergy
from revbench.bench.analysis.row_groups import varying_fields
from revbench.reports.units import share_text
from revbench.reports.wording import describe

MARK = "†"
POOR_ACCURACY = 0.5
CONVENTIONS = (
    "Counts and energies are of one image. One fused multiply-add is one operation. SOP: synaptic operations, each "
    "spike times its true fan-out; AC: additions of spikes, a level k counted k times; MAC: multiply-accumulates of "
    "real numbers that are not zero; dense: all of them, if nothing was skipped.",
    "Energies are those of hypothetical hardware that skips zeros: a GPU runs dense kernels and pays for zeros too. "
    "The papers' formula stands here for comparison only: it knows neither borders, neurons nor memory.",
    "ANN: the same layers once, without time, all multiply-accumulates; its ratio is taken level by level.",
)
_FLAGS = {
    "silent_layers": "silent, nothing fires in",
    "saturated_layers": "saturated, nearly all fire nearly always in",
    "layers_not_spike_driven": "not spike-driven, real numbers are multiplied behind neurons in",
    "uncounted_operators": "a lower bound, no rule counts",
}
_MOST_NAMED = 6


def energy_sentences(models: Sequence[ModelEnergy]) -> list[str]:
    """Conventions, provenance, and flags by the names of layers."""
    counted = [row for model in models for row in model.counted]
    if not counted:
        return []
    naming = naming_fields(models)
    seeds = {model.of("acs").num for model in models if model.of("acs")}  # type: ignore[union-attr]
    told = [*CONVENTIONS, *_provenance(counted)]
    if max(seeds) > 1:
        told.append(f"± is the standard deviation over {_listed(sorted(map(str, seeds)), 'or')} seeds.")
    if any(not part.is_verified for row in counted for part in row.energy.parts):
        told.append(f"{MARK} constants that nobody has compared with their publication yet.")
    for model in models:
        told += _doubts(model, describe(model.rows[0].case, naming))
    return told


def joules_sentences(models: Sequence[ModelEnergy]) -> list[str]:
    """What measured joules are, or why there are none."""
    rows = [row for model in models for row in model.counted]
    told = [f"Joules were not measured: {reason}." for reason in sorted({row.energy.unmetered for row in rows} - {""})]
    if any(row.energy.meter for row in rows):
        told.append(
            "Measured joules are those of dense kernels on this machine. Net: what the device took while it was idle, "
            "before and after, is taken off. ± is half of the 95 % confidence interval over windows of 10 s or more."
        )
    return told


def naming_fields(models: Sequence[ModelEnergy]) -> list[str]:
    """What tells the models apart: the model, and other fields that vary."""
    varying = varying_fields([model.rows[0] for model in models])
    return ["model", *(name for name in varying if name != "model")]


def _provenance(rows: Sequence[CaseRow]) -> list[str]:
    """How the networks came to their weights."""
    told = []
    if checkpoints := sorted({row.case.checkpoint for row in rows if row.case.checkpoint}):
        told.append(f"Weights of the checkpoint {_listed(checkpoints)}, counted on scikit-learn's digits.")
    trained = [row for row in rows if not row.case.checkpoint]
    if trained:
        epochs = sorted({row.energy.num_epochs for row in trained if row.energy.num_epochs is not None})
        if epochs and epochs[-1] > 0:
            told.append(
                f"Trained for {_listed(list(map(str, epochs)), 'or')} epochs on scikit-learn's digits and counted on "
                "other digits: rates are those of this task, not of a paper's."
            )
        if 0 in epochs:
            told.append("Not trained: such rates mean little.")
    return told


def _doubts(model: ModelEnergy, name: str) -> list[str]:
    told = []
    for flag, phrase in _FLAGS.items():
        if found := model.named(flag):
            shown = [
                layer if number == len(model.counted) else f"{layer} ({number} of {len(model.counted)} seeds)"
                for layer, number in list(found.items())[:_MOST_NAMED]
            ]
            more = len(found) - len(shown)
            told.append(f"{name}: {phrase} {_listed([*shown, *([f'{more} more'] if more else [])])}.")
    poor = [row for row in model.counted if row.test_accuracy is not None and row.test_accuracy < POOR_ACCURACY]
    return told + [
        f"{name}{'' if row.case.checkpoint else f', seed {row.case.seed}'}: "
        f"only {share_text(row.test_accuracy)} of the test digits are told apart; its rates mean little."
        for row in poor
    ]


def _listed(names: Sequence[str], last: str = "and") -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end
