"""The program that times one case in a process of its own: `python -P timed_case.py '{"model": ...}' FOLDER`.

It is run beside whatever version of the code stands first on the path, perhaps an older one, so it asks little of it.
It prints one line: the median seconds of a step, and whether it imported anything from the folder.
"""

import gc
import json
import statistics
import sys
from pathlib import Path

MIN_STEPS = 5
MAX_STEPS = 30
ENOUGH_S = 0.5


def main() -> None:
    """Times the case of the first argument."""
    from revbench.bench.cases import Case  # noqa: PLC0415 - of the version on the path
    from revbench.bench.timing import WARM_UP_STEPS, timed_step  # noqa: PLC0415
    from revbench.bench.training import prepare  # noqa: PLC0415

    training = prepare(Case(**json.loads(sys.argv[1])))
    training.warm_up(WARM_UP_STEPS)
    gc.collect()
    gc.disable()
    seconds: list[float] = []
    while len(seconds) < MIN_STEPS or (sum(seconds) < ENOUGH_S and len(seconds) < MAX_STEPS):
        seconds.append(timed_step(training))
    print(json.dumps({"step_s": statistics.median(seconds), "is_of_folder": _imports_from(Path(sys.argv[2]))}))


def _imports_from(folder: Path) -> bool:
    files = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name != "__main__"]
    return any(Path(file).resolve().is_relative_to(folder) for file in files if file)


if __name__ == "__main__":
    main()
