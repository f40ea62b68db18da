"""Reading `bench.toml`: suites as people write them, checked so that every mistake is answered in one sentence."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from revbench.bench.cases import Activations, DType, LossName, OptimizerName, States
from revbench.bench.errors import ConfigError, nearest
from revbench.bench.gate.tolerances import Tolerances
from revbench.bench.records import PassName

FILE_NAME = "bench.toml"


def _to_tuple(value: object) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Value = TypeVar("Value")
Values = Annotated[tuple[Value, ...], BeforeValidator(_to_tuple), Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Axes(_Table):
    """The axes of a grid of cases, in the order of the fields of a case; an empty axis leaves the case its default."""

    rule: Values[str] = ()
    loss: Values[LossName] = ()
    depth: Values[PositiveInt] = ()
    width: Values[PositiveInt] = ()
    activations: Values[Activations] = ()
    states: Values[States] = ()
    timesteps: Values[PositiveInt] = ()
    batch_size: Values[PositiveInt] = ()
    dtype: Values[DType] = ()
    optimizer: Values[OptimizerName] = ()
    seed: Values[NonNegativeInt] = ()


def _with_an_axis(sweep: Axes) -> Axes:
    if not sweep.model_fields_set:
        raise ValueError("must name an axis")
    return sweep


Sweep = Annotated[Axes, AfterValidator(_with_an_axis)]


class Overrides(Axes):
    """What the command line may replace in a suite; only the keys that are set count."""

    models: Values[str] = ()
    passes: Values[PassName] = ()
    timeout_s: Seconds | None = None


class Suite(Axes):
    """A named grid of cases.

    Attributes:
        title: the suite in a few words, for headings.
        claim: the claim that the suite examines, a sentence.
        mirrors: the table or figure of a paper that its results stand beside; empty if there is none.
        models: models or families under comparison.
        passes: the ways of looking at each case.
        bptt_only: those of the models that no other rule of the suite trains.
        timeout_s: how long one pass over one case may take.
        predict: axes that replace those of the suite in predictions.
        sweeps: axes that replace those of the suite (and of predictions), one table after the other: the cases are
            those of all sweeps together; none for one grid.
        note: what else one should know before quoting its results; empty if there is nothing.
        epoch_images: images of an epoch, where the suite stands for training on a known data set: epoch times are
            extrapolated from throughput.
    """

    title: str
    claim: str
    mirrors: str = ""
    note: str = ""
    models: Values[str]
    passes: Values[PassName] = ("memory", "time")
    bptt_only: Values[str] = ()
    timeout_s: Seconds = 600.0
    predict: Axes = Axes()
    sweeps: Values[Sweep] = ()
    epoch_images: PositiveInt | None = None
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name in the header of the table, `[suites.NAME]`."""
        return self._name

    def with_overrides(self, overrides: Mapping[str, Any]) -> Self:
        """The suite with keys replaced, in predictions and sweeps too.

        Raises:
            ConfigError: a key is unknown or a value cannot be used.
        """
        replaced = check_overrides(overrides)
        predict, *sweeps = (
            Axes(**axes.model_dump(exclude_unset=True, exclude=set(replaced))) for axes in (self.predict, *self.sweeps)
        )
        return self.model_copy(update={**replaced, "predict": predict, "sweeps": tuple(sweeps)})

    def for_prediction(self) -> Self:
        """The suite with the axes of its `predict` table in place of its own."""
        return self._with_axes(self.predict)

    def grids(self) -> list[Self]:
        """A suite without sweeps for each sweep; the suite itself where it has none."""
        return [self._with_axes(sweep).model_copy(update={"sweeps": ()}) for sweep in self.sweeps] or [self]

    def _with_axes(self, axes: Axes) -> Self:
        return self.model_copy(update=axes.model_dump(exclude_unset=True))


class Check(_Table):
    """How `revbench check` judges.

    Attributes:
        tolerance: how much more than the baseline each counter may be.
    """

    tolerance: Tolerances = Tolerances()


class Config(_Table):
    """What a suite file says."""

    suites: dict[str, Suite]
    check: Check = Check()

    def model_post_init(self, _context: object) -> None:
        """Tells each suite its name."""
        for name, suite in self.suites.items():
            suite._name = name

    def suite(self, name: str) -> Suite:
        """The suite of that name.

        Raises:
            ConfigError: there is none; the message ends in the nearest name.
        """
        if name not in self.suites:
            raise ConfigError(f"there is no suite {name!r}; {nearest(name, list(self.suites))}")
        return self.suites[name]


def find_config(explicit: Path | None = None) -> Path:
    """The suite file to read: the explicit one, else that of the working directory, else that of the package."""
    if explicit is not None:
        return explicit
    local = Path.cwd() / FILE_NAME
    return local if local.is_file() else Path(__file__).parent.parent / FILE_NAME


def load_config(path: Path) -> Config:
    """Reads and checks a suite file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or says something that cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the suite file {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for integers too long and lists too deep
        raise ConfigError(f"{path} is not TOML: {_with_position(str(error), text)}; mend it there") from None
    config = _checked(Config, data, str(path))
    for name in config.suites:
        if name == "records" or not re.fullmatch(r"\w[\w .-]*", name):
            raise ConfigError(
                f"{path}: {_dotted(['suites', name])} cannot name the suite's files; "
                "use letters, digits, - and _, and another word than records"
            )
    return config


def check_overrides(values: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of a suite, with every axis as a tuple of values of the right type.

    Raises:
        ConfigError: a key is unknown or a value cannot be used.
    """
    return _checked(Overrides, dict(values), "overrides").model_dump(exclude_unset=True)


Model = TypeVar("Model", bound=_Table)


def _checked(model: type[Model], data: Mapping[str, Any], source: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A misspelt key comes first: the key that it was meant to be is reported as missing besides.
        first = min(error.errors(include_url=False), key=lambda details: details["type"] != "extra_forbidden")
    raise ConfigError(f"{source}: {_sentence(model, first)}")


_MUST = {
    "int_type": "be an integer",
    "float_type": "be a number",
    "finite_number": "be a finite number",
    "string_type": "be a string",
    "dict_type": "be a table",
    "model_type": "be a table",
    "too_short": "be one value or more",
    "greater_than": "be greater than {gt:g}",
    "greater_than_equal": "be at least {ge:g}",
}


def _sentence(model: type[_Table], error: ErrorDetails) -> str:
    value, context = error["input"], error.get("ctx", {})
    names = [step for step in error["loc"] if isinstance(step, str)]  # without the places in lists
    key = _dotted(names)
    match error["type"]:
        case "extra_forbidden":
            return f"{key} is not a known key; {nearest(names[-1], _keys_beside(model, names))}"
        case "missing":
            return f"{key} is missing; add it"
        case "literal_error":
            valid = re.findall(r"'(\w+)'", context["expected"])
            return f"{key} cannot be {_described(value)}; {nearest(str(value), valid)}"
        case "value_error":
            return f"{key} {context['error']}, not {_described(value)}"
        case kind:
            return f"{key} must {_MUST[kind].format(**context)}, not {_described(value)}"


def _keys_beside(model: type[_Table], names: Sequence[str]) -> list[str]:
    """The valid keys of the table that holds the last of `names`: of the file, or of a table in it."""
    tables: dict[int, type[BaseModel]] = {1: model, 3: Suite, 4: Axes}
    if names[0] == "check":
        tables |= {2: Check, 3: Tolerances}
    return list(tables[len(names)].model_fields)


def _dotted(names: Sequence[str]) -> str:
    """The key as TOML writes it: `suites."my suite".depth`."""
    return ".".join(name if re.fullmatch(r"[\w-]+", name) else json.dumps(name) for name in names)


def _described(value: object) -> str:
    """What was found, as TOML writes it: `the string "4"`."""
    scalars = {bool: "boolean", str: "string", int: "integer", float: "float"}
    if type(value) in scalars:
        return f"the {scalars[type(value)]} {json.dumps(value, ensure_ascii=False)}"
    match value:
        case [] | ():
            return "an empty list"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table" if value else "an empty table"
    return f"a {type(value).__name__}"


def _with_position(message: str, text: str) -> str:
    """The parser's message; where it says only that the document ended, with the line and column of its end."""
    lines = text.split("\n")
    return message.replace("at end of document", f"at the end, line {len(lines)}, column {len(lines[-1]) + 1}")
