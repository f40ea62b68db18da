"""From a suite to its cases: overrides from the command line, the product of the axes, and selection."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any, Protocol

from revbench.bench.cases import CASE_FIELDS, Case, Device
from revbench.bench.config import Axes, Overrides, Suite, check_overrides
from revbench.bench.errors import ConfigError, nearest

_SINGULAR = {"model": "models"}
_FROM_LABEL = {"T": "timesteps", "batch": "batch_size"}
_NUMBERS = frozenset({"depth", "width", "timesteps", "batch_size", "seed", "timeout_s"})
_SHOWN = 8


class ModelCatalog(Protocol):
    """What expansion must know about models and rules."""

    def names(self) -> list[str]:
        """All models and families."""

    def check(self, name: str) -> None:
        """Raises ConfigError if there is no such model."""

    def rules(self) -> list[str]:
        """All rules; a K in a name stands for a number."""

    def is_rule(self, name: str) -> bool:
        """Whether there is a rule of this name."""

    def takes_depth(self, name: str) -> bool:
        """Whether it is a family, whose depth and width are chosen, rather than a model of a fixed size."""

    def takes_width(self, name: str) -> bool:
        """Whether its width is chosen as well."""

    def is_reversible(self, name: str) -> bool:
        """Whether it can recompute its activations."""

    def has_states(self, name: str) -> bool:
        """Whether it has states that can survive to the backward pass in several ways."""


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Overrides as the command line gives them, `depth=1,2,4`, for `Suite.with_overrides`.

    Raises:
        ConfigError: a text is not `key=value`, a key is unknown or given twice, or a value cannot be used.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, right = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise ConfigError(f"the override {text!r} is not key=value; write it as depth=1,2,4")
        key = _SINGULAR.get(key, key)
        if key not in Overrides.model_fields:
            raise ConfigError(f"the override {text!r} has an unknown key; {nearest(key, list(Overrides.model_fields))}")
        if key in values:
            raise ConfigError(f"{key} is overridden twice; separate its values by commas")
        values[key] = _parse_values(key, right, text)
    return check_overrides(values)


def _parse_values(key: str, right: str, text: str) -> Any:
    parts = [part.strip() for part in right.split(",")]
    if not all(parts):
        raise ConfigError(f"the override {text!r} has an empty value; write it as {key}=VALUE or {key}=VALUE,VALUE")
    values = [_parse_number(part) for part in parts] if key in _NUMBERS else parts
    return values[0] if len(values) == 1 else values


def _parse_number(text: str) -> int | float | str:
    """The number that the text writes; any other text as it is, for the check of types to name."""
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def expand(suite: Suite, device: Device, catalog: ModelCatalog) -> list[Case]:
    """The cases of a suite: the product of its axes, for each of its sweeps, without duplicates, in a stable order.

    The loops nest in the order of the fields of a case, `rule` outermost, and the models are the innermost loop: the
    models under comparison are neighbours. `activations` other than `checkpointed` count for reversible models only,
    and `states` for those that have them where activations are recomputed; other cases get None. Models that the suite
    trains with BPTT only have no case of another rule.

    Raises:
        ConfigError: a model or rule is unknown, a family lacks a depth, or a model of a fixed size was given one.
    """
    return list(dict.fromkeys(case for grid in suite.grids() for case in _grid(grid, device, catalog)))


def _grid(suite: Suite, device: Device, catalog: ModelCatalog) -> list[Case]:
    """The cases of a suite without sweeps."""
    _check_names(suite, catalog)
    _check_sizes(suite, catalog)
    axes: dict[str, tuple[Any, ...]] = {axis: values for axis in Axes.model_fields if (values := getattr(suite, axis))}
    cases = (
        Case(model=model, device=device, **dict(zip(axes, point, strict=True)))
        for point in product(*axes.values())
        for model in suite.models
    )
    wanted = (case for case in cases if case.rule == "bptt" or case.model not in suite.bptt_only)
    return [_meaningful(case, catalog) for case in wanted]


def _meaningful(case: Case, catalog: ModelCatalog) -> Case:
    if not catalog.is_reversible(case.model) and case.activations != "checkpointed":
        case = replace(case, activations=None)
    if not catalog.has_states(case.model) or case.activations in ("stored", "checkpointed"):
        return replace(case, states=None)
    return case


def _check_names(suite: Suite, catalog: ModelCatalog) -> None:
    for name in (*suite.models, *suite.bptt_only):
        try:
            catalog.check(name)
        except ConfigError as error:
            raise ConfigError(f"suite {suite.name!r}: {error}") from error
    for name in suite.rule:
        if not catalog.is_rule(name):
            raise ConfigError(f"suite {suite.name!r}: there is no rule {name!r}; {nearest(name, catalog.rules())}")


def _check_sizes(suite: Suite, catalog: ModelCatalog) -> None:
    families = [name for name in catalog.names() if catalog.takes_depth(name)]
    sizes = [axis for axis in ("depth", "width") if getattr(suite, axis)]
    for model in suite.models:
        if catalog.takes_depth(model) and not suite.depth:
            raise ConfigError(f"suite {suite.name!r}: the family {model!r} needs a depth; add one, as in depth=1,2,4")
        if not catalog.takes_depth(model) and sizes:
            raise ConfigError(
                f"suite {suite.name!r}: the model {model!r} has a fixed size and takes no {sizes[0]}; "
                f"remove {sizes[0]}, or choose only families: {', '.join(families)}"
            )


def select(cases: Sequence[Case], only: Sequence[str] = (), limit: int | None = None) -> list[Case]:
    """The cases for which all of `only` holds, the first `limit` of them.

    Args:
        cases: the cases to choose from.
        only: parts of a label (`revs`), or `key=value` with a field of the case as in `model=revsresnet` or as in a
            label (`T=4`).
        limit: how many cases at most.

    Raises:
        ConfigError: a key is unknown, the limit is not positive, or nothing is left.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"the limit of cases must be at least 1, not {limit}")
    chosen = list(cases)
    for text in only:
        chosen = _matching(chosen, text)
    return chosen[:limit]


def _matching(cases: Sequence[Case], text: str) -> list[Case]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if equals:
        field = _FROM_LABEL.get(key, key)
        if field not in CASE_FIELDS:
            raise ConfigError(f"no case has the key of {text!r}; {nearest(field, list(CASE_FIELDS))}")
        offered = [str(getattr(case, field)) for case in cases]
        chosen = [case for case, offer in zip(cases, offered, strict=True) if offer == value]
    else:
        offered = [case.label() for case in cases]
        chosen = [case for case, offer in zip(cases, offered, strict=True) if key in offer]
    if not chosen:
        raise ConfigError(f"no case matches {text!r}; choose from: {_listed(offered)}")
    return chosen


def _listed(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = f", ... ({len(distinct)} in all)" if len(distinct) > _SHOWN else ""
    return ", ".join(distinct[:_SHOWN]) + more
