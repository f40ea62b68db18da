"""The tidy tables of energies and firing rates: golden columns, and every row that the records hold."""

import csv
from dataclasses import replace
from pathlib import Path

from energy_records import energy_records

from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.energy.metric import EnergyMetric, FiringMetric
from revbench.reports.energy_csv import write_energy_csv, write_firing_csv

CASE = Case(model="tiny")
ENERGY_HEADER = (
    "case_id,model,rule,loss,depth,width,activations,states,timesteps,batch_size,dtype,optimizer,device,seed,"
    "checkpoint,cost_model,hierarchy,part,energy_j,verified\n"
)
FIRING_HEADER = (
    "case_id,model,rule,loss,depth,width,activations,states,timesteps,batch_size,dtype,optimizer,device,seed,"
    "checkpoint,layer,name,timestep,firing_rate\n"
)


def test_energies(tmp_path: Path) -> None:
    """A row a part and cost model, with the mark of its constants; nothing is lost."""
    records = [*energy_records(CASE), *energy_records(replace(CASE, seed=1), brightness=0.3)]
    path = tmp_path / "energy.csv"
    write_energy_csv(case_rows(records), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(ENERGY_HEADER)
    stored = {
        (str(r.case.seed), metric.model, metric.hierarchy or "", metric.part): r.value
        for r in records
        if (metric := EnergyMetric.parse(r.metric))
    }
    lines = list(csv.DictReader(text.splitlines()))
    assert {(x["seed"], x["cost_model"], x["hierarchy"], x["part"]): float(x["energy_j"]) for x in lines} == stored
    assert {x["cost_model"]: x["verified"] for x in lines}["fp32_7nm"] == "false"
    assert {x["cost_model"]: x["verified"] for x in lines}["fp32_45nm"] == "true"


def test_firing_rates(tmp_path: Path) -> None:
    """A row a layer and timestep, with the layer's name."""
    records = energy_records(CASE)
    path = tmp_path / "firing.csv"
    write_firing_csv(case_rows(records), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(FIRING_HEADER)
    lines = list(csv.DictReader(text.splitlines()))
    assert [(x["layer"], x["name"], x["timestep"]) for x in lines] == [
        (str(layer), name, str(t)) for layer, name in ((1, "neuron"), (2, "last_neuron")) for t in range(1, 5)
    ]
    rates = {r.metric: r.value for r in records if FiringMetric.parse(r.metric)}
    assert [float(x["firing_rate"]) for x in lines] == list(rates.values())
