"""What the terminal shows of energies: golden tables, and every sentence that must stand below them."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from closings import recorded
from energy_records import energy_records
from rich.console import Console

from revbench.bench.analysis.case_row import JOULES_METRICS
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.energy.joules import unmetered
from revbench.bench.records import Measurement, Record
from revbench.reports.energy_table import print_energy

CASE = Case(model="tiny")
TABLES = """\
Operations of an inference, in millions
               test        firing                                                            dense
model      accuracy          rate                  SOP                   AC         MAC        MAC
──────────────────────────────────────────────────────────────────────────────────────────────────
tiny   65.0 ±35.4 %  55.0 ±49.5 %  0.0000255 ±0.000023  0.0000255 ±0.000023  0.00000200  0.0000500
other       timeout       timeout              timeout              timeout     timeout    timeout

Energy of an inference in µJ, 45 nm, fp32 (4.6 pJ a MAC, 0.9 pJ an AC)
         papers'                         + memory:    SRAM,                         times the
model    formula  operations  + neurons    on chip     DRAM  no reuse  ± seeds          ANN's
─────────────────────────────────────────────────────────────────────────────────────────────
tiny   0.0000322   0.0000322   0.000195   0.000877   0.0101     0.177   65.3 %  0.499 to 3.02
other    timeout     timeout    timeout    timeout  timeout   timeout  timeout        timeout

Range of the energy in µJ, operations alone to no reuse, by cost model; on chips, of spikes alone
cost model                                                                      tiny        other
─────────────────────────────────────────────────────────────────────────────────────────────────
45 nm, fp32                                                       0.0000322 to 0.177            -
45 nm, fp16                                                      0.0000132 to 0.0893            -
45 nm, int32                                                     0.00000895 to 0.177            -
45 nm, int8                                                     0.00000122 to 0.0452            -
7 nm, fp32†                                                      0.0000131 to 0.0887            -
7 nm, fp16†                                                     0.00000508 to 0.0446            -
7 nm, int32†                                                    0.00000378 to 0.0887            -
7 nm, int8†                                                    0.000000332 to 0.0226            -
loihi                                                                       0.000602            -
truenorth†                                                                 0.0000638            -
tianjic                                                                    0.0000393            -
seneca                                                                     0.0000714            -
spinnaker2†                                                                 0.000255            -

Beside a quantised network: weights 8 bits, activations 3 bits, sums 32 bits, 45 nm
never: it takes less at any rate, neurons and encoding alone cost more
        quantised    spiking         input    even at:             + memory:    SRAM,
model          µJ         µJ          rate  operations  + neurons    on chip     DRAM  no reuse
───────────────────────────────────────────────────────────────────────────────────────────────
tiny   0.00000245  0.0000857  53.1 ±48.6 %      38.5 %      never      never    never     never
other     timeout    timeout       timeout     timeout    timeout    timeout  timeout   timeout

"""


def printed(records: list[Record]) -> str:
    """What a terminal of 100 columns shows, without trailing blanks."""
    console = Console(width=100, record=True, file=StringIO())
    print_energy(console, case_rows(records))
    return "".join(f"{line.rstrip()}\n" for line in console.export_text().splitlines())


def sentences(records: list[Record]) -> str:
    """All of it on one line."""
    return " ".join(printed(records).split())


def two_seeds() -> list[Record]:
    """One bright and accurate, one dim and poor."""
    return [*energy_records(CASE), *energy_records(replace(CASE, seed=1), brightness=0.3, accuracy=0.4)]


def test_tables() -> None:
    """Means and deviations over seeds, ranges by cost model, the quantised network, and a model that failed."""
    records = [*two_seeds(), *recorded(Case(model="other"), "energy", [], "timeout")]
    assert printed(records).startswith(TABLES)


def test_what_stands_below() -> None:
    """Conventions, training, marks, flags by the names of layers, and what is poor."""
    told = sentences(two_seeds())
    for sentence in (
        "One fused multiply-add is one operation.",
        "hypothetical hardware that skips zeros: a GPU runs dense kernels and pays for zeros too.",
        "The papers' formula stands here for comparison only",
        "Trained for 8 epochs on scikit-learn's digits and counted on other digits",
        "± is the standard deviation over 2 seeds.",
        "† constants that nobody has compared with their publication yet.",
        "tiny: saturated, nearly all fire nearly always in last_neuron (1 of 2 seeds).",
        "tiny, seed 1: only 40.00 % of the test digits are told apart; its rates mean little.",
    ):
        assert sentence in told, sentence
    assert "lower bound" not in told
    assert "silent" not in told


def test_one_seed_does_not_scatter() -> None:
    """There is neither a deviation nor a sentence about it."""
    told = sentences(energy_records(CASE))
    assert "±" not in told.replace("± seeds", "")


def test_weights_of_a_checkpoint() -> None:
    """The table says whose weights they are, and not that they were trained."""
    told = sentences(energy_records(replace(CASE, checkpoint="0123456789abcdef"), accuracy=0.1))
    assert "Weights of the checkpoint 0123456789abcdef, counted on scikit-learn's digits." in told
    assert "Trained" not in told
    assert "tiny: only 10.00 % of the test digits" in told


def changed(records: list[Record], metric: str, value: float | None, detail: str = "") -> list[Record]:
    """The records with one of them replaced."""
    assert any(record.metric == metric for record in records)
    return [replace(r, value=value, detail=detail) if r.metric == metric else r for r in records]


@pytest.mark.parametrize(
    ("metric", "names", "expected"),
    [
        ("num_silent_layers", "a.neuron, b.neuron", "tiny: silent, nothing fires in a.neuron and b.neuron."),
        ("num_saturated_layers", "neuron", "tiny: saturated, nearly all fire nearly always in neuron."),
        (
            "num_layers_not_spike_driven",
            "head",
            "tiny: not spike-driven, real numbers are multiplied behind neurons in head.",
        ),
        ("num_uncounted_operators", "aten.cumsum", "tiny: a lower bound, no rule counts aten.cumsum."),
        ("num_silent_layers", ", ".join("abcdefgh"), "nothing fires in a, b, c, d, e, f and 2 more."),
    ],
)
def test_flags_name_layers(metric: str, names: str, expected: str) -> None:
    """And a lower bound is one in every table."""
    told = sentences(changed(energy_records(CASE), metric, len(names.split(", ")), names))
    assert expected in told
    assert told.count("tiny (lower bound)") == (3 if "uncounted" in metric else 0)


def test_an_untrained_network_is_said_to_be_one() -> None:
    """No epoch, no meaning."""
    assert "Not trained: such rates mean little." in sentences(changed(energy_records(CASE), "num_epochs", 0))


def metered(number: Callable[[int], float | None]) -> list[Record]:
    """A joules pass, whose numbers are made of their places."""
    found = [
        Measurement(metric=name, value=number(index), unit="J", counter="rapl", detail="RAPL of this machine")
        for index, name in enumerate(JOULES_METRICS, start=1)
    ]
    return recorded(CASE, "joules", found)


def test_measured_joules_have_a_table() -> None:
    """Net with its interval, gross, and the meter; also without an energy pass."""
    text = printed(metered(lambda index: 0.0123 * index))
    assert text.startswith("Measured joules of an image (RAPL of this machine)\n")
    row = next(line for line in text.splitlines() if line.startswith("tiny"))
    assert row.split() == ["tiny", "0.0123", "±0.025", "0.0369", "0.0492", "±0.061", "0.0738"]
    assert "95 % confidence interval over windows of 10 s or more" in " ".join(text.split())


def test_joules_that_were_not_measured_have_a_reason() -> None:
    """A sentence, and no table of zeros."""
    told = sentences([*energy_records(CASE), *recorded(CASE, "joules", unmetered("no counter here"))])
    assert "Joules were not measured: no counter here." in told
    assert "Measured joules of" not in told


def test_without_either_pass_nothing_is_said() -> None:
    """Suites about memory have no word on energy."""
    assert printed(recorded(CASE, "memory", [])) == ""
