"""Models from anyone's code: `package.module:function`, in the place of a model's name.

The function is called with those of `timesteps`, `depth`, `width`, `activations` and `states` that it takes, and its
result is an `nn.Module`. What the module reads is its own attribute `input_shape` (`"3x32x32"`, or `"Tx2x48x48"` for
event frames), else what stands behind an `@` in the name, else 3x32x32.
"""

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from revbench.models.entry import ModelEntry
from revbench.models.networks.outside import adapt
from revbench.models.networks.spiking import CIFAR, InputShape, SpikingNetwork

OPTIONS = ("timesteps", "depth", "width", "activations", "states")
"""What a function is given, if it takes it."""


class TargetError(Exception):
    """A target cannot be read, imported or called; the message is a sentence."""


def is_target(name: str) -> bool:
    """Whether a model's name means a function of someone's module."""
    return ":" in name


def with_input(name: str, shape: str) -> str:
    """The target with the form of its input.

    Raises:
        TargetError: it has one already, or this is none.
    """
    if "@" in name:
        raise TargetError(f"the input of {name!r} is told twice; leave out one of the two")
    parse_input(shape)
    return f"{name}@{shape}"


def parse_input(text: str) -> InputShape:
    """The form `3x32x32` of images, channels first, or `Tx2x48x48` of event frames.

    Raises:
        TargetError: the text is neither.
    """
    found = re.fullmatch(r"(Tx)?([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise TargetError(f"the input {text!r} is not of the form 3x32x32 for images, or Tx2x48x48 for event frames")
    channels, height, width = map(int, found.groups()[1:])
    return InputShape(kind="events" if found[1] else "images", channels=channels, height=height, width=width)


def entry(name: str) -> ModelEntry:
    """What the registry has to know of the target; imports it.

    Raises:
        TargetError: there is no such function, or it cannot be imported or called.
    """
    target, _, shape = name.partition("@")
    module_name, _, function_name = target.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", target):
        raise TargetError(
            f"{target!r} is not of the form package.module:function; write the model as in nets.vgg:build"
        )
    told = parse_input(shape) if "@" in name else None
    function = _function(module_name, function_name)
    takes = _taken(target, function)
    return ModelEntry(
        name=name,
        summary=(inspect.getdoc(function) or "").partition("\n")[0],
        build=partial(_build, target, function, takes, told),
        family="depth" in takes,
        fixed=frozenset({"width"} - takes),
        reversible="activations" in takes,
        states="states" in takes,
    )


def _function(module_name: str, name: str) -> Callable[..., Any]:
    module = _imported(module_name)
    if not hasattr(module, name):
        near = get_close_matches(name, [key for key, value in vars(module).items() if callable(value)], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"define it in {getattr(module, '__file__', module_name)}"
        raise TargetError(f"the module {module_name!r} has no function {name!r}; {hint}")
    function = getattr(module, name)
    if isinstance(function, nn.Module) or not callable(function):
        raise TargetError(
            f"{module_name}:{name} is {_described(function)}, not a function; name a function that makes an nn.Module"
        )
    return function  # type: ignore[no-any-return]


def _imported(name: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with _disable_current_modes():  # constants of the module are real, whatever world it is imported in
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(
                f"there is no module {error.name!r} in {folder} or where Python looks; run in the folder that holds it"
            ) from None
        raise TargetError(_not_importable(name, error)) from error
    except Exception as error:
        raise TargetError(_not_importable(name, error)) from error


def _not_importable(name: str, error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"the module {name!r} cannot be imported: {type(error).__name__}: {lines[0]}{where}; mend it there"


def _taken(target: str, function: Callable[..., Any]) -> frozenset[str]:
    """The options that the function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some classes of C do not tell
        return frozenset()
    named = [p for p in parameters if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}]
    unknown = [p.name for p in named if p.default is p.empty and p.name not in OPTIONS]
    unknown += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if unknown:
        raise TargetError(
            f"{target} needs {', '.join(map(repr, unknown))}, and is given no more than {', '.join(OPTIONS)}; "
            "give the others a default"
        )
    return frozenset(p.name for p in named if p.name in OPTIONS)


def _build(
    target: str, function: Callable[..., Any], takes: frozenset[str], told: InputShape | None, **options: Any
) -> SpikingNetwork:
    module = function(**{name: value for name, value in options.items() if name in takes})
    if not isinstance(module, nn.Module):
        raise TypeError(f"{target} returns {_described(module)}, not an nn.Module")
    num_classes = getattr(module, "num_classes", None)
    own = _own_input(module)
    if own and told and own != told:
        raise ValueError(f"{target} reads {own}, as its attribute input_shape says, and not {told}")
    shape = own or told or CIFAR
    return adapt(module, shape, options["timesteps"], num_classes if type(num_classes) is int else None)


def _own_input(module: nn.Module) -> InputShape | None:
    own = getattr(module, "input_shape", None)
    if isinstance(own, str):
        return parse_input(own)
    return own if isinstance(own, InputShape) else None


def _described(value: object) -> str:
    return "None" if value is None else f"an object of the type {type(value).__name__}"
