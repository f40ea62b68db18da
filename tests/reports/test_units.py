from fractions import Fraction

from revbench.reports.units import (
    bytes_text,
    count_text,
    mebibytes,
    mebibytes_text,
    millions_text,
    milliseconds_text,
    rate_text,
)


def test_numbers_are_printed_in_their_units() -> None:
    """Bytes become MiB, seconds ms and counts millions, with a fixed number of decimals."""
    assert mebibytes(13_631_488) == 13.0
    assert mebibytes_text(27_262_976) == "26.00"
    assert milliseconds_text(0.01234) == "12.3"
    assert millions_text(11_690_000) == "11.69"
    assert count_text(1024) == "1,024"
    assert rate_text(170.66) == "170.7"


def test_bytes_are_printed_to_the_byte() -> None:
    """Whole bytes are never rounded; a fraction of one, as of a slope, has two decimals."""
    assert bytes_text(27_262_977) == "27,262,977 B"
    assert bytes_text(Fraction(-7, 3)) == "-2.33 B"


def test_what_is_missing_is_a_dash() -> None:
    """A number that is not there is printed as `-`, never as zero."""
    assert {text(None) for text in (mebibytes_text, milliseconds_text, millions_text, count_text, rate_text)} == {"-"}
