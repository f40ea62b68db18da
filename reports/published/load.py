"""Reading the files of published numbers, strictly: a misspelt key, a unit that is none, a number twice is an error."""

import tomllib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from revbench.bench.analysis.big_o import GrowthClass
from revbench.bench.cases import DType
from revbench.reports.published.numbers import (
    COSTS,
    UNITS,
    Claim,
    Paper,
    Provenance,
    PublishedCounter,
    PublishedNumber,
    Quantity,
    Reversible,
)

FOLDER = Path(__file__).parent
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class PublishedError(ValueError):
    """A file of published numbers says something that it may not."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Paper(_Strict):
    name: Text
    venue: Text | None = None
    link: Text | None = None


class _Settings(_Strict):
    """What a row, or all rows of a table, may say beside their numbers."""

    method: Text | None = None
    against: Text | None = None
    against_model: Text | None = None
    model: Text | None = None
    rule: Text | None = None
    condition: Text | None = None
    dataset: Text | None = None
    depth: PositiveInt | None = None
    timesteps: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    precision: DType | None = None
    gpu: Text | None = None
    counter: PublishedCounter | None = None
    note: Text | None = None


class _Row(_Settings):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Number] = Field(init=False)


class _Table(_Strict):
    place: Text
    provenance: Provenance
    source: Text
    note: Text | None = None
    units: dict[Quantity, str] = Field(min_length=1)
    shared: _Settings = _Settings()
    rows: list[_Row] = Field(min_length=1)


class _Claims(_Strict):
    place: Text
    method: Text
    rule: Text
    reversible: Reversible | None = None
    training_memory: GrowthClass | None = None
    training_time: GrowthClass | None = None
    inference_cost: GrowthClass | None = None
    provenance: Provenance | Literal["derived"]
    source: Text


class _File(_Strict):
    paper: _Paper
    tables: list[_Table] = []
    claims: list[_Claims] = []


def read_paper(path: Path) -> tuple[tuple[PublishedNumber, ...], tuple[Claim, ...]]:
    """The numbers and claims of one file, in its order.

    Raises:
        PublishedError: the file is not of this form.
    """
    file = _read(path)
    numbers = tuple(number for table in file.tables for number in _numbers(path.stem, table))
    claims = tuple(claim for said in file.claims for claim in _claims(path.stem, said))
    identities = [number.identity for number in numbers]
    identities += [(claim.place, claim.method, claim.rule, claim.reversible, claim.cost) for claim in claims]
    seen: set[object] = set()
    for identity in identities:
        if identity in seen:
            raise PublishedError(f"{path.name}: published twice: {_told(identity)}")
        seen.add(identity)
    return numbers, claims


@cache
def published_papers() -> tuple[Paper, ...]:
    """All papers of which the project ships numbers, by name of their file."""
    return tuple(Paper(key=path.stem, **_read(path).paper.model_dump()) for path in _files())


@cache
def published_numbers() -> tuple[PublishedNumber, ...]:
    """All numbers that the project ships, paper by paper."""
    return tuple(number for path in _files() for number in read_paper(path)[0])


@cache
def published_claims() -> tuple[Claim, ...]:
    """All claims of growth that the project ships."""
    return tuple(claim for path in _files() for claim in read_paper(path)[1])


def _read(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PublishedError(f"{path.name}: {error}") from error


def _files() -> list[Path]:
    return sorted(FOLDER.glob("*.toml"))


def _numbers(paper: str, table: _Table) -> Iterable[PublishedNumber]:
    where = f"{paper}.toml, {table.place}"
    for quantity, unit in table.units.items():
        if unit not in UNITS[quantity]:
            raise PublishedError(f"{where}: {quantity} has no unit {unit!r}; it has {', '.join(UNITS[quantity])}")
    for row in table.rows:
        values = row.__pydantic_extra__
        settings = _said(table.shared) | _said(row)
        if unknown := values.keys() - table.units.keys():
            raise PublishedError(f"{where}: {min(unknown)} is neither a setting nor a quantity with a unit")
        if not values:
            raise PublishedError(f"{where}: a row without a number: {_told(settings.values())}")
        if "method" not in settings:
            raise PublishedError(f"{where}: a row without a method")
        notes = "; ".join(note for note in (table.note, settings.pop("note", None)) if note)
        counter = settings.pop("counter", None)
        for quantity, unit in table.units.items():
            if quantity in values:
                number = PublishedNumber(
                    paper=paper,
                    place=table.place,
                    quantity=quantity,
                    value=values[quantity],
                    unit=unit,
                    provenance=table.provenance,
                    source=table.source,
                    note=notes,
                    **settings,
                )
                yield _with_counter(number, counter, where)


def _with_counter(number: PublishedNumber, counter: PublishedCounter | None, where: str) -> PublishedNumber:
    """A number of memory says what counted it, if only that this is unknown."""
    if not number.is_memory:
        return number
    if counter is None:
        raise PublishedError(f"{where}: {number.quantity} of {number.method} without a counter")
    return replace(number, counter=counter)


def _claims(paper: str, said: _Claims) -> list[Claim]:
    found = [
        Claim(
            paper=paper,
            place=said.place,
            method=said.method,
            rule=said.rule,
            reversible=said.reversible,
            cost=cost,
            growth=growth,
            provenance=said.provenance,
            source=said.source,
        )
        for cost in COSTS
        if (growth := getattr(said, cost)) is not None
    ]
    if not found:
        raise PublishedError(f"{paper}.toml, {said.place}: {said.method} claims nothing")
    return found


def _said(settings: _Settings) -> dict[str, Any]:
    """What is set, without quantities."""
    return {name: getattr(settings, name) for name in _Settings.model_fields if getattr(settings, name) is not None}


def _told(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values if value not in (None, ""))
