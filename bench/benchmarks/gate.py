"""How long `revbench check` takes on the project's own zoo: `python -m revbench.bench.benchmarks.gate`.

Prints the seconds by the clock in which all cases of the suites `gate*` are traced, on all cores; 60 on 2 is the limit.
"""

import time
from collections.abc import Sequence

from rich.console import Console

from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.config import find_config, load_config
from revbench.bench.environment import num_usable_cpus
from revbench.bench.gate.readings import read_all
from revbench.bench.suites import expand

LIMIT_S = 60


def zoo() -> list[Case]:
    """The cases that `make gate` compares."""
    suites, catalog = load_config(find_config()).suites, Catalog()
    guarded = [suite for name, suite in suites.items() if name.startswith("gate")]
    return [case for suite in guarded for case in expand(suite.for_prediction(), "fake", catalog)]


def seconds(cases: Sequence[Case]) -> float:
    """How long the traces take.

    Raises:
        RuntimeError: a case cannot be traced, so that the time would be of less work.
    """
    start = time.perf_counter()
    readings = read_all(cases, timeout_s=LIMIT_S, done=lambda reading: None)
    taken_s = time.perf_counter() - start
    if failed := [reading.case.label() for reading in readings if reading.status == "failed"]:
        raise RuntimeError(f"{', '.join(failed)} cannot be traced")
    return taken_s


def main() -> None:
    """Prints the sentence; ends with 1 if the limit is not kept."""
    cases = zoo()
    taken_s = seconds(cases)
    kept = "kept" if taken_s <= LIMIT_S else "NOT KEPT"
    Console(highlight=False).print(
        f"{len(cases)} cases traced in {taken_s:.0f} s on {num_usable_cpus()} cores; limit {LIMIT_S} s: {kept}"
    )
    raise SystemExit(taken_s > LIMIT_S)


if __name__ == "__main__":
    main()
