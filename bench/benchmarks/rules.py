"""What the training rules cost in time: `python -m revbench.bench.benchmarks.rules`.

Rules under comparison take turns step by step in one process, so that a slow minute of the machine hits all of them.
Limits at T = 16: SLTT over BPTT 1.0, SLTT-1 over SLTT 0.5, OTTT over SLTT 1.5. The first is missed at batch 4 of the
networks with large weights, where BPTT takes the frames of all timesteps in one product; at batch 16 it is met.
"""

import gc
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench.benchmarks.step_ratio import StepRatio, in_turns, ratio, timed
from revbench.bench.cases import Case
from revbench.bench.timing import WARM_UP_STEPS
from revbench.bench.training import prepare

NUM_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLimit:
    """How much longer a step of one rule may take than that of another."""

    rule: str
    beside: str
    limit: float


LIMITS = (
    RuleLimit(rule="sltt", beside="bptt", limit=1.0),
    RuleLimit(rule="sltt-1", beside="sltt", limit=0.5),
    RuleLimit(rule="ottt_a", beside="sltt", limit=1.5),
)
CASES = (
    Case(model="vggsws", depth=1, width=16, timesteps=16, batch_size=32),
    Case(model="preactresnet", depth=1, width=16, timesteps=16, batch_size=32),
    Case(model="vgg11sws", timesteps=16, batch_size=16),
    Case(model="preactresnet18", timesteps=16, batch_size=16),
    Case(model="vgg11sws", timesteps=16, batch_size=4),
    Case(model="preactresnet18", timesteps=16, batch_size=4),
)


def rule_ratios(case: Case, limits: tuple[RuleLimit, ...] = LIMITS) -> dict[RuleLimit, StepRatio]:
    """The ratio of each limit, for the model, T and batch of a case."""
    names = list(dict.fromkeys(name for limit in limits for name in (limit.rule, limit.beside)))
    trainings = [prepare(replace(case, rule=name)) for name in names]
    for training in trainings:
        training.warm_up(WARM_UP_STEPS)
    gc.collect()
    found = dict(zip(names, in_turns(trainings, NUM_ROUNDS, timed), strict=True))
    return {limit: ratio(replace(case, rule=limit.rule), found[limit.rule], found[limit.beside]) for limit in limits}


def main() -> None:
    """Prints the table."""
    table = Table(
        title=f"Step time of one rule over that of another, medians of {NUM_ROUNDS} rounds",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for header in ("model", "T", "batch", "rules", "step s", "ratio", "CPU time", "limit"):
        table.add_column(header, justify="left" if header in {"model", "rules"} else "right", no_wrap=True)
    for case in CASES:
        for limit, found in rule_ratios(case).items():
            table.add_row(
                case.model,
                str(case.timesteps),
                str(case.batch_size),
                f"{limit.rule} / {limit.beside}",
                f"{found.step_s:.3f}",
                f"{found.wall:.2f}",
                f"{found.cpu:.2f}",
                f"{limit.limit:.1f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
