"""What a training step needs before it is run: the same trace on fake tensors, as the CPU does it and as CUDA does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from revbench.bench.cases import Case
from revbench.bench.memory.as_cuda import DIFFERENCES, AsCuda, Difference
from revbench.bench.memory.history import History
from revbench.bench.memory.measure import WARM_UP_STEPS, trace
from revbench.bench.memory.recorder import Recorder
from revbench.bench.memory.timeline import Mark, Peak, Timeline, changes_without, peak
from revbench.bench.memory.tracker import Tracker
from revbench.bench.training import make_optimizer, num_parameters, prepare, world


def predict_peak(case: Case) -> Peak:
    """The traced peak of the case, in bytes, without its arithmetic.

    Equal to the byte to the traced peak on the CPU. On CUDA some kernels save other tensors.
    """
    fake = replace(case, device="fake")
    with world(fake):
        training = prepare(fake)
        training.warm_up(WARM_UP_STEPS)
        return peak(trace(training))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a training step on CUDA needs, but for what libraries take for themselves.

    Attributes:
        case: the case.
        timeline: the live bytes of the step, in steady state.
        history: all allocations from the building of the model on.
        input_shape: what the model reads.
        num_parameters: of the model.
    """

    case: Case
    timeline: Timeline
    history: History
    input_shape: str
    num_parameters: int

    @cached_property
    def peak(self) -> Peak:
        """The peak of the step's tensors, by kind."""
        return peak(self.timeline)

    @cached_property
    def requested_bytes(self) -> int:
        """The peak of all tensors, those included that live from step to step and are no part of the model."""
        live = np.cumsum(self.history.delta_bytes)
        return int(live[max(self.history.step_begin - 1, 0) :].max())


def predict(case: Case, undone: frozenset[Difference] = frozenset()) -> Prediction:
    """Traces two training steps as CUDA would do them, and looks at the second.

    Args:
        case: to be predicted.
        undone: what is done as on the CPU.
    """
    fake = replace(case, device="fake")
    with world(fake):
        everything = Recorder()
        mode = AsCuda([everything], undone)
        with everything:
            with mode:
                training = prepare(fake)
            if "optimizer" not in undone:
                optimizer = make_optimizer(fake.optimizer, training.model.parameters(), foreach=True)
                training = replace(training, optimizer=optimizer)
            with mode:
                training.warm_up(WARM_UP_STEPS)
            step_begin = everything.num_changes
            step = Tracker(training.model, training.optimizer, [training.batch.inputs, training.batch.targets])
            mode.recorders.append(step)
            with step, mode:
                training.step()
            states = training.optimizer.state.values() if "counters" not in undone else ()
            counters = [state["step"] for state in states if "step" in state]
            off_card = [{recorder.declared(counter) for counter in counters} for recorder in (everything, step)]
        changes = everything.changes()
        history = History(
            storage_of=changes[:, 0],
            delta_bytes=changes[:, 1],
            step_begin=step_begin,
            first_products=tuple(mode.first_products.values()),
        )
        return Prediction(
            case=case,
            timeline=_without(step.timeline(), off_card[1]),
            history=history.without(off_card[0]),
            input_shape=str(training.model.input_shape),
            num_parameters=num_parameters(training.model),
        )


def effects(prediction: Prediction) -> Mapping[Difference, int]:
    """What each difference of CUDA adds to the peak: the peak less that of a trace in which it is undone."""
    case, whole = prediction.case, prediction.requested_bytes
    told = [name for name in DIFFERENCES if case.optimizer != "sgd" or name not in {"optimizer", "counters"}]
    return {name: whole - predict(case, frozenset({name})).requested_bytes for name in told}


def _without(timeline: Timeline, storages: set[int]) -> Timeline:
    kept, before = changes_without(timeline.storage_of, storages)
    return replace(
        timeline,
        storage_of=timeline.storage_of[kept],
        delta_bytes=timeline.delta_bytes[kept],
        phase_ends=tuple(Mark(phase=m.phase, num_changes=int(before[m.num_changes])) for m in timeline.phase_ends),
    )
