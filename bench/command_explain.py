"""`revbench explain`: who holds the bytes at the instant of the peak of a training step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from revbench.bench import device as devices
from revbench.bench.cases import Case
from revbench.bench.catalog import Catalog
from revbench.bench.errors import ConfigError, OutputError, RevbenchError
from revbench.bench.memory.explain import Explanation, explain
from revbench.bench.memory.one_case import another_case, one_case
from revbench.bench.memory.untraceable import case_error

SNAPSHOT_NAME = "snapshot.pickle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench explain --help`."""

    model: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    input_shape: str | None = None
    against: str | None = None
    device: str | None = None
    levels: int | None = None
    rows: int = 20
    out: Path | None = None
    formats: Sequence[str] = ("png", "svg", "html")
    snapshot: bool = False


def show(request: Request, console: Console) -> None:
    """Explains one case or two, prints the tables, and writes figures and cells where they were asked for.

    Raises:
        RevbenchError: the request cannot be used, a case cannot be run or traced, or the folder cannot be written.
    """
    from revbench.reports.explanation import print_explanations, write_explanations  # noqa: PLC0415

    cases = _cases(request)
    folder = _folder(request)
    explanations = [_explained(case, request, folder) for case in cases]
    print_explanations(explanations, console, num_rows=request.rows)
    if folder is None:
        console.print(Text("Add --out FOLDER for every cell as CSV and the live bytes over the step as a figure."))
        return
    try:
        written = write_explanations(explanations, folder, request.formats)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
    if request.snapshot:
        written.append(folder / SNAPSHOT_NAME)
    console.print(Text(f"Written: {', '.join(map(str, written))}"), soft_wrap=True)


def _cases(request: Request) -> list[Case]:
    for name, number in (("levels", request.levels), ("rows", request.rows)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} must be at least 1, not {number}")
    if request.snapshot and (request.device != "cuda" or request.out is None):
        raise ConfigError(
            "--snapshot is PyTorch's record of its CUDA allocator; it needs --device cuda and --out FOLDER"
        )
    if request.snapshot and request.against is not None:
        raise ConfigError("--snapshot is of one case; leave out --against")
    device = "fake" if request.device is None else devices.resolve(request.device)
    catalog = Catalog()
    model = catalog.with_input(request.model, request.input_shape) if request.input_shape else request.model
    case = one_case(model, request.choices, device, catalog)
    return [case] if request.against is None else [case, another_case(case, request.against, catalog)]


def _folder(request: Request) -> Path | None:
    if request.out is not None:
        try:
            request.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {request.out}: {error.strerror}; choose another") from None
    return request.out


def _explained(case: Case, request: Request, folder: Path | None) -> Explanation:
    snapshot = folder / SNAPSHOT_NAME if request.snapshot and folder else None
    try:
        return explain(case, request.levels, snapshot)
    except RevbenchError:
        raise
    except Exception as error:  # whatever the code of a model raises becomes a sentence
        raise case_error(case.label(), error, fake=case.device == "fake") from error
