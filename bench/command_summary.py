"""`revbench summary`: the layers of a model that can be named, without its arithmetic."""

from dataclasses import dataclass, replace

from rich.console import Console

from revbench.bench.catalog import Catalog
from revbench.bench.errors import CaseError, ConfigError
from revbench.bench.memory.fake import fake_world
from revbench.bench.summary import Summary, print_summary, summarise
from revbench.bench.worker import describe_failure
from revbench.models import registry
from revbench.models.target import is_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; see `revbench summary --help`."""

    model: str
    timesteps: int = 4
    depth: int | None = None
    width: int | None = None
    batch_size: int = 1
    levels: int | None = None
    input_shape: str | None = None


def show(request: Request, console: Console) -> None:
    """Builds the model of fake tensors and prints its layers.

    Raises:
        ConfigError: there is no such model, or not of this size.
    """
    catalog = Catalog()
    if request.input_shape is not None:
        request = replace(request, model=catalog.with_input(request.model, request.input_shape))
    _check(request, catalog)
    sizes = {"depth": request.depth, "width": request.width}
    title = ", ".join([request.model, *(f"{name} {size}" for name, size in sizes.items() if size is not None)])
    print_summary(_summarise(request, title), console, title=title, levels=request.levels)


def _check(request: Request, catalog: Catalog) -> None:
    catalog.check(request.model)
    for name in ("timesteps", "depth", "width", "batch_size", "levels"):
        number = getattr(request, name)
        if number is not None and number < 1:
            raise ConfigError(f"{name.replace('_', ' ')} must be at least 1, not {number}")
    if catalog.takes_depth(request.model):
        if request.depth is None:
            raise ConfigError(f"the family {request.model!r} needs a depth; add one, as in --depth 2")
        return
    for name in ("depth", "width"):
        if getattr(request, name) is not None:
            raise ConfigError(
                f"the model {request.model!r} has a fixed size and takes no {name}; "
                f"remove --{name}, or choose a family of `revbench list`"
            )


def _summarise(request: Request, title: str) -> Summary:
    """The layers; whatever the code of a model raises becomes a sentence, since plugins may fail in any way."""
    step = "built"
    try:
        with fake_world():
            model = registry.build(request.model, timesteps=request.timesteps, depth=request.depth, width=request.width)
            step = "run"
            return summarise(model, request.batch_size)
    except Exception as error:
        # A network's own words for a size that it cannot have need no file and line.
        own_words = step == "built" and isinstance(error, ValueError)
        why = " ".join(str(error).split()) if own_words else describe_failure(error)[1]
        failure = CaseError if is_target(request.model) else ConfigError
        raise failure(f"{title} cannot be {step}: {why}") from error
