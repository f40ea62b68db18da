"""What a training step is predicted to need, for a person at a terminal."""

from fractions import Fraction

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revbench.bench.cases import CASE_FIELDS
from revbench.bench.memory.as_cuda import DIFFERENCES
from revbench.bench.memory.capacity import Axis, Reach
from revbench.bench.memory.forecast import Along, Forecast
from revbench.reports.units import bytes_text, count_text, mebibytes_text, millions_text, share_text
from revbench.reports.wording import describe, field_phrase

AXIS_UNITS: dict[Axis, str] = {"batch_size": "image", "timesteps": "timestep", "depth": "block in each stage"}


def print_forecast(forecast: Forecast, console: Console) -> None:
    """Prints the amounts, what they consist of, how they grow, and what fits."""
    prediction = forecast.prediction
    case = prediction.case
    told = describe(case, [name for name in CASE_FIELDS if name not in ("model", "seed", "device")])
    console.print(
        Text(
            f"{case.model}: {told}; input {prediction.input_shape}, "
            f"{millions_text(prediction.num_parameters)} million parameters"
        ),
        soft_wrap=True,
    )
    where = f" on {forecast.card.title}" if forecast.card else ""
    console.print(
        Text(f"One training step in steady state{where}, by torch {forecast.torch_version}, without a GPU"),
        soft_wrap=True,
    )
    for table in (_amounts(forecast), _kinds(forecast), _differences(forecast)):
        console.print()
        console.print(table)
    console.print()
    for axis, along in forecast.along.items():
        console.print(Text(_growth_line(forecast, axis, along)), soft_wrap=True)
    if forecast.card:
        console.print()
        for line in _fit_lines(forecast):
            console.print(Text(line), soft_wrap=True)


def _amounts(forecast: Forecast) -> Table:
    held = forecast.held
    table = _table("", "bytes", "MiB")
    for name, num_bytes in (
        ("requested", held.requested_bytes),
        ("allocated, in blocks", held.allocated_bytes),
        ("reserved, at the least", forecast.least_reserved_bytes),
        ("reserved, as simulated", held.reserved_bytes),
    ):
        table.add_row(name, count_text(num_bytes), mebibytes_text(num_bytes))
    return table


def _kinds(forecast: Forecast) -> Table:
    highest, workspaces = forecast.prediction.peak, forecast.held.workspace_bytes
    table = _table("requested at the peak", "bytes", "MiB", "share")
    amounts = {kind.replace("_", " "): num_bytes for kind, num_bytes in highest.by_kind.items()}
    whole = forecast.held.requested_bytes
    others = {
        "kept elsewhere": forecast.prediction.requested_bytes - highest.total_bytes,
        "workspaces of cuBLAS": workspaces,
    }
    assert sum(amounts.values()) + sum(others.values()) == whole
    for name, num_bytes in {**amounts, **others}.items():
        if num_bytes:
            table.add_row(name, count_text(num_bytes), mebibytes_text(num_bytes), share_text(num_bytes / whole))
    return table


def _differences(forecast: Forecast) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("what CUDA does otherwise than the trace on the CPU", overflow="fold")
    table.add_column("bytes at the peak", justify="right", no_wrap=True)
    for name, num_bytes in forecast.differences.items():
        table.add_row(DIFFERENCES[name], _signed(num_bytes))
    table.add_row("storages are rounded up to 512 bytes", _signed(forecast.rounding_bytes))
    table.add_row("remainders of blocks up to 1 MiB are not split off", _signed(forecast.unsplit_bytes))
    workspace, handles = forecast.workspace, forecast.num_handles
    if handles:
        each = "" if workspace.num_bytes is None else f"{handles} handles of {count_text(workspace.num_bytes)} B; "
        proof = "measured" if workspace.verified else "not yet measured"
        amount = "unknown" if workspace.num_bytes is None else _signed(forecast.held.workspace_bytes)
        table.add_row(f"cuBLAS keeps a workspace ({each}{proof}; {workspace.source})", amount)
    for unknown in forecast.unknown:
        table.add_row(f"{unknown.library} ({unknown.source})", "unknown")
    return table


def _growth_line(forecast: Forecast, axis: Axis, along: Along) -> str:
    unit = AXIS_UNITS[axis]
    law = along.growth
    if law is None:
        return f"per {unit}: not known ({along.reason})"
    first, last = law.points[0][0], law.points[-1][0]
    over = f"{field_phrase(axis, first)} to {last}"
    if law.num_skipped:
        over = f"{field_phrase(axis, law.points[1][0])} to {last}"
    match law.law:
        case "flat":
            return f"per {unit}: 0 B, the peak is the same over {over}"
        case "affine":
            return f"per {unit}: {_amount(law.slope)}, constant to the byte over {over}"
        case _:
            slopes = " then ".join(_amount(slope) for slope in law.local_slopes)
            return f"per {unit}: not constant over {over}: {slopes}"


def _amount(num_bytes: Fraction) -> str:
    return f"{bytes_text(num_bytes)} ({mebibytes_text(num_bytes)} MiB)"


def _fit_lines(forecast: Forecast) -> list[str]:
    card = forecast.card
    assert card is not None
    held = forecast.held
    if held.reserved_bytes <= card.memory_bytes:
        verdict = "fits"
    elif held.allocated_bytes <= card.memory_bytes:
        verdict = "fits only if the allocator gives free segments back"
    else:
        verdict = "does not fit"
    lines = [
        f"It {verdict}: {card.title} has {bytes_text(card.memory_bytes)} in all ({card.source}). "
        "The driver's context and what is unknown above are not counted."
    ]
    lines += [_reach_line(forecast, axis, along.reach) for axis, along in forecast.along.items() if along.reach]
    return lines


def _reach_line(forecast: Forecast, axis: Axis, reach: Reach) -> str:
    name = {"batch_size": "batch", "timesteps": "T", "depth": "depth"}[axis]
    others = {other: getattr(forecast.prediction.case, other) for other in forecast.along if other != axis}
    beside = ", ".join(field_phrase(other, value) for other, value in others.items())
    at = f" with {beside}" if beside else ""
    match reach.end:
        case "flat":
            return f"Largest {name}{at}: any, the bytes do not depend on it."
        case "none":
            return f"Largest {name}{at}: none, not even 1 fits."
        case "exact":
            return (
                f"Largest {name}{at}: {reach.largest:,}; one step more does not fit ({reach.num_traces} traces more)."
            )
        case _:
            limit = f"the search's {'bound' if reach.end == 'bound' else 'time'} was met"
            return f"Largest {name}{at}: at least {reach.largest:,}, where {limit} ({reach.num_traces} traces more)."


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        is_number = header in {"bytes", "MiB", "share"}
        table.add_column(header, justify="right" if is_number else "left", no_wrap=True)
    return table


def _signed(num_bytes: int) -> str:
    return f"{num_bytes:+,}" if num_bytes else "0"
