"""The page of a run: what was found, charts, tables, and the machine that measured."""

from collections.abc import Sequence
from pathlib import Path

from revbench.bench.analysis.case_row import NOT_MEASURED, CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.complexity import complexities, on_edge, outside_grids
from revbench.bench.analysis.energy import energies_by_model
from revbench.bench.analysis.inference_cost import cost_growth
from revbench.bench.environment import Environment
from revbench.bench.environment import rows as environment_rows
from revbench.bench.records import PassName, Record
from revbench.bench.run import SuiteNote
from revbench.reports.complexity import DEFINITIONS, verdict_sentences
from revbench.reports.energy_wording import energy_sentences, joules_sentences
from revbench.reports.findings import compares_rules, failed_rows, finding_sentences, growth_axis
from revbench.reports.html.chart import Chart
from revbench.reports.html.energy_charts import firing_charts, parts_charts
from revbench.reports.html.energy_summary import energy_summary
from revbench.reports.html.memory_charts import peaks_chart
from revbench.reports.html.model_charts import model_charts
from revbench.reports.html.page import Page, Section, write_page
from revbench.reports.html.pass_charts import (
    inference_charts,
    learning_chart,
    price_chart,
    reversibility_charts,
    similarity_charts,
    throughput_charts,
)
from revbench.reports.html.scaling_charts import scaling_charts
from revbench.reports.inference_cost import cost_sentences
from revbench.reports.report_tables import CASES, report_tables
from revbench.reports.table_data import TableData

EXPLAIN = (
    "The records keep the peak and what it consists of. The live bytes of a case over its whole training step, by "
    "layer and timestep: revbench explain --model MODEL --out FOLDER."
)


def write_report_page(
    records: Sequence[Record],
    note: SuiteNote,
    folder: Path,
    environment: Environment | None = None,
    gpu: str | None = None,
) -> Path:
    """Writes `<suite>.html`, which holds all that it needs.

    Args:
        records: all that is known.
        note: names the suite.
        folder: is there already; the page of an earlier report is replaced.
        environment: what measured; None where the run does not tell.
        gpu: name of the device that measured; None for a CPU.

    Returns:
        The file.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / f"{note.name}.html"
    write_page(report_page(records, note, environment, gpu), path)
    return path


def report_page(
    records: Sequence[Record], note: SuiteNote, environment: Environment | None = None, gpu: str | None = None
) -> Page:
    """The page; see `write_report_page`."""
    rows = case_rows(records, note.epoch_images)
    failed = failed_rows(rows)
    facts = [
        ("Claim", note.claim),
        ("Mirrors", note.mirrors),
        ("Cases", f"{len(rows)}{f', of which {len(failed)} without a number' if failed else ''}"),
        ("Measured on", _machine(rows, environment, gpu)),
    ]
    sections = (
        Section(name="findings", title="Findings", sentences=finding_sentences(rows, note.counterparts)),
        Section(name="failures", title="Failures", sentences=_failures(failed)),
        Section(name="growth", title="Growth", charts=_growth(rows, gpu)),
        Section(name="throughput", title="Throughput", charts=_throughput(rows)),
        Section(name="models", title="Models of their own size", charts=_models(rows, gpu)),
        _peaks(records),
        _energy(rows),
        _inference(rows),
        Section(name="other-passes", title="Gradients and accuracy", charts=_other_passes(rows)),
        Section(
            name="tables",
            title="Tables",
            tables=_tables(rows, note, gpu),
            sentences=_verdicts(rows),
        ),
        Section(
            name="environment",
            title="Environment",
            drawer=environment_rows(environment) if environment else (),
            drawer_title="What it was measured with",
            sentences=() if environment else ("The run folder does not tell what it was measured with.",),
        ),
    )
    return Page(
        name=note.name, title=note.title, facts=[(label, text) for label, text in facts if text], sections=sections
    )


def _machine(rows: Sequence[CaseRow], environment: Environment | None, gpu: str | None) -> str:
    if rows and all(row.case.device == "fake" for row in rows):
        return "nothing: predicted by tracing tensors without data"
    return gpu or (environment.cpu if environment else "")


def _failures(rows: Sequence[CaseRow]) -> list[str]:
    return [f"{row.case.label()}: {row.status}{', ' if row.detail else ''}{row.detail}" for row in rows]


def _of_pass(rows: Sequence[CaseRow], name: PassName) -> list[CaseRow]:
    return [row for row in rows if row.pass_status(name) != NOT_MEASURED]


def _growing(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """The rows of memory or time that have a place on the axis that varies."""
    stepped = [row for row in rows if {row.pass_status("memory"), row.pass_status("time")} != {NOT_MEASURED}]
    axis = growth_axis(stepped)
    return [row for row in stepped if axis is not None and getattr(row.case, axis) is not None]


def _growth(rows: Sequence[CaseRow], gpu: str | None) -> list[Chart]:
    """Of methods over depth and T along both edges of the grid; of many rules a chart for each model."""
    along = _growing(rows)
    axis = growth_axis(along)
    if axis is None:
        return []
    if complexities(along):
        return [
            *scaling_charts(on_edge(along, "depth"), "depth", gpu),
            *scaling_charts(on_edge(along, "timesteps"), "timesteps", gpu),
        ]
    if axis == "timesteps" and compares_rules(along):
        models = dict.fromkeys(row.case.model for row in along)
        return [
            chart
            for index, model in enumerate(models, start=1)
            for chart in scaling_charts(
                [row for row in along if row.case.model == model], axis, gpu, name=f"model-{index}", title=model
            )
        ]
    return scaling_charts(along, axis, gpu)


def _throughput(rows: Sequence[CaseRow]) -> list[Chart]:
    timed = _of_pass(rows, "inference_time")
    return throughput_charts(timed) if timed else []


def _models(rows: Sequence[CaseRow], gpu: str | None) -> list[Chart]:
    along = _growing(rows)
    others = [row for row in _of_pass(rows, "memory") if row not in along and row.pass_status("energy") == NOT_MEASURED]
    return model_charts(others, gpu) if others else []


def _peaks(records: Sequence[Record]) -> Section:
    chart = peaks_chart(records)
    return Section(
        name="peaks",
        title="What the peaks consist of",
        sentences=[EXPLAIN] if chart else (),
        charts=[chart] if chart else (),
    )


def _energy(rows: Sequence[CaseRow]) -> Section:
    counted = _of_pass(rows, "energy")
    models = energies_by_model(rows)
    price, summary = price_chart(counted), energy_summary(models)
    sentences = [
        *energy_sentences(models),
        *joules_sentences(energies_by_model(rows, "joules")),
    ]
    charts = [*firing_charts(counted), *parts_charts(counted), *([price] if price else [])]
    return Section(
        name="energy",
        title="Energy of an inference",
        sentences=sentences,
        charts=charts,
        tables=[("energy-summary", summary)] if summary else (),
    )


def _inference(rows: Sequence[CaseRow]) -> Section:
    along = outside_grids(rows)
    charts = inference_charts(along) if cost_growth(along, "dense_macs") else []
    return Section(name="inference", title="Cost of an inference", sentences=cost_sentences(along), charts=charts)


def _other_passes(rows: Sequence[CaseRow]) -> list[Chart]:
    charts = []
    if restored := _of_pass(rows, "reversibility"):
        charts += reversibility_charts(restored)
    if compared := _of_pass(rows, "similarity"):
        charts += similarity_charts(compared)
    if learnt := _of_pass(rows, "learning"):
        charts.append(learning_chart(learnt))
    return charts


def _tables(rows: Sequence[CaseRow], note: SuiteNote, gpu: str | None) -> list[tuple[str, TableData]]:
    """All tables, that of the cases last, which is the longest."""
    tables = report_tables(rows, note.title, gpu)
    return sorted(tables.items(), key=lambda named: named[0] == CASES)


def _verdicts(rows: Sequence[CaseRow]) -> list[str]:
    found = verdict_sentences(rows)
    return [*found, DEFINITIONS] if found else []
