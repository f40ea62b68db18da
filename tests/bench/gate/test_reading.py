"""What is read of a case: the bytes that a prediction has, every holder, and why there are none."""

import gc
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from own_plugins import own_plugins
from torch import Tensor, nn

from revbench.bench.cases import Case
from revbench.bench.gate.reading import METRICS, read
from revbench.bench.gate.readings import read_all, read_apart
from revbench.bench.memory.explain import explain
from revbench.bench.memory.predict import predict_peak
from revbench.bench.memory.timeline import ACTIVATION_KINDS, activation_peak_bytes
from revbench.models import registry
from revbench.models.networks.spiking import InputShape, SpikingNetwork

CASE = Case(model="msresnet", depth=1, width=8, timesteps=2, batch_size=2, device="fake")
CASES = [
    CASE,
    replace(CASE, rule="sltt", timesteps=3),
    replace(CASE, model="revsresnet", optimizer="adamw", dtype="bfloat16"),
    replace(CASE, model="vggsws", width=16),
]


class Net(SpikingNetwork):
    """One linear layer over tiny images, which does something before."""

    def __init__(self, *, timesteps: int, deed: object) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=4, width=4)
        self.timesteps = timesteps
        self.num_classes = 10
        self.num_layers = self.num_blocks = 1
        self.module = nn.ModuleDict({"head": nn.Linear(16, 10)})
        self.deed = deed

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        if callable(self.deed):
            self.deed(x)
        return self.module["head"](x.flatten(1)).expand(self.timesteps, -1, -1)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> object:
    """Registers the model `net` with a deed for this test."""

    def register(deed: object = None) -> Case:
        entry = registry.ModelEntry(name="net", summary="", build=partial(Net, deed=deed))
        monkeypatch.setitem(registry._entries, "net", entry)
        return Case(model="net", batch_size=3, device="fake")

    return register


@pytest.mark.parametrize("case", CASES, ids=Case.label)
def test_bytes_are_those_of_the_prediction(case: Case) -> None:
    """Both metrics, by kind; the holders of each add up to it, and so do those of every layer's block."""
    found = read(case)
    assert (found.status, found.detail, found.cuda) == ("ok", "", {})
    predicted, explained = predict_peak(case), explain(case)
    assert found.traced["peak_bytes"].num_bytes == predicted.total_bytes > 0
    assert found.traced["activation_peak_bytes"].num_bytes == activation_peak_bytes(explained.attribution.timeline) > 0
    for metric in METRICS:
        assert sum(found.traced[metric].by_holder.values()) == found.traced[metric].num_bytes
    held = found.traced["peak_bytes"].by_holder
    for kind, num_bytes in predicted.by_kind.items():
        assert sum(amount for holder, amount in held.items() if holder.kind == kind) == num_bytes
    assert {holder.layer for holder in held} == {cell.place.layer for cell in explained.blocks}
    assert {holder.kind for holder in found.traced["activation_peak_bytes"].by_holder} <= set(ACTIVATION_KINDS)
    if case.rule == "sltt":
        assert {holder.timesteps for holder in held} >= {
            "2",
            "all",
        }  # the last two timesteps need the same: the first instant counts


def test_readings_do_not_hang_on_what_was_read_before() -> None:
    """In any order, with garbage around: the same integers."""
    assert [read(case) for case in CASES] == [read(case) for case in reversed(CASES)][::-1]
    assert gc.isenabled()


def test_a_reference_cycle_is_counted_in_full(net: object) -> None:
    """Whenever the collector would have come by: a storage in a cycle lives to the end of the step."""

    def leak(x: Tensor) -> None:
        for _ in range(5):
            cycle: list[object] = [torch.empty(1000)]
            cycle.append(cycle)
            del cycle
            if gc.isenabled():  # as if the collector had come by
                gc.collect()

    plain = read(net()).traced["peak_bytes"].num_bytes
    assert read(net(leak)).traced["peak_bytes"].num_bytes - plain == 5 * 4000


def data_dependent(x: Tensor) -> None:
    """An operator whose result fake tensors do not have."""
    if x.sum() > 0:
        raise AssertionError


@torch.library.custom_op("gate_tests::nameless", mutates_args=())
def nameless(x: Tensor) -> Tensor:
    """An operator that does not say what its results look like."""
    return x.clone()


def lacks_a_kernel(_: Tensor) -> None:
    """What torch raises where an operator has no implementation without numbers, as our fake tensors hand it on."""
    error = NotImplementedError("Could not run 'aten::relu' with arguments from the 'Meta' backend")
    error.operator = torch.ops.aten.relu.default  # type: ignore[attr-defined]
    raise error


def raises(error: Exception, _: Tensor) -> None:
    """A deed that fails."""
    raise error


@pytest.mark.parametrize(
    ("deed", "status", "detail"),
    [
        (partial(raises, NotImplementedError("no\nimages")), "unsupported", "no images"),
        (partial(raises, ValueError("no images")), "failed", "ValueError: no images (test_reading.py:"),
        (partial(raises, torch.OutOfMemoryError("CUDA out of memory")), "failed", "out of memory: CUDA out of memory"),
        (nameless, "failed", "the operator gate_tests.nameless.default, called at test_reading.py:"),
        (lacks_a_kernel, "failed", "the operator aten.relu.default, called at test_reading.py:"),
        (data_dependent, "failed", "the operator aten._local_scalar_dense.default, called at test_reading.py:"),
    ],
)
def test_what_goes_wrong_is_in_the_status(net: object, deed: object, status: str, detail: str) -> None:
    """A rule that does not apply is no failure; an operator that cannot be traced is, and is named with its line."""
    found = read(net(deed))
    assert (found.status, dict(found.traced)) == (status, {})
    assert detail in found.detail
    assert "\n" not in found.detail


@pytest.mark.parametrize(
    ("case", "detail"),
    [
        (replace(CASE, model="gone"), "there is no model 'gone'; known: "),
        (replace(CASE, rule="gone"), "there is no rule 'gone'; valid: "),
        (replace(CASE, model="gone.nets:build"), "there is no module 'gone' in "),
    ],
)
def test_a_case_of_which_something_is_gone_failed(case: Case, detail: str) -> None:
    """The model or the rule was renamed, say."""
    found = read(case)
    assert found.status == "failed"
    assert found.detail.startswith(detail)
    assert len(found.detail) <= 300


def test_a_process_that_crashes_fails_by_itself(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other cases go on, in the pool and after it broke."""
    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.setattr("revbench.bench.gate.readings.num_usable_cpus", lambda: 2)
    monkeypatch.setattr("revbench.bench.gate.readings.WORTH_A_PROCESS", 1)
    names = ["tiny", "exits", "tiny_too"]
    seen = []
    with own_plugins():
        found = read_all([Case(model=name, device="fake") for name in names], timeout_s=60, done=seen.append)
    assert seen == found
    assert [(each.case.model, each.status) for each in found] == [
        ("tiny", "ok"),
        ("exits", "failed"),
        ("tiny_too", "ok"),
    ]
    assert found[1].detail == "the process ended early with exit code 7"


def test_a_measurement_that_takes_too_long_failed() -> None:
    """A fresh process on the processor reads what fake tensors predict; one without time is ended."""
    case = replace(CASE, device="cpu")
    measured = read_apart(case, timeout_s=120)
    assert measured == replace(read(CASE), case=case)
    assert read_apart(case, timeout_s=0.01).detail == "took longer than 0.01 s"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_allocator_is_read_too() -> None:
    """What was asked for repeats to the byte in fresh processes, and is at least what the tracker saw."""
    found = [read_apart(replace(CASE, device="cuda"), timeout_s=300) for _ in range(2)]
    assert [each.status for each in found] == ["ok", "ok"], found[0].detail
    assert found[0].cuda["cuda_requested"] == found[1].cuda["cuda_requested"] > 0
    assert found[0].cuda["cuda_requested"] <= found[0].cuda["cuda_allocated"] <= found[0].cuda["cuda_reserved"]
    assert found[0].traced == found[1].traced
