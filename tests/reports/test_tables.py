import csv
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from revbench.bench.analysis.case_row import CaseRow
from revbench.bench.analysis.case_rows import case_rows
from revbench.bench.cases import Case
from revbench.bench.records import Measurement, Record
from revbench.reports.tables import terminal_table, write_cases_csv, write_records_csv

METRICS = tuple(
    prefix + metric
    for prefix in ("", "unprotected_")
    for metric in ("reconstruction_error", "flipped_spike_share", "gradient_error", "gradient_cosine")
)
RECORDS_CSV = """\
case_id,model,rule,loss,depth,width,activations,states,timesteps,batch_size,dtype,optimizer,device,seed,checkpoint,pass,\
metric,value,unit,counter,status,detail,at
3a32172e415b9df6,msresnet,bptt,,8,,,,4,2,float32,sgd,cpu,0,,memory,status,,,,oom,\
"60 MiB were asked for, 12 MiB were free",2026-01-02T03:04:05.000000+00:00
3a32172e415b9df6,msresnet,bptt,,8,,,,4,2,float32,sgd,cpu,0,,time,status,,,,oom,\
"60 MiB were asked for, 12 MiB were free",2026-01-02T03:04:05.000000+00:00
4222e8c4eaa2897e,revsresnet,bptt,,8,,,,4,2,float32,sgd,cpu,0,,memory,num_parameters,3000000,1,\
,ok,,2026-01-02T03:04:05.000000+00:00
"""

CASES_CSV = """\
case_id,model,rule,loss,depth,width,activations,states,timesteps,batch_size,dtype,optimizer,device,seed,checkpoint,\
num_layers,num_blocks,num_parameters,peak_bytes,peak_bytes_per_image,activation_peak_bytes,activation_peak_bytes_per_image,\
forward_end_activation_bytes,forward_end_activation_bytes_per_image,cuda_requested_bytes,cuda_allocated_bytes,\
cuda_reserved_bytes,process_bytes,step_s,step_spread_s,images_per_s,\
inference_s,inference_spread_s,inference_images_per_s,recomputation_share,extrapolated_epoch_s,\
reconstruction_error,flipped_spike_share,gradient_cosine,gradient_error,unprotected_reconstruction_error,\
unprotected_flipped_spike_share,unprotected_gradient_cosine,unprotected_gradient_error,test_accuracy,train_s,\
similarity_stage_ends,similarity_elsewhere,similarity_nowhere,\
unskipped_energy_j,dense_macs,sops,acs,macs,firing_rate,input_rate,operations_break_even_rate,break_even_rate,\
on_chip_break_even_rate,sram_dram_break_even_rate,no_reuse_break_even_rate,literature_energy_j,\
operations_energy_j,with_neurons_energy_j,lowest_energy_j,highest_energy_j,dense_energy_j,quantised_energy_j,\
quantised_spiking_energy_j,training_macs,recomputed_macs,training_net_j,training_net_j_margin,training_gross_j,\
inference_net_j,inference_net_j_margin,inference_gross_j,\
status,detail
2fcff3e04c848e96,msresnet,bptt,,4,,,,4,2,float32,sgd,cpu,0,,34,16,\
3000000,77943040,38971520.0,41943040,20971520.0,\
40894464,20447232.0,,,,,0.2,0.004,10.0,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\
,ok,
3b450f4dcf21b939,revsresnet,bptt,,4,,,,4,2,float32,sgd,cpu,0,,37,16,\
3000000,63262976,31631488.0,27262976,13631488.0,\
26214400,13107200.0,,,,,0.32,0.0064,6.25,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\
,ok,
3a32172e415b9df6,msresnet,bptt,,8,,,,4,2,float32,sgd,cpu,0,,,,\
,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\
,,,,,,,memory: oom,"60 MiB were asked for, 12 MiB were free"
4222e8c4eaa2897e,revsresnet,bptt,,8,,,,4,2,float32,sgd,cpu,0,,69,32,\
3000000,63262976,31631488.0,27262976,13631488.0,\
26214400,13107200.0,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\
,,,,,,,time: timeout,stopped after 60 s
"""

TERMINAL_TABLE = """\
Memory against depth
bptt, T=4, batch 2, float32, sgd, cpu, seed 0
                                                  activation
                           parameters  step peak        peak     step  spread
model       depth  layers     million        MiB   MiB/image       ms      ms  images/s
───────────────────────────────────────────────────────────────────────────────────────
msresnet        1      10        3.00      53.33        9.50     50.0     1.0      40.0
revsresnet      1      13        3.00      60.33       13.00     80.0     1.6      25.0
msresnet        2      18        3.00      60.33       13.00    100.0     2.0      20.0
revsresnet      2      21        3.00      60.33       13.00    160.0     3.2      12.5
msresnet        4      34        3.00      74.33       20.00    200.0     4.0      10.0
revsresnet      4      37        3.00      60.33       13.00    320.0     6.4       6.2
msresnet        8       -           -        oom           -      oom       -         -
revsresnet      8      69        3.00      60.33       13.00  timeout       -         -
"""

REVERSIBILITY_TABLE = """\
Memory against depth
bptt, depth 1, T=4, batch 1, sgd, cpu, seed 0
                     stream  flipped      gradient      gradient  unprotected   unprotected
model       dtype     error   spikes         error        cosine      flipped        cosine
───────────────────────────────────────────────────────────────────────────────────────────
revsresnet  float32       0   0.00 %             0         1.000            -             -
trevsnn     float16       -   0.00 %  out of range  out of range       1.94 %  out of range
revsresnet  float64       -  timeout       timeout       timeout            -             -
"""


def printed(rows: list[CaseRow], width: int = 100, *, styles: bool = False) -> str:
    """What a terminal of that width shows, without trailing blanks."""
    console = Console(width=width, record=True, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(terminal_table(rows, "Memory against depth", width))
    lines = console.export_text(styles=styles).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def test_records_csv(depth_records: list[Record], tmp_path: Path) -> None:
    """One row a record, with all fields of the case, and nothing where there is no number."""
    path = tmp_path / "records.csv"
    write_records_csv([record for record in depth_records if record.case.depth == 8][:3], path)
    assert path.read_text(encoding="utf-8") == RECORDS_CSV


def test_cases_csv(depth_records: list[Record], tmp_path: Path) -> None:
    """One row a case in bytes and seconds, empty where nothing was measured."""
    path = tmp_path / "depth-scaling.csv"
    write_cases_csv(case_rows(depth_records)[4:], path)
    assert path.read_bytes().decode() == CASES_CSV


def test_csv_can_be_read_back(depth_records: list[Record], tmp_path: Path) -> None:
    """Every line has a cell for every column, and integers are written as such."""
    path = tmp_path / "depth-scaling.csv"
    rows = case_rows(depth_records)
    write_cases_csv(rows, path)
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["case_id"] for line in lines] == [row.case.id for row in rows]
    assert [line["peak_bytes"] for line in lines] == [str(row.peak_bytes or "") for row in rows]
    assert all(None not in line and None not in line.values() for line in lines)


def test_terminal_table(depth_records: list[Record]) -> None:
    """The table fits 100 columns, has its units in the header and its constants above it."""
    assert printed(case_rows(depth_records)) == TERMINAL_TABLE


def test_failures_are_red(depth_records: list[Record]) -> None:
    """The status of a failed pass stands in bold red where its number would be."""
    text = printed(case_rows(depth_records), styles=True)
    assert re.findall(r"\x1b\[1;31m *(\w+)", text) == ["oom", "oom", "timeout"]


def test_what_was_not_measured_has_no_column(models_records: list[Record]) -> None:
    """A prediction without a time pass has no columns of time, and T is a column where it varies."""
    header = printed(case_rows(models_records)).splitlines()[4]
    assert header.startswith("model         T  layers  ")
    assert header.split() == ["model", "T", "layers", "million", "MiB", "MiB/image"]


def test_cuda_counters_displace_secondary_columns(depth_records: list[Record]) -> None:
    """With the allocator's counters beside the trace, the table still fits, and keeps what matters."""
    rows = case_rows(depth_records)
    text = printed([replace(row, cuda_allocated_bytes=2**30, cuda_reserved_bytes=2**31) for row in rows])
    assert "allocated" in text
    assert "1,024.00" in text
    assert "images/s" in text
    assert "spread" not in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_single_case_is_a_table(depth_records: list[Record]) -> None:
    """Of one case only the model and its numbers have columns."""
    text = printed(case_rows(depth_records)[:1])
    assert text.splitlines()[1] == "bptt, depth 1, T=4, batch 2, float32, sgd, cpu, seed 0"
    assert text.splitlines()[-1].split() == ["msresnet", "10", "3.00", "53.33", "9.50", "50.0", "1.0", "40.0"]


def test_no_cases() -> None:
    """An empty table says so."""
    assert printed([]).splitlines()[:2] == ["Memory against depth", "no cases"]


def test_brackets_are_text() -> None:
    """What looks like markup in a title or a name is printed as it is."""
    row = CaseRow(case=Case(model="[red]model"))
    console = Console(width=100, record=True, file=StringIO())
    console.print(terminal_table([row], "[bold]title"))
    text = console.export_text()
    assert "[red]model" in text
    assert "[bold]title" in text


def reversibility_rows(record_pass: Callable[..., list[Record]]) -> list[CaseRow]:
    """A case that restored all, one whose gradients left the range, and one that took too long."""
    records = []
    for model, dtype, status, values in (
        ("revsresnet", "float32", "ok", (0.0, 0.0, 0.0, 1.0)),
        ("trevsnn", "float16", "ok", (None, 0.0, None, None, None, 0.0194, None, None)),
        ("revsresnet", "float64", "timeout", ()),
    ):
        found = [Measurement(metric=m, value=v, unit="1") for m, v in zip(METRICS, values, strict=False)]
        records += record_pass(Case(model=model, depth=1, dtype=dtype), "reversibility", found, status)
    return case_rows(records)


def test_what_is_restored_has_columns(record_pass: Callable[..., list[Record]]) -> None:
    """A number with and without protections, or the word that says why there is none, in red."""
    rows = reversibility_rows(record_pass)
    assert printed(rows) == REVERSIBILITY_TABLE
    words = re.findall(r"\x1b\[1;31m *([a-z ]+)", printed(rows, styles=True))
    assert words == ["out of range"] * 3 + ["timeout"] * 3


def test_a_narrow_table_keeps_the_cosines(record_pass: Callable[..., list[Record]]) -> None:
    """Errors and unprotected flips are left to the CSV first."""
    text = printed(reversibility_rows(record_pass), width=64)
    assert text.splitlines()[3].split() == ["model", "dtype", "spikes", "cosine", "cosine"]
    assert text.count("out of range") == 2


SIMILARITY_TABLE = """\
Memory against depth
bptt, depth 1, T=4, batch 1, float32, sgd, cpu, seed 0
                   gradient      gradient     gradient
                    cosine,       cosine,      cosine,
model            stage ends     elsewhere      nowhere
──────────────────────────────────────────────────────
msresnet              0.969             -       -0.250
revsresnet      unsupported   unsupported  unsupported
"""


def test_similarities_have_columns(record_pass: Callable[..., list[Record]]) -> None:
    """The cosines of all parameters at the end of training, or why there are none."""
    found = [
        Measurement(metric=f"similarity_{kept}_epoch_{epoch}{layer}", value=value, unit="1")
        for kept, last in (("stage_ends", 0.96875), ("elsewhere", None), ("nowhere", -0.25))
        for epoch, layer, value in ((0, "", 0.5), (1, "", last), (1, "_layer_1", 0.75))
    ]
    records = record_pass(Case(model="msresnet", depth=1), "similarity", found)
    records += record_pass(Case(model="revsresnet", depth=1), "similarity", [], "unsupported")
    assert printed(case_rows(records)) == SIMILARITY_TABLE


def test_epochs_are_said_to_be_extrapolated(depth_records: list[Record]) -> None:
    """In the header, and in the note with the number of images and of what they were extrapolated from."""
    rows = case_rows(depth_records, 1_281_167)[:2]
    table = printed(rows, 140)
    told = "epochs of 1,281,167 images extrapolated from the throughput of this device, steps alone"
    assert told in " ".join(table.split())
    header = table.split("─")[0]
    assert "epoch," in header
    assert "extrapolated" in header.splitlines()[-2]
    assert re.search(r"msresnet .* 40\.0 +533\.8$", table, re.MULTILINE)
    assert "extrapolated" not in printed(case_rows(depth_records)[:2], 140)
