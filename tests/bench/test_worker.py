"""What runs in the process of a case: how failures are told, and the conversation with the runner."""

import gc
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from typing import Any

import pytest
import torch

from revbench.bench import worker
from revbench.bench.cases import Case
from revbench.bench.records import PassName
from revbench.bench.training import Training
from revbench.bench.worker import STEP, describe_failure, work

CASE = Case(model="msresnet", depth=1, width=8, timesteps=2, batch_size=2)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """The worker owns its process; here it has to give back what it took, and shares the cores with other tests."""
    handler, num_threads = signal.getsignal(signal.SIGINT), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
    signal.signal(signal.SIGINT, handler)
    gc.enable()


def answers(case: Case, pass_name: PassName, *requests: str) -> list[tuple[Any, ...]]:
    """All that a worker answers to these requests."""
    runner, worker = Pipe()
    for request in requests:
        runner.send(request)
    work(worker, case, pass_name)
    worker.close()
    received = []
    while runner.poll():
        try:
            received.append(runner.recv())
        except EOFError:
            break
    return received


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to"), ("oom", "CUDA out of memory. Tried to")),
        (torch.OutOfMemoryError(), ("oom", "out of memory")),
        (MemoryError(), ("oom", "out of memory")),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
            ("oom", "DefaultCPUAllocator: can't allocate memory: you tried to"),
        ),
        (OSError(12, "Cannot allocate memory"), ("oom", "[Errno 12] Cannot allocate memory")),
        (RuntimeError("CUDA error: out of memory"), ("oom", "CUDA error: out of memory")),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), ("oom", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
        (RuntimeError("CUDA error: misaligned address"), ("error", "RuntimeError: CUDA error: misaligned address")),
        (NotImplementedError("no float16 here"), ("unsupported", "no float16 here")),
        (NotImplementedError(), ("unsupported", "not implemented")),
        (ValueError(" two\n  lines\r\n"), ("error", "ValueError: two lines")),
        (ValueError("\x1b[31mred\x07 \udcff ö"), ("error", "ValueError: [31mred ö")),
        (KeyError("[bold]"), ("error", "KeyError: '[bold]'")),
        (SystemExit(9), ("error", "SystemExit: 9")),
        (ValueError("x" * 301), ("error", f"ValueError: {'x' * 297}...")),
        (ValueError("x" * 300), ("error", f"ValueError: {'x' * 300}")),
    ],
)
def test_describe_failure(error: BaseException, expected: tuple[str, str]) -> None:
    """Status and one printable line for every kind of failure."""
    assert describe_failure(error) == expected


def test_an_error_is_told_with_its_place() -> None:
    """The innermost frame is named: in a model of somebody else it is where to look."""
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018
    line = raised.tb.tb_lineno
    assert describe_failure(raised.value) == ("error", f"ZeroDivisionError: division by zero (test_worker.py:{line})")


def test_a_memory_pass_answers_once() -> None:
    """What was found is sent without being asked for."""
    [(kind, found)] = answers(CASE, "memory")
    assert kind == "found"
    assert {"peak_bytes", "activation_peak_bytes", "num_layers"} <= {measurement.metric for measurement in found}


def test_a_time_pass_steps_when_asked() -> None:
    """Warm first, then one step a request, until anything else is asked."""
    ready, *steps = answers(CASE, "time", STEP, STEP, STEP, "enough")
    assert ready == ("ready",)
    assert [kind for kind, _ in steps] == ["step_s"] * 3
    assert all(seconds > 0 for _, seconds in steps)
    assert not gc.isenabled()


@pytest.mark.parametrize(("pass_name", "trained", "inferred"), [("time", 4, 0), ("inference_time", 0, 4)])
def test_a_timed_pass_does_its_own_work(
    monkeypatch: pytest.MonkeyPatch, pass_name: PassName, trained: int, inferred: int
) -> None:
    """Two to warm up and two that were asked for: training steps, or inferences and no training at all."""
    done: list[str] = []
    step, infer = Training.step, Training.infer
    monkeypatch.setattr(Training, "step", lambda self: (done.append("step"), step(self))[1])
    monkeypatch.setattr(Training, "infer", lambda self: (done.append("infer"), infer(self))[1])
    told = answers(CASE, pass_name, STEP, STEP, "enough")
    assert [kind for kind, *_ in told] == ["ready", "step_s", "step_s"]
    assert (done.count("step"), done.count("infer")) == (trained, inferred)


def test_a_pass_that_cannot_measure_a_case_is_unsupported() -> None:
    """What has no values cannot be counted, which is told, not skipped."""
    ((kind, status, reason),) = answers(replace(CASE, device="fake"), "energy")
    assert (kind, status) == ("failed", "unsupported")
    assert "fake tensors hold no values" in reason


def test_a_model_that_does_not_exist_is_an_error() -> None:
    """Whatever goes wrong before the first step is told as well."""
    [(kind, status, detail)] = answers(Case(model="nothing"), "memory")
    assert (kind, status) == ("failed", "error")
    assert detail.startswith("UnknownModelError: there is no model 'nothing'; known: ")


@pytest.mark.parametrize("model", ["msresnet", "nothing"])
def test_a_runner_that_has_gone_is_no_error(model: str) -> None:
    """Where nobody listens any more, the worker ends in silence, whether it failed or not."""
    runner, worker = Pipe()
    runner.close()
    work(worker, Case(model=model, depth=1, width=8, timesteps=1), "memory")


def test_a_worker_keeps_freed_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is measured."""
    order: list[str] = []
    monkeypatch.setattr(worker, "keep_freed_pages", lambda: order.append("kept"))
    monkeypatch.setattr(worker, "memory_pass", lambda _: order.append("measured") or [])
    answers(CASE, "memory")
    assert order == ["kept", "measured"]
