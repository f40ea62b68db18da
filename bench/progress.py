"""The progress of a run on the terminal: one bar, the current case, and a line for each finding."""

from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console
from rich.text import Text

from revbench.bench.cases import CASE_FIELDS, Case
from revbench.bench.records import Measurement, PassName
from revbench.bench.runner import Job, Outcome
from revbench.bench.similarity.metric import KEPT, SimilarityMetric
from revbench.bench.terminal import progress_bar
from revbench.bench.timing import METRICS


class RunProgress:
    """One progress bar for a run.

    Args:
        cases: all cases of the run.
        done: passes that were measured before.
        total: passes over cases in all.
        console: where it is shown.
    """

    def __init__(self, cases: Sequence[Case], done: int, total: int, console: Console) -> None:
        # What all cases have in common stands in the table; here it would only make lines wrap.
        self._names = [name for name in CASE_FIELDS if len({getattr(case, name) for case in cases}) > 1]
        self._progress = progress_bar(console)
        self._task = self._progress.add_task("", total=total, completed=done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def starting(self, job: Job) -> None:
        """Shows the current case."""
        case, pass_name = job
        self._progress.update(self._task, description=f"{pass_name}: {case.label(self._names)}")

    def finished(self, outcome: Outcome) -> None:
        """Prints what was found and moves the bar."""
        label = outcome.case.label(self._names)
        line = Text.assemble(f"{outcome.pass_name:<7} {label:<22} ", finding(outcome))
        self._progress.console.print(line, soft_wrap=True)
        self._progress.advance(self._task)


def finding(outcome: Outcome) -> Text:
    """One line: what a pass over a case found, or how it failed."""
    values = {(m.metric, m.counter): m.value for m in outcome.measurements}
    if outcome.status != "ok":
        return Text.assemble((outcome.status, "bold red"), f" {outcome.detail}")
    if outcome.pass_name == "memory":
        peak = values["peak_bytes", "traced"] or 0
        activations = (values["activation_peak_bytes", "traced"] or 0) / outcome.case.batch_size
        found = f"peak {peak / 2**20:,.1f} MiB, activations {activations / 2**20:,.2f} MiB per image"
        if allocated := values.get(("peak_bytes", "cuda_allocated")):
            found += f", CUDA allocated {allocated / 2**20:,.1f} MiB"
        return Text(found)
    if outcome.pass_name == "learning":
        accuracy, train_s = values["test_accuracy", None] or 0, values["train_s", None] or 0
        return Text(f"test accuracy {100 * accuracy:.1f} % after {train_s:,.1f} s")
    if outcome.pass_name in _TOLD:
        return Text(_TOLD[outcome.pass_name](outcome.measurements))
    if outcome.pass_name == "reversibility":
        cosine = values["gradient_cosine", None]
        found = "gradient out of range" if cosine is None else f"gradient cosine {cosine:.4f}"
        if (without := values.get(("unprotected_gradient_cosine", None))) is not None:
            found += f", unprotected {without:.4f}"
        return Text(found)
    median, _, throughput, _ = METRICS[outcome.pass_name]
    kind = "step" if outcome.pass_name == "time" else "inference"
    return Text(f"{kind} {(values[median, None] or 0) * 1e3:,.1f} ms, {values[throughput, None] or 0:,.1f} images/s")


def _energy(measurements: Sequence[Measurement]) -> str:
    """What was counted of one image."""
    values = {found.metric: found.value or 0 for found in measurements}
    millions = " + ".join(f"{values[metric] / 1e6:,.3g} million {metric.upper()[:-1]}" for metric in ("acs", "macs"))
    return f"{millions} per image, {values['operations_energy_j'] * 1e6:,.3g} µJ at 45 nm"


def _operations(measurements: Sequence[Measurement]) -> str:
    """What one image takes, dense."""
    values = {found.metric: found.value or 0 for found in measurements}
    inference, training = (values[metric] / 1e6 for metric in ("dense_macs", "training_macs"))
    return f"{inference:,.3g} million MAC per image, {training:,.3g} million in training"


def _joules(measurements: Sequence[Measurement]) -> str:
    """What was metered, or why nothing was."""
    net = [found for found in measurements if found.metric.endswith("_net_j")]
    reasons = dict.fromkeys(found.detail for found in net if found.value is None)
    values = {found.metric.partition("_")[0]: found.value for found in net if found.value is not None}
    told = [f"{kind} {joules:.3g} J per image" for kind, joules in values.items()]
    return ", ".join([*told, *(f"not metered: {reason}" for reason in reasons)])


def _similarity(measurements: Sequence[Measurement]) -> str:
    """The cosines at the end of training, by where temporal gradients are kept."""
    values = {metric: found.value for found in measurements if (metric := SimilarityMetric.parse(found.metric))}
    last = max(metric.epoch for metric in values)
    cosines = ((kept, values[SimilarityMetric(kept, last)]) for kept in KEPT)
    told = (f"{'-' if value is None else f'{value:.3f}'} ({kept.replace('_', ' ')})" for kept, value in cosines)
    return f"gradient cosine {', '.join(told)}"


_TOLD: dict[PassName, Callable[[Sequence[Measurement]], str]] = {
    "energy": _energy,
    "operations": _operations,
    "joules": _joules,
    "similarity": _similarity,
}
