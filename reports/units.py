"""From what is stored (bytes, seconds, joules) to what is printed (MiB, ms, µJ).

Nothing left of here knows these units. A missing number stays missing: it is printed as `-`.
"""

import math
from fractions import Fraction

BYTES_PER_MEBIBYTE = 2**20
MILLISECONDS_PER_SECOND = 1000
SECONDS_PER_MINUTE = 60
MICROJOULES_PER_JOULE = 1e6
MILLIJOULES_PER_JOULE = 1e3
MISSING = "-"


def mebibytes(num_bytes: float | Fraction) -> float:
    """Bytes in MiB."""
    return float(num_bytes / BYTES_PER_MEBIBYTE)


def bytes_text(num_bytes: int | Fraction) -> str:
    """Bytes to the byte: `27,262,976 B`; a fraction of a byte, as a mean slope may have, with two decimals."""
    exact = Fraction(num_bytes)
    return f"{exact.numerator:,} B" if exact.denominator == 1 else f"{float(exact):,.2f} B"


def mebibytes_text(num_bytes: float | Fraction | None) -> str:
    """Bytes in MiB, without the unit: `13.00`."""
    return MISSING if num_bytes is None else f"{mebibytes(num_bytes):,.2f}"


def milliseconds_text(seconds: float | None) -> str:
    """Seconds in ms, without the unit: `12.3`."""
    return MISSING if seconds is None else f"{seconds * MILLISECONDS_PER_SECOND:,.1f}"


def minutes_text(seconds: float | None) -> str:
    """Seconds in minutes, without the unit: `9.1`."""
    return MISSING if seconds is None else f"{seconds / SECONDS_PER_MINUTE:,.1f}"


def percent_text(share: float | None) -> str:
    """A share in percent with one decimal, without the unit; it may be negative: `24.8`."""
    return MISSING if share is None else f"{100 * share:.1f}"


def millions_text(count: float | None) -> str:
    """A count in millions: `11.69`."""
    return MISSING if count is None else f"{count / 1e6:,.2f}"


def count_text(count: int | None) -> str:
    """A count as it is: `1,024`."""
    return MISSING if count is None else f"{count:,}"


def rate_text(per_second: float | None) -> str:
    """A rate with one decimal: `170.7`."""
    return MISSING if per_second is None else f"{per_second:,.1f}"


def exponent_text(value: float | None) -> str:
    """A small number by its magnitude: `4.1e-08`; zero as `0`."""
    return MISSING if value is None else f"{value:.1e}" if value else "0"


def share_text(share: float | None) -> str:
    """A share in percent: `0.75 %`; what is not zero is never printed as zero."""
    if share is None:
        return MISSING
    return f"{100 * share:.2f} %" if not share or share >= 5e-5 else f"{100 * share:.0e} %"


def cosine_text(cosine: float | None) -> str:
    """A cosine with three decimals: `0.222`."""
    return MISSING if cosine is None else f"{cosine:.3f}"


def significant_text(value: float | None, digits: int = 3) -> str:
    """A number of any size with so many digits that matter: `14,100`, `3.91`, `0.0123`."""
    if value is None or not value:
        return MISSING if value is None else "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def millijoules_text(joules: float | None) -> str:
    """Joules in mJ with three digits, without the unit: `50.3`."""
    return MISSING if joules is None else significant_text(joules * MILLIJOULES_PER_JOULE)


def microjoules(joules: float) -> float:
    """Joules in µJ."""
    return joules * MICROJOULES_PER_JOULE
