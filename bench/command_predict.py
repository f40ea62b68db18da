"""`revbench predict`: what a training step needs on a card, without one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console

from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.errors import RevbenchError
from revbench.bench.memory.capacity import AXES, Axis, Traces, growth, reach
from revbench.bench.memory.cards import Card, card_of, cublas_workspace, unknown_workspaces
from revbench.bench.memory.forecast import Along, Forecast
from revbench.bench.memory.history import replay
from revbench.bench.memory.one_case import one_case
from revbench.bench.memory.predict import effects
from revbench.bench.memory.untraceable import case_error
from revbench.bench.worker import describe_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench predict --help`."""

    model: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    input_shape: str | None = None
    gpu: str | None = None
    as_json: bool = False


def show(request: Request, console: Console) -> None:
    """Predicts one case and prints what was found, as tables or as JSON.

    Raises:
        RevbenchError: the request cannot be used, or the case cannot be traced.
    """
    from revbench.reports.prediction import print_forecast  # noqa: PLC0415

    card = card_of(request.gpu) if request.gpu else None
    catalog = Catalog()
    model = catalog.with_input(request.model, request.input_shape) if request.input_shape else request.model
    case = one_case(model, request.choices, "fake", catalog)
    with Console(stderr=True).status("tracing") as status:
        forecast = forecast_of(case, card, catalog, lambda label: status.update(f"tracing {label}"))
    if request.as_json:
        console.print(json.dumps(forecast.as_dict(), indent=2), soft_wrap=True)
    else:
        print_forecast(forecast, console)


def forecast_of(case: Case, card: Card | None, catalog: Catalog, watch: Any = lambda _: None) -> Forecast:
    """All that is predicted of a case.

    Args:
        case: to be predicted.
        card: that it is to fit into; None to leave that out.
        catalog: says which models have a depth.
        watch: called with the label of what is traced next.

    Raises:
        CaseError: the case cannot be traced.
    """
    traces = Traces(case, watch)
    try:
        prediction = traces.of()
        watch("what is different on CUDA")
        differences = effects(prediction)
    except RevbenchError:
        raise
    except Exception as error:  # whatever the code of a model raises becomes a sentence
        raise case_error(case.label(), error, fake=True) from error
    workspace = cublas_workspace(card.compute_capability if card else None)
    axes = [axis for axis in AXES if axis != "depth" or catalog.takes_depth(case.model)]
    return Forecast(
        prediction=prediction,
        differences=differences,
        bare=replay(prediction.history),
        held=replay(prediction.history, workspace.num_bytes or 0),
        workspace=workspace,
        unknown=tuple(unknown_workspaces()),
        card=card,
        along={axis: _along(traces, axis, card, workspace.num_bytes or 0) for axis in axes},
        torch_version=torch.__version__,
    )


def _along(traces: Traces, axis: Axis, card: Card | None, workspace_bytes: int) -> Along:
    try:
        law = growth(traces, axis)
        found = reach(traces, axis, law, workspace_bytes, card.memory_bytes) if card else None
    except Exception as error:  # a rule may not apply to other sizes, and a model may fail at them
        return Along(growth=None, reach=None, reason=describe_failure(error)[1])
    return Along(growth=law, reach=found, reason="")
