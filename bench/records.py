"""A record is one row of results: case + pass + metric + value + unit + status.

Records are appended to `records.jsonl`, one JSON object a line. The rows of one pass over one case are written
together and closed by a row of the metric `status`; a pass without that row was cut off and counts as not measured.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from revbench.bench.cases import Case

PassName = Literal[
    "memory", "time", "inference_time", "energy", "operations", "joules", "reversibility", "learning", "similarity"
]
Status = Literal["ok", "oom", "timeout", "error", "unsupported"]
MemoryCounter = Literal["traced", "cuda_requested", "cuda_allocated", "cuda_reserved", "nvml"]
EnergyCounter = Literal["nvml_energy", "nvml_power", "rapl"]
Counter = Literal[MemoryCounter, EnergyCounter, "published"]
PASSES: tuple[str, ...] = get_args(PassName)
STATUSES: tuple[str, ...] = get_args(Status)
STATUS_METRIC = "status"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a pass found: a metric with its value, unit (`B`, `s`, `J`, `W`, `1/s`, `1`) and the counter behind it.

    A meter that does not tell gives no value but the reason in `detail`; its row has the status `unsupported`.
    """

    metric: str
    value: int | float | None
    unit: str
    counter: Counter | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of results.

    Attributes:
        case: the case that was measured.
        pass_name: the way of looking at it (`pass` in files).
        metric: what was measured, unit in the name where it has one (`peak_bytes`, `step_s`).
        value: None for the closing row of a pass and wherever nothing was measured; never a stand-in number.
        unit: `B`, `s`, `J`, `W`, `1/s`, `1`; empty for the closing row.
        counter: what produced the number.
        status: `ok`, or why there is no number.
        detail: one line on a failure.
        at: when, ISO 8601 in UTC.
    """

    case: Case
    pass_name: PassName
    metric: str
    value: int | float | None
    unit: str
    counter: Counter | None
    status: Status
    detail: str
    at: str
