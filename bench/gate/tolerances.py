"""How much more than its baseline a number may be, as `bench.toml` says."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator

from revbench.bench.records import Counter

TAUGHT = 'must be a number of bytes such as 4096 or a share such as "5%"'


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A share of the baseline, or bytes.

    Attributes:
        share: of the baseline; 0 where bytes were given.
        num_bytes: beside it.
    """

    share: Fraction = Fraction(0)
    num_bytes: int = 0

    def allows(self, before: int, now: int) -> bool:
        """Whether `now` is at most so much more than `before`."""
        return now - before <= self.share * before + self.num_bytes

    def __str__(self) -> str:
        """As `bench.toml` has it."""
        return f"{float(100 * self.share):g}%" if self.share else str(self.num_bytes)


def parse_tolerance(value: Any) -> Tolerance:
    """A tolerance as TOML has it: `4096` or `"5%"`.

    Raises:
        ValueError: it is neither; the message ends a sentence that begins with the key.
    """
    if isinstance(value, Tolerance):
        return value
    if type(value) is int and value >= 0:
        return Tolerance(num_bytes=value)
    if isinstance(value, str) and re.fullmatch(r"\d{1,6}(\.\d{1,6})? ?%", value):
        return Tolerance(share=Fraction(value.rstrip(" %")) / 100)
    raise ValueError(TAUGHT)


def _parse_share(value: Any) -> Tolerance:
    if type(value) is int:
        raise ValueError('must be a share such as "10%"')
    return parse_tolerance(value)


Bytes = Annotated[Tolerance, PlainValidator(parse_tolerance)]
Share = Annotated[Tolerance, PlainValidator(_parse_share)]


class Tolerances(BaseModel):
    """The tolerance of each counter, and the effect that a difference of times must have to count."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    traced: Bytes = Tolerance()
    cuda_requested: Bytes = Tolerance()
    cuda_allocated: Bytes = Tolerance(share=Fraction(2, 100))
    cuda_reserved: Bytes = Tolerance(share=Fraction(5, 100))
    time: Share = Tolerance(share=Fraction(10, 100))

    def of(self, counter: Counter) -> Tolerance:
        """That of a counter of bytes."""
        tolerance: Tolerance = getattr(self, counter)
        return tolerance
