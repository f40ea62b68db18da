"""The joules pass: what training and inference of an image take, measured by a meter of the device.

Unlike the energy pass it says what this machine takes for dense kernels, zeros included. A network is not trained for
it, unless its weights come from a checkpoint. A machine without a meter gives rows without a value that say why.
"""

from collections.abc import Callable
from contextlib import ExitStack

import torch

from revbench.bench.cases import Case
from revbench.bench.energy.checkpoint import load_checkpoint
from revbench.bench.energy.choices import Choices
from revbench.bench.energy.meters import Meter, MeterError, open_meter
from revbench.bench.energy.windows import Plan, Stopwatch, Work, measure
from revbench.bench.records import Measurement
from revbench.bench.timing import WARM_UP_STEPS
from revbench.bench.training import Training, prepare

KINDS = ("training", "inference")
NET, MARGIN, GROSS = "{}_net_j", "{}_net_j_margin", "{}_gross_j"
LESS_THAN_IDLE = "the device took less than while it was idle: something else ran beside"


def joules_pass(case: Case, choices: Choices | None = None, plan: Plan | None = None) -> list[Measurement]:
    """What the pass finds about a case.

    Raises:
        NotImplementedError: the case is on fake tensors.
        MeterError: the meter failed while it was used.
        CheckpointError: the weights cannot be loaded.
    """
    if case.device == "fake":
        raise NotImplementedError("fake tensors take no energy; use the device cpu or cuda")
    with ExitStack() as stack:
        try:
            meter = stack.enter_context(open_meter(torch.device(case.device)))
        except MeterError as error:
            return unmetered(str(error))
        training = prepare(case)
        if case.checkpoint is not None:
            load_checkpoint(training.model, (choices or Choices()).checkpoint, case.checkpoint)
        on_cuda = training.device.type == "cuda"
        watch = Stopwatch(synchronize=torch.cuda.synchronize) if on_cuda else Stopwatch()
        return metered(training, meter, plan or Plan(), watch)


def metered(training: Training, meter: Meter, plan: Plan, watch: Stopwatch) -> list[Measurement]:
    """Joules of an image in training and in inference, and what they were taken from.

    Raises:
        MeterError: the meter failed.
        DivergedError: the loss is not finite.
    """
    training.warm_up(WARM_UP_STEPS)
    steps: dict[str, Callable[[], object]] = {"training": training.step, "inference": training.infer}
    found = []
    for kind in KINDS:
        training.model.train(kind == "training")
        found += _told(kind, measure(meter, steps[kind], training.case.batch_size, plan, watch), meter)
    return found


def unmetered(reason: str) -> list[Measurement]:
    """The same rows without values, of a machine that has no meter."""
    return [
        Measurement(metric=metric.format(kind), value=None, unit="J", detail=reason)
        for kind in KINDS
        for metric in (NET, MARGIN, GROSS)
    ]


def _told(kind: str, work: Work, meter: Meter) -> list[Measurement]:
    net, gross = work.net_j, work.gross_j
    is_sound = net.mean > 0
    joules = {NET: net.mean if is_sound else None, MARGIN: net.margin if is_sound else None, GROSS: gross.mean}
    seconds = [window.seconds for window in work.windows]
    images = sum(window.num_images for window in work.windows)
    return [
        *(
            Measurement(
                metric=metric.format(kind),
                value=value,
                unit="J",
                counter=meter.counter,
                detail=LESS_THAN_IDLE if value is None else meter.description,
            )
            for metric, value in joules.items()
        ),
        *(
            Measurement(metric=f"{kind}_{name}_w", value=watts, unit="W", counter=meter.counter)
            for name, watts in (
                ("power", sum(window.joules for window in work.windows) / sum(seconds)),
                ("idle_before", work.idle_before.power_w),
                ("idle_after", work.idle_after.power_w),
            )
        ),
        Measurement(metric=f"{kind}_num_windows", value=len(work.windows), unit="1"),
        Measurement(metric=f"{kind}_shortest_window_s", value=min(seconds), unit="s"),
        Measurement(metric=f"{kind}_num_images", value=images, unit="1"),
    ]
