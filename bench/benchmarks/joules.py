"""Joules of an image in training and in inference, by the meter of this machine.

Run with `python -m revbench.bench.benchmarks.joules [--windows N] [MODEL ...]`; on a GPU if there is one. A model takes
2 minutes with 3 windows.
"""

import argparse

from rich import box
from rich.console import Console
from rich.table import Table

from revbench.bench import device
from revbench.bench.cases import Case
from revbench.bench.energy.joules import KINDS, joules_pass
from revbench.bench.energy.windows import Plan
from revbench.bench.records import Measurement

MODELS = ("msresnet34", "revsresnet37")
TIMESTEPS, BATCH_SIZE = 4, 32
COLUMNS = {
    "net_j": "net\nJ",
    "net_j_margin": "±\nJ",
    "gross_j": "gross\nJ",
    "power_w": "power\nW",
    "idle_before_w": "idle\nbefore",
    "idle_after_w": "idle\nafter",
}
MISSING = "-"


def main(arguments: list[str] | None = None) -> None:
    """Prints two lines a model, and the meter or why there is none."""
    parser = argparse.ArgumentParser(description="Joules of an image, by the meter of this machine.")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--windows", type=int, default=Plan().num_windows)
    asked = parser.parse_args(arguments)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("model", "", *COLUMNS.values()):
        table.add_column(heading, no_wrap=True)
    meters: dict[str, None] = {}
    for model in asked.models:
        case = Case(model=model, timesteps=TIMESTEPS, batch_size=BATCH_SIZE, device=device.resolve("auto"))
        found = {each.metric: each for each in joules_pass(case, plan=Plan(num_windows=asked.windows))}
        meters.update(dict.fromkeys(found[f"{kind}_gross_j"].detail for kind in KINDS))
        for kind in KINDS:
            table.add_row(model, kind, *(_shown(found.get(f"{kind}_{name}")) for name in COLUMNS))
    console = Console()
    console.print(table)
    console.print(f"Of one image, T = {TIMESTEPS}, batch {BATCH_SIZE}; {', '.join(meters)}.")


def _shown(found: Measurement | None) -> str:
    return MISSING if found is None or found.value is None else f"{found.value:.4g}"


if __name__ == "__main__":
    main()
