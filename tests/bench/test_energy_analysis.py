"""Sums of parts, ratios and spreads over seeds; how the cost of an inference grows with T."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from closings import recorded
from energy_records import energy_records

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.analysis.energy import (
    LEVELS,
    PAPERS_MODEL,
    Spread,
    cost_models,
    dense_j,
    energies_by_model,
    energy_j,
    is_verified,
    parts_j,
    spread,
)
from revbench.bench.analysis.inference_cost import cost_growth
from revbench.bench.cases import Case
from revbench.bench.energy.costs import costs
from revbench.bench.records import Measurement, Record

CASE = Case(model="tiny", timesteps=4)


@pytest.fixture(scope="module")
def rows() -> list[CaseRow]:
    """Two seeds that fire unlike, one that failed, and another model that failed altogether."""
    bright, dim = energy_records(CASE), energy_records(replace(CASE, seed=1), brightness=0.3)
    failed = recorded(replace(CASE, seed=2), "energy", [], "timeout")
    return case_rows([*bright, *dim, *failed, *recorded(Case(model="other"), "energy", [], "error")])


def test_levels_agree_with_the_columns(rows: list[CaseRow]) -> None:
    """Parts of the papers' constants add up to what the pass itself added up."""
    bright = rows[0]
    assert bright.operations_energy_j == pytest.approx((42 * 0.9 + 2 * 4.6) * 1e-12)
    assert energy_j(bright, PAPERS_MODEL, "operations") == pytest.approx(bright.operations_energy_j)
    assert energy_j(bright, PAPERS_MODEL, "neurons") == pytest.approx(bright.with_neurons_energy_j)
    energies = [energy_j(bright, PAPERS_MODEL, level) for level in LEVELS]
    assert max(energy or 0 for energy in energies) == pytest.approx(bright.highest_energy_j)
    assert dense_j(bright, PAPERS_MODEL, "operations") == pytest.approx(bright.dense_energy_j)


def test_parts_of_a_level(rows: list[CaseRow]) -> None:
    """Operations, neurons, and the streams that a hierarchy places."""
    assert list(parts_j(rows[0], PAPERS_MODEL, "operations")) == ["acs", "macs"]
    assert list(parts_j(rows[0], PAPERS_MODEL, "neurons")) == ["acs", "macs", "neurons", "elements"]
    streams = list(parts_j(rows[0], PAPERS_MODEL, "sram_dram"))[4:]
    assert streams == ["weights_once", "weights_of_operations", "potentials", "signals"]
    assert list(parts_j(rows[0], "loihi", "operations")) == ["acs"]
    assert parts_j(rows[0], "abacus", "operations") == {}
    assert energy_j(rows[0], "abacus", "operations") is None


def test_seeds_are_one_model(rows: list[CaseRow]) -> None:
    """With mean, deviation and number of those that went well."""
    tiny, other = energies_by_model(rows)
    assert ([row.case.seed for row in tiny.rows], len(tiny.counted)) == ([0, 1, 2], 2)
    acs = [row.acs for row in rows[:2] if row.acs is not None]
    assert acs[0] == 42 > acs[1]
    found = tiny.of("acs")
    assert found == Spread(sum(acs) / 2, abs(acs[0] - acs[1]) / 2**0.5, 2)
    assert (other.counted, other.of("acs"), other.failure) == ((), None, "error")
    assert energies_by_model(rows, "joules") == []


def test_ratios_are_taken_level_by_level(rows: list[CaseRow]) -> None:
    """The dense twin moves bits too."""
    (tiny, _) = energies_by_model(rows)
    for level in LEVELS:
        each = [
            (energy_j(row, PAPERS_MODEL, level) or 0) / (dense_j(row, PAPERS_MODEL, level) or 1) for row in rows[:2]
        ]
        ratio = tiny.ratio_to_dense(PAPERS_MODEL, level)
        assert ratio is not None
        assert ratio.mean == pytest.approx(sum(each) / 2)
        assert len(each) == 2
    assert dense_j(rows[0], PAPERS_MODEL, "on_chip") != dense_j(rows[0], PAPERS_MODEL, "no_reuse")


def test_cost_models_are_those_of_the_records(rows: list[CaseRow]) -> None:
    """Chips multiply nothing; marks come from the records."""
    assert cost_models(rows) == (list(costs().arithmetic), list(costs().chip))
    assert is_verified(rows, "fp32_45nm")
    assert not is_verified(rows, "fp32_7nm")


def test_flags_count_seeds() -> None:
    """A layer that is silent in one of two seeds is named once, with the number of seeds."""
    records = [*energy_records(CASE), *energy_records(replace(CASE, seed=1), brightness=-1.0)]
    (model,) = energies_by_model(case_rows(records))
    assert model.named("silent_layers") == {"neuron": 1, "last_neuron": 1}
    assert model.named("saturated_layers") == {"last_neuron": 1}


def test_spreads() -> None:
    """Missing values do not count; one value does not scatter; none is nothing."""
    assert spread([1.0, None, 3.0]) == Spread(2.0, 2**0.5, 2)
    assert spread([1.0]) == Spread(1.0, 0.0, 1)
    assert spread([None]) is None


def counted(timesteps: int, num_parameters: int, dense_macs: int, **fields: Any) -> list[Record]:
    """What an operations pass leaves."""
    found = {"dense_macs": dense_macs, "num_parameters": num_parameters}
    case = Case(model="net", timesteps=timesteps, **fields)
    return recorded(case, "operations", [Measurement(metric=m, value=v, unit="1") for m, v in found.items()])


def test_the_cost_of_an_inference_grows() -> None:
    """Exactly, where the points lie on a line; with the cost of a parameter."""
    rows = case_rows([record for T in (1, 2, 4) for record in counted(T, 50 * T, 30 + 100 * T)])
    (found,) = cost_growth(rows, "dense_macs")
    assert (found.growth.law, found.growth.intercept, found.growth.slope) == ("affine", Fraction(30), Fraction(100))
    assert found.per_parameter == [(1, 2.6), (2, 2.3), (4, 2.15)]
    assert cost_growth(rows, "sops") == []


def test_one_point_does_not_grow() -> None:
    """Nor do points that differ in more than T."""
    rows = case_rows([*counted(1, 1, 1), *counted(2, 1, 2, width=8)])
    assert cost_growth(rows, "dense_macs") == []
