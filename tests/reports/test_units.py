from fractions import Fraction

from revbench.reports.units import (
    bytes_text,
    cosine_text,
    count_text,
    exponent_text,
    mebibytes,
    mebibytes_text,
    millions_text,
    milliseconds_text,
    rate_text,
    share_text,
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
    bytes_and_seconds = (mebibytes_text, milliseconds_text, millions_text, count_text, rate_text)
    assert {text(None) for text in (*bytes_and_seconds, exponent_text, share_text, cosine_text)} == {"-"}


def test_small_numbers_are_printed_by_their_magnitude() -> None:
    """With two digits and an exponent; zero is plain."""
    assert exponent_text(4.149e-8) == "4.1e-08"
    assert exponent_text(1.0) == "1.0e+00"
    assert exponent_text(0.0) == "0"


def test_shares_are_percents_and_few_is_not_none() -> None:
    """Two decimals; a share too small for them keeps its magnitude, and only zero is printed as zero."""
    assert share_text(0.0075) == "0.75 %"
    assert share_text(1.0) == "100.00 %"
    assert share_text(5e-5) == "0.01 %"
    assert share_text(4.9e-5) == "5e-03 %"
    assert share_text(1.4e-6) == "1e-04 %"
    assert share_text(0.0) == "0.00 %"


def test_cosines_have_three_decimals_and_a_sign() -> None:
    """From opposite to equal."""
    assert [cosine_text(value) for value in (-1.0, -0.0352, 0.2216, 0.99977, 1.0)] == [
        "-1.000",
        "-0.035",
        "0.222",
        "1.000",
        "1.000",
    ]
