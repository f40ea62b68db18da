"""What one case holds at its peaks: the integers that a baseline keeps and that a check reads again."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from revbench.bench.cases import Case
from revbench.bench.errors import RevbenchError
from revbench.bench.memory.cuda import measure_peaks
from revbench.bench.memory.explain import shown_layers
from revbench.bench.memory.measure import WARM_UP_STEPS, attribute
from revbench.bench.memory.places import Attribution, Cell, cells_at, folded
from revbench.bench.memory.timeline import ACTIVATION_KINDS, KINDS, StorageKind, activation_peak_bytes, peak
from revbench.bench.memory.untraceable import case_error
from revbench.bench.records import Counter
from revbench.bench.training import Training, prepare, world
from revbench.bench.worker import describe_failure
from revbench.models.registry import UnknownModelError
from revbench.models.rules.named import UnknownRuleError
from revbench.models.target import TargetError

Metric = Literal["peak_bytes", "activation_peak_bytes"]
METRICS: tuple[Metric, ...] = get_args(Metric)
ReadingStatus = Literal["ok", "unsupported", "failed"]
"""`unsupported`: the rule does not apply to the model, which is as it should be if the baseline says so too."""
CUDA_COUNTERS: tuple[Counter, ...] = ("cuda_requested", "cuda_allocated", "cuda_reserved")


class Holder(NamedTuple):
    """Who holds bytes: a block or a layer outside of blocks, the timesteps, and the kind of storage."""

    layer: str
    timesteps: str
    kind: StorageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Highest:
    """The instant at which a metric is highest.

    Attributes:
        num_bytes: the metric's value.
        phase: of the training step.
        by_holder: who holds them; they add up to `num_bytes` exactly.
    """

    num_bytes: int
    phase: str
    by_holder: Mapping[Holder, int]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was found about a case.

    Attributes:
        case: which.
        status: `ok`, or why there are no bytes.
        detail: one line on that.
        traced: the peaks that the tracker saw.
        cuda: the peaks that PyTorch's allocator counted; empty on other devices.
    """

    case: Case
    status: ReadingStatus = "ok"
    detail: str = ""
    traced: Mapping[Metric, Highest] = field(default_factory=dict)
    cuda: Mapping[Counter, int] = field(default_factory=dict)


def read(case: Case) -> Reading:
    """Runs or traces two training steps of the case and looks at the second; what goes wrong is in the status."""
    try:
        with world(case), no_collection():
            training = prepare(case)
            training.warm_up(WARM_UP_STEPS)
            cuda = _cuda_peaks(training)
            attribution = attribute(training)
            return Reading(case=case, traced=highest(attribution, shown_layers(training.model)), cuda=cuda)
    except (RevbenchError, UnknownModelError, UnknownRuleError, TargetError) as error:
        return Reading(case=case, status="failed", detail=_shortened(str(error)))
    except Exception as error:  # the code of a model may raise anything
        return _failed(case, error)


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection inside this block.

    When it takes place hangs on what ran before. So a storage in a reference cycle lives to the end of the step, which
    is what it may do in training too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _cuda_peaks(training: Training) -> dict[Counter, int]:
    if training.device.type != "cuda":
        return {}
    found = {each.counter: each.value for each in measure_peaks(training.step, training.device)}
    return {counter: int(found[counter] or 0) for counter in CUDA_COUNTERS}


def highest(attribution: Attribution, block_of: Mapping[str, str]) -> dict[Metric, Highest]:
    """Every metric of a training step at its own instant, with blocks in the place of layers."""
    timeline = attribution.timeline
    expected: dict[Metric, int] = {
        "peak_bytes": peak(timeline).total_bytes,
        "activation_peak_bytes": activation_peak_bytes(timeline),
    }
    kinds: dict[Metric, tuple[StorageKind, ...]] = {"peak_bytes": KINDS, "activation_peak_bytes": ACTIVATION_KINDS}
    found: dict[Metric, Highest] = {}
    for metric in METRICS:
        instant = int(timeline.live_bytes(kinds[metric]).argmax())
        cells = [cell for cell in cells_at(attribution, instant + 1) if cell.kind in kinds[metric]]
        by_holder = _by_holder(folded(tuple(cells), block_of))
        assert sum(by_holder.values()) == expected[metric]
        phase = next((mark.phase for mark in timeline.phase_ends if instant < mark.num_changes), "")
        found[metric] = Highest(num_bytes=expected[metric], phase=phase, by_holder=by_holder)
    return found


def _by_holder(cells: tuple[Cell, ...]) -> dict[Holder, int]:
    amounts: dict[Holder, int] = {}
    for cell in cells:
        holder = Holder(cell.place.layer, cell.place.timesteps, cell.kind)
        amounts[holder] = amounts.get(holder, 0) + cell.num_bytes
    return amounts


def _failed(case: Case, error: Exception) -> Reading:
    status, detail = describe_failure(error)
    operator = getattr(error, "operator", None)
    if status == "unsupported" and operator is None:
        return Reading(case=case, status="unsupported", detail=detail)
    if case.device == "fake" and operator is not None:
        detail = str(case_error(case.label(), error, fake=True)).removeprefix(f"{case.label()} ")
    return Reading(case=case, status="failed", detail=detail if status != "oom" else f"out of memory: {detail}")


def _shortened(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
