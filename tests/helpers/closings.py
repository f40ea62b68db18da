"""The closing record of a pass, for rows that are made by hand."""

from revbench.bench.cases import Case
from revbench.bench.records import STATUS_METRIC, PassName, Record, Status

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
