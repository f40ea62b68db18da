"""The records of a pass, made by hand."""

from collections.abc import Sequence

from revbench.bench.cases import Case
from revbench.bench.records import STATUS_METRIC, Measurement, PassName, Record, Status

AT = "2026-01-02T03:04:05.000000+00:00"


def closing(case: Case, pass_name: PassName, status: Status = "ok", detail: str = "") -> Record:
    """The last row of one pass over one case."""
    return Record(
        case=case,
        pass_name=pass_name,
        metric=STATUS_METRIC,
        value=None,
        unit="",
        counter=None,
        status=status,
        detail=detail,
        at=AT,
    )


def recorded(
    case: Case,
    pass_name: PassName,
    measurements: Sequence[Measurement] = (),
    status: Status = "ok",
    detail: str = "",
) -> list[Record]:
    """What a run stores of one pass over one case, the closing row last; a number that is missing is `unsupported`."""
    rows = [
        Record(
            case=case,
            pass_name=pass_name,
            metric=found.metric,
            value=found.value,
            unit=found.unit,
            counter=found.counter,
            status="unsupported" if found.value is None else "ok",
            detail=found.detail,
            at=AT,
        )
        for found in measurements
    ]
    return [*rows, closing(case, pass_name, status, detail)]
