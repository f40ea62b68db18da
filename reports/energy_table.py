"""Tables of an inference's operations and energies, a row a model, for the terminal."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.energy import (
    LEVELS,
    PAPERS_MODEL,
    ModelEnergy,
    Spread,
    cost_models,
    energies_by_model,
    is_verified,
)
from revbench.bench.energy.metric import HIERARCHIES
from revbench.reports.energy_wording import MARK, energy_sentences, joules_sentences, naming_fields
from revbench.reports.tables import TERMINAL_WIDTH
from revbench.reports.units import MISSING, microjoules, significant_text
from revbench.reports.wording import describe

LEVEL_HEADERS = ("operations", "+ neurons", "+ memory:\non chip", "SRAM,\nDRAM", "no reuse")
BREAK_EVEN_METRICS = ("break_even_rate", *(f"{hierarchy}_break_even_rate" for hierarchy in HIERARCHIES))
MODELS_A_TABLE = 5
NEVER = "never"
LOWER_BOUND = " (lower bound)"
Cell = Callable[[ModelEnergy], Text]


def print_energy(console: Console, rows: Sequence[CaseRow]) -> None:
    """Prints counts, energies level by level, ranges by cost model, the quantised network, and what was metered.

    What must be said about the numbers stands below. Where neither energy nor joules were looked at, nothing does.
    """
    models, metered = energies_by_model(rows), energies_by_model(rows, "joules")
    tables = [_counts(models), _levels(models), *_by_cost_model(models), _quantised(models)] if models else []
    if any(model.of("training_gross_j") for model in metered):
        tables.append(_metered(metered))
    for table in tables:
        console.print(table)
        console.print()
    for sentence in (*energy_sentences(models), *joules_sentences(metered)):
        console.print(Text(sentence))


def _counts(models: Sequence[ModelEnergy]) -> Table:
    return _table(
        "Operations of an inference, in millions",
        models,
        {
            "test\naccuracy": _of("test_accuracy", _percent),
            "firing\nrate": _of("firing_rate", _percent),
            "SOP": _of("sops", _millions),
            "AC": _of("acs", _millions),
            "MAC": _of("macs", _millions),
            "dense\nMAC": _of("dense_macs", _millions),
        },
    )


def _levels(models: Sequence[ModelEnergy]) -> Table:
    """What is paid under the papers' constants, from operations alone to no reuse."""
    columns: dict[str, Cell] = {"papers'\nformula": _of("literature_energy_j", _microjoules)}
    for header, level in zip(LEVEL_HEADERS, LEVELS, strict=True):
        columns[header] = lambda model, level=level: _mean(model, level)  # type: ignore[misc]
    columns["± seeds"] = _relative_spread
    columns["times the\nANN's"] = _ratios
    return _table("Energy of an inference in µJ, 45 nm, fp32 (4.6 pJ a MAC, 0.9 pJ an AC)", models, columns)


def _by_cost_model(models: Sequence[ModelEnergy]) -> list[Table]:
    """A row a cost model: from operations alone to no reuse; of chips, accumulations alone. So many models a table."""
    naming = naming_fields(models)
    return [_ranges(models[i : i + MODELS_A_TABLE], naming) for i in range(0, len(models), MODELS_A_TABLE)]


def _ranges(models: Sequence[ModelEnergy], naming: Sequence[str]) -> Table:
    rows = [row for model in models for row in model.counted]
    arithmetics, chips = cost_models(rows)
    title = "Range of the energy in µJ, operations alone to no reuse, by cost model; on chips, of spikes alone"
    table = _new(title, "cost model")
    for model in models:
        table.add_column(_named(model, naming).replace(", ", "\n").replace(" (", "\n("), justify="right")
    for name in (*arithmetics, *chips):
        mark = "" if is_verified(rows, name) else MARK
        cells = [_range(_means(model, name, LEVELS if name in arithmetics else LEVELS[:1])) for model in models]
        table.add_row(cost_model_label(name) + mark, *cells)
    return table


def _quantised(models: Sequence[ModelEnergy]) -> Table:
    """The rate at which a quantised network takes as much, level by level."""
    bits = sorted({row.energy.quantised_bits for model in models for row in model.counted})
    title = (
        f"Beside a quantised network: weights 8 bits, activations {' or '.join(bits)}, sums 32 bits, 45 nm\n"
        f"{NEVER}: it takes less at any rate, neurons and encoding alone cost more"
    )
    return _table(
        title,
        models,
        {
            "quantised\nµJ": _of("quantised_energy_j", _microjoules),
            "spiking\nµJ": _of("quantised_spiking_energy_j", _microjoules),
            "input\nrate": _of("input_rate", _percent),
            "even at:\noperations": _of("operations_break_even_rate", _break_even),
            **{
                header: _of(metric, _break_even)
                for header, metric in zip(LEVEL_HEADERS[1:], BREAK_EVEN_METRICS, strict=True)
            },
        },
    )


def _metered(models: Sequence[ModelEnergy]) -> Table:
    meters = sorted({row.energy.meter for model in models for row in model.counted if row.energy.meter})
    title = f"Measured joules of an image ({', '.join(meters)})"
    columns: dict[str, Cell] = {}
    for work in ("training", "inference"):
        columns[f"{work}\nnet"] = _with_margin(f"{work}_net_j")
        columns[f"{work}\ngross"] = _of(f"{work}_gross_j", lambda found: significant_text(found.mean))
    return _table(title, models, columns)


def cost_model_label(name: str) -> str:
    """A cost model for a person: `45 nm, fp32`, `loihi`."""
    kind, _, node = name.rpartition("_")
    return f"{node.removesuffix('nm')} nm, {kind}" if kind else name


def _table(title: str, models: Sequence[ModelEnergy], columns: dict[str, Cell]) -> Table:
    """A row a model; a case that failed shows its status in red."""
    naming = naming_fields(models)
    table = _new(title, "model")
    for header in columns:
        table.add_column(header, justify="right")
    for model in models:
        table.add_row(_named(model, naming), *(_cell(model, cell) for cell in columns.values()))
    return table


def _named(model: ModelEnergy, naming: Sequence[str]) -> str:
    """What tells the model from the others, and whether not all of it is counted."""
    return describe(model.rows[0].case, naming) + (LOWER_BOUND if model.named("uncounted_operators") else "")


def _new(title: str, first: str) -> Table:
    table = Table(
        title=Text(title, "bold"),
        min_width=min(TERMINAL_WIDTH, max(map(len, title.split("\n")))),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column(first, no_wrap=True)
    return table


def _cell(model: ModelEnergy, cell: Cell) -> Text:
    return cell(model) if model.counted else Text(model.failure, style="bold red")


def _of(metric: str, text: Callable[[Spread], str]) -> Cell:
    def cell(model: ModelEnergy) -> Text:
        found = model.of(metric)
        return Text(MISSING if found is None else text(found))

    return cell


def _percent(found: Spread) -> str:
    deviation = f" ±{100 * found.deviation:.1f}" if found.num > 1 else ""
    return f"{100 * found.mean:.1f}{deviation} %"


def _millions(found: Spread) -> str:
    mean, deviation = found.mean / 1e6, found.deviation / 1e6
    return significant_text(mean) + (f" ±{significant_text(deviation, 2)}" if deviation else "")


def _microjoules(found: Spread) -> str:
    return significant_text(microjoules(found.mean))


def _break_even(found: Spread) -> str:
    return NEVER if found.mean < 0 else f"{100 * found.mean:.1f} %"


def _mean(model: ModelEnergy, level: str) -> Text:
    found = model.energy(PAPERS_MODEL, level)
    return Text(MISSING if found is None else _microjoules(found))


def _means(model: ModelEnergy, name: str, levels: Sequence[str]) -> list[float]:
    return [microjoules(found.mean) for level in levels if (found := model.energy(name, level))]


def _range(values: Sequence[float]) -> Text:
    if not values:
        return Text(MISSING)
    low, high = significant_text(min(values)), significant_text(max(values))
    return Text(low if low == high else f"{low} to {high}")


def _ratios(model: ModelEnergy) -> Text:
    found = (model.ratio_to_dense(PAPERS_MODEL, level) for level in LEVELS)
    return _range([ratio.mean for ratio in found if ratio is not None])


def _relative_spread(model: ModelEnergy) -> Text:
    """The largest of the levels, of several seeds."""
    found = [spread for level in LEVELS if (spread := model.energy(PAPERS_MODEL, level)) and spread.num > 1]
    return Text(f"{100 * max(spread.deviation / spread.mean for spread in found):.1f} %" if found else MISSING)


def _with_margin(metric: str) -> Cell:
    def cell(model: ModelEnergy) -> Text:
        found, margin = model.of(metric), model.of(f"{metric}_margin")
        if found is None:
            return Text(MISSING)
        return Text(significant_text(found.mean) + (f" ±{significant_text(margin.mean, 2)}" if margin else ""))

    return cell
