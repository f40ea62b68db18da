"""One case from what the command line says, and a second one that differs from it in what is told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from revbench.bench.cases import Case, Device
from revbench.bench.config import Axes
from revbench.bench.errors import ConfigError, nearest
from revbench.bench.suites import ModelCatalog, parse_overrides

SIZES = ("depth", "width")


def one_case(model: str, choices: Mapping[str, Any], device: Device, catalog: ModelCatalog) -> Case:
    """The case of this model with the choices that are not None.

    Raises:
        ConfigError: there is no such model or rule, a choice cannot be used, or the model has no such choice.
    """
    catalog.check(model)
    told = [f"{key}={value}" for key, value in choices.items() if value is not None]
    case = Case(model=model, device=device, **_choices(told))
    _check(case, catalog)
    return case


def _choices(texts: Sequence[str]) -> dict[str, Any]:
    """The fields of a case that are written as `key=value`."""
    for key in (text.partition("=")[0].strip() for text in texts):
        if key not in Axes.model_fields:
            raise ConfigError(f"a case has no {key!r} that can be chosen; {nearest(key, list(Axes.model_fields))}")
    try:
        return {key: values[0] for key, values in parse_overrides(texts).items()}
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("overrides: ")) from None


def another_case(case: Case, text: str, catalog: ModelCatalog) -> Case:
    """The case with what the text replaces: a model, `key=value`, or both with commas between.

    A depth, a width, and ways to keep activations or states that the other model does not have are left behind.

    Raises:
        ConfigError: the text cannot be read, or the other case cannot be.
    """
    parts = [part.strip() for part in text.split(",")]
    models = [part for part in parts if "=" not in part]
    if len(models) > 1 or not all(parts):
        raise ConfigError(f"{text!r} is not MODEL, KEY=VALUE, or both as in revsresnet37,activations=stored")
    replaced = _choices([part for part in parts if "=" in part])
    model = models[0] if models else case.model
    catalog.check(model)
    inherited = case if model == case.model else _without_what_it_lacks(replace(case, model=model), catalog)
    other = replace(inherited, **replaced)
    _check(other, catalog)
    if other == case:
        raise ConfigError(
            f"the case {case.label()} cannot be compared with itself; change something, as in --against rule=sltt"
        )
    return other


def _without_what_it_lacks(case: Case, catalog: ModelCatalog) -> Case:
    if not catalog.takes_depth(case.model):
        case = replace(case, depth=None, width=None)
    if case.activations != "checkpointed" and not catalog.is_reversible(case.model):
        case = replace(case, activations=None)
    return case if catalog.has_states(case.model) else replace(case, states=None)


def _check(case: Case, catalog: ModelCatalog) -> None:
    if not catalog.is_rule(case.rule):
        raise ConfigError(f"there is no rule {case.rule!r}; {nearest(case.rule, catalog.rules())}")
    if catalog.takes_depth(case.model) and case.depth is None:
        raise ConfigError(f"the family {case.model!r} needs a depth; add one, as in --depth 2")
    sizes = [name for name in SIZES if getattr(case, name) is not None]
    if sizes and not catalog.takes_depth(case.model):
        raise ConfigError(
            f"the model {case.model!r} has a fixed size and takes no {sizes[0]}; "
            f"leave out {sizes[0]}, or choose a family of `revbench list`"
        )
    if case.width is not None and not catalog.takes_width(case.model):
        raise ConfigError(f"the function {case.model!r} takes no width; leave out width")
    if case.activations in ("recomputed", "stored") and not catalog.is_reversible(case.model):
        raise ConfigError(
            f"the model {case.model!r} is not reversible, so its activations are stored in any case; "
            "valid for it: checkpointed"
        )
    if case.states is not None and not catalog.has_states(case.model):
        raise ConfigError(f"the model {case.model!r} has no states that can be {case.states}; leave out states")
