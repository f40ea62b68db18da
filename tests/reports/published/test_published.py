"""The files of published numbers: what they may say, that they say it, and that mistakes do not get in."""

import re
from collections import Counter
from pathlib import Path

import pytest

from revbench.bench.catalog import Catalog
from revbench.reports.published import Claim, PublishedError, PublishedNumber, published_claims, published_numbers
from revbench.reports.published.load import FOLDER, read_paper
from revbench.reports.published.numbers import UNITS

FILES = sorted(FOLDER.glob("*.toml"))
SMALL = """\
[paper]
name = "Paper"

[[tables]]
place = "table 1"
provenance = "paper"
source = "the paper"
units = { memory = "GiB", accuracy = "%" }
shared = { timesteps = 4, counter = "reserved", note = "all" }
rows = [
    { method = "BPTT", rule = "bptt", memory = 3, accuracy = 94.6 },
    { method = "SLTT", rule = "sltt", timesteps = 6, memory = 1.09, note = "one" },
]

[[claims]]
place = "table 2"
method = "SLTT"
rule = "sltt"
training_memory = "O(L)"
inference_cost = "O(T)"
provenance = "derived"
source = "by construction"
"""


def read(text: str, folder: Path) -> tuple[tuple[PublishedNumber, ...], tuple[Claim, ...]]:
    """The numbers and claims of a file of that text."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return read_paper(path)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    """What rows share and what they say themselves meet in each number; a counter is that of memory alone."""
    numbers, claims = read(SMALL, tmp_path)
    assert [(n.quantity, n.value, n.unit, n.timesteps, n.counter, n.note) for n in numbers] == [
        ("memory", 3, "GiB", 4, "reserved", "all"),
        ("accuracy", 94.6, "%", 4, None, "all"),
        ("memory", 1.09, "GiB", 6, "reserved", "one"),
    ]
    assert {(n.paper, n.place, n.provenance, n.source) for n in numbers} == {("small", "table 1", "paper", "the paper")}
    assert [(claim.method, claim.cost, claim.growth) for claim in claims] == [
        ("SLTT", "training_memory", "O(L)"),
        ("SLTT", "inference_cost", "O(T)"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"GiB"', '"gigabytes"', "memory has no unit 'gigabytes'; it has B, MB"),
        ('accuracy = "%"', 'accurracy = "%"', "units"),
        ("accuracy = 94.6", "acuracy = 94.6", "acuracy is neither a setting nor a quantity"),
        ("memory = 3,", 'memory = "3",', "valid number"),
        ("memory = 3,", "memory = inf,", "finite"),
        ("timesteps = 6", "timesteps = 0", "greater than 0"),
        ("timesteps = 6", "timesteps = 6.0", "valid integer"),
        ('counter = "reserved"', 'counter = "pynvml"', "counter"),
        ('counter = "reserved", ', "", "without a counter"),
        ('provenance = "paper"', 'provenance = "hearsay"', "provenance"),
        ('provenance = "paper"\n', "", "provenance"),
        ('source = "the paper"\n', "", "source"),
        ('source = "the paper"', 'source = ""', "source"),
        ('method = "SLTT", ', "", "without a method"),
        (", memory = 3, accuracy = 94.6", "", "without a number"),
        ('method = "SLTT", rule = "sltt", timesteps = 6', 'method = "BPTT", rule = "bptt"', "published twice"),
        ('training_memory = "O(L)"\ninference_cost = "O(T)"\n', "", "claims nothing"),
        ('"O(L)"', '"O(L^2)"', "training_memory"),
        ("[paper]", "[papers]", "paper"),
        ("[[tables]]", "[[tables", "small.toml"),
    ],
)
def test_mistakes_do_not_get_in(before: str, after: str, message: str, tmp_path: Path) -> None:
    """Each thing that a file may not say is refused, with the name of the file."""
    assert before in SMALL
    with pytest.raises(PublishedError, match=re.escape(message)) as caught:
        read(SMALL.replace(before, after, 1), tmp_path)
    assert "small" in str(caught.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_holds(path: Path) -> None:
    """Each file that is shipped can be read, and says something."""
    numbers, claims = read_paper(path)
    assert numbers or claims
    for number in numbers:
        assert number.unit in UNITS[number.quantity]
        assert number.value > 0
        assert bool(number.against) == number.quantity.endswith(("_ratio", "_multiple", "_saved")), number


def test_nothing_is_published_twice() -> None:
    """No two numbers of all files are about the same."""
    identities = Counter(number.identity for number in published_numbers())
    assert len(identities) > 1000
    assert identities.most_common(1)[0][1] == 1


def test_models_and_rules_are_those_of_revbench() -> None:
    """A number that names a model or a rule of revbench names one that there is."""
    catalog = Catalog()
    named = {name for number in published_numbers() for name in (number.model, number.against_model)} - {None}
    assert len(named) > 20
    assert named <= set(catalog.names())
    rules = {number.rule for number in published_numbers()} - {None}
    rules |= {claim.rule.replace("K", "1") for claim in published_claims()}
    assert len(rules) > 5
    assert all(catalog.is_rule(str(rule)) for rule in rules)


def test_the_complexity_table_is_complete() -> None:
    """Each of the six methods has one claim for each of its three costs."""
    found = Counter((claim.method, claim.cost) for claim in published_claims())
    methods = ("STBP", "OTTT", "SLTT", "SLTT-K", "RevSNN", "T-RevSNN")
    costs = ("training_memory", "training_time", "inference_cost")
    assert found == Counter((method, cost) for method in methods for cost in costs)


def test_what_was_read_and_what_was_concluded_are_told_apart() -> None:
    """Of the complexity table the abstract states two cells; nothing that was concluded passes for published."""
    stated = [(claim.method, claim.cost) for claim in published_claims() if claim.provenance == "paper"]
    assert stated == [("T-RevSNN", "training_memory"), ("T-RevSNN", "inference_cost")]
    assert "derived" not in {number.provenance for number in published_numbers()}


def test_ratios_agree_with_the_memory_that_they_are_of() -> None:
    """SLTT's printed ratios are those of the printed memory of BPTT and SLTT, up to rounding."""
    memory = {
        (number.dataset, number.rule): number.value
        for number in published_numbers()
        if number.paper == "sltt" and number.place == "table of SLTT and BPTT" and number.quantity == "memory"
    }
    ratios = [number for number in published_numbers() if number.place == "ratios of that table"]
    assert len(ratios) == 5
    for ratio in ratios:
        assert ratio.value == pytest.approx(memory[ratio.dataset, "bptt"] / memory[ratio.dataset, "sltt"], abs=0.02)


def test_units_in_base_units() -> None:
    """A unit is worth what it says, and one that leaves it open is worth nothing."""
    by_unit = {number.unit: number for number in published_numbers() if number.is_memory}
    assert by_unit["MiB"].in_base_unit == by_unit["MiB"].value * 1024 * 1024
    assert by_unit["MB"].in_base_unit == by_unit["MB"].value * 1000 * 1000
    assert by_unit["MB or MiB"].in_base_unit is None
