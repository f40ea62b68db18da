"""Operations and energies of an inference, a row a model: means over seeds, as in the terminal's tables."""

from collections.abc import Callable, Sequence

from revbench.bench.analysis.energy import LEVELS, PAPERS_MODEL, ModelEnergy, Spread
from revbench.reports.energy_table import LEVEL_HEADERS
from revbench.reports.energy_wording import naming_fields
from revbench.reports.html.chart import tidy_table
from revbench.reports.table_data import Cell, TableData, number_cell, status_cell, text_cell
from revbench.reports.units import microjoules, millions_text, share_text, significant_text
from revbench.reports.wording import describe

TITLE = "Operations and energy of an inference, 45 nm, fp32"
NOTE = "means over seeds; energies in µJ, from operations alone to no reuse of what is read from memory"
METRICS: dict[str, tuple[str, Callable[[float], str]]] = {
    "test_accuracy": ("test\naccuracy", share_text),
    "firing_rate": ("firing\nrate", share_text),
    "sops": ("SOP\nmillion", millions_text),
    "acs": ("AC\nmillion", millions_text),
    "macs": ("MAC\nmillion", millions_text),
    "dense_macs": ("dense MAC\nmillion", millions_text),
    "literature_energy_j": ("papers'\nformula\nµJ", lambda joules: significant_text(microjoules(joules))),
}


def energy_summary(models: Sequence[ModelEnergy]) -> TableData | None:
    """The table; None where no model was looked at. A model that was not counted shows its status."""
    if not models:
        return None
    naming = naming_fields(models)
    headers = {metric: header for metric, (header, _) in METRICS.items()}
    headers |= {f"{level}_j": f"{name}\nµJ" for level, name in zip(LEVELS, LEVEL_HEADERS, strict=True)}
    return tidy_table(TITLE, [_row(model, naming) for model in models], headers, NOTE)


def _row(model: ModelEnergy, naming: Sequence[str]) -> dict[str, Cell]:
    cells = {"model": text_cell(describe(model.rows[0].case, naming))}
    for metric, (_, text) in METRICS.items():
        cells[metric] = _mean(model, model.of(metric), text)
    for level in LEVELS:
        cells[f"{level}_j"] = _mean(model, model.energy(PAPERS_MODEL, level), METRICS["literature_energy_j"][1])
    return cells


def _mean(model: ModelEnergy, found: Spread | None, text: Callable[[float], str]) -> Cell:
    if not model.counted:
        return status_cell(model.failure)
    return number_cell(found.mean if found else None, text)
