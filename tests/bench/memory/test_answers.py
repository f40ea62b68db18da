"""Answers that fake operators gave before are those that torch gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from revbench.bench.cases import Case
from revbench.bench.memory import answers
from revbench.bench.memory.fake import fake_world
from revbench.bench.memory.measure import trace
from revbench.bench.memory.timeline import Timeline
from revbench.bench.training import prepare, world

aten = torch.ops.aten


@contextmanager
def without_answers() -> Iterator[None]:
    """Torch is asked each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_effect", lambda func: None)
        yield


def steady(case: Case) -> Timeline:
    with world(case):
        training = prepare(case)
        training.warm_up(1)
        return trace(training)


SMALL = Case(model="revsresnet", depth=1, width=4, timesteps=2, batch_size=2, device="fake")


@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        replace(SMALL, dtype="bfloat16", optimizer="adamw"),
        replace(SMALL, model="vggsws", rule="ottt_a"),
        replace(SMALL, model="revsformer", width=32),
        replace(SMALL, model="trevsnn", states="inverted"),
        replace(SMALL, model="preactresnet", activations="checkpointed"),
    ],
    ids=lambda case: case.label(),
)
def test_a_trace_is_the_same_without_them(case: Case) -> None:
    """Change by change, kinds included."""
    found = steady(case)
    with without_answers():
        plain = steady(case)
    for name in ("storage_of", "delta_bytes", "kind_of"):
        assert np.array_equal(getattr(found, name), getattr(plain, name))
    assert found.phase_ends == plain.phase_ends


def form(value: Any, arguments: Any) -> Any:
    """All that can be said of results, and whose storage they are."""
    if not isinstance(value, Tensor):
        return [form(part, arguments) for part in value] if isinstance(value, tuple | list) else value
    own = [value.untyped_storage()._cdata == argument.untyped_storage()._cdata for argument in arguments]
    said = (value.shape, value.stride(), value.storage_offset(), value.dtype, value.device, value.requires_grad)
    return (*said, value.untyped_storage().nbytes(), own, type(value), value.is_conj())


OPERATORS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": lambda a, b: a + b,
    "of another type": lambda a, b: a > b.half(),
    "broadcast": lambda a, b: a + b[:1],
    "number": lambda a, b: a * 2.5,
    "in place": lambda a, b: a.add_(b, alpha=2),
    "several results": lambda a, b: torch.native_layer_norm(a, [4], None, None, 1e-5),
    "none among the results": lambda a, b: aten.native_batch_norm_backward(
        a, b, None, None, None, a[0], a[0], True, 1e-5, [True, False, False]
    ),
    "view": lambda a, b: a.view(-1),
    "view of a view": lambda a, b: a[2:].view(-1, 2, 2),
    "transposed": lambda a, b: a.t(),
    "detached": lambda a, b: a.detach(),
    "undeclared view": lambda a, b: aten._unsafe_view(a, [16]),
    "list": lambda a, b: torch._foreach_add([a, b], 1.0),
    "split": lambda a, b: a.split(2),
    "made of nothing": lambda a, b: torch.empty(3, dtype=torch.int16),
    "empty": lambda a, b: a.new_empty((0,)),
    "other type in place": lambda a, b: a.copy_(b.half()),
    "number as result": lambda a, b: a.is_same_size(b),
    "complex": lambda a, b: torch.complex(a, b).conj(),
    "resized": lambda a, b: a.resize_(2, 2),
    "dense": lambda a, b: a.t().contiguous(),
    "strided": lambda a, b: a.t() + b.t(),
    "random": lambda a, b: torch.rand_like(a),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_second_answer_is_that_of_torch(name: str) -> None:
    """Asked twice, for tensors of the same form; also after others of another form."""

    def asked() -> list[Any]:
        found = []
        with fake_world():
            for size in (4, 4, 8, 4):
                a, b = torch.zeros(size, 4), torch.zeros(size, 4)
                if name == "undeclared view" and size != 4:
                    continue
                found.append(form(OPERATORS[name](a, b), (a, b)))
        return found

    found = asked()
    with without_answers():
        assert found == asked()


def test_default_type_and_gradients_matter() -> None:
    """A new tensor has the default type of its time; results want no gradient unless an argument does."""
    with fake_world():
        types = []
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            types.append((torch.zeros(2).dtype, (torch.ones(2, dtype=torch.int32) * 0.5).dtype))
        assert types == [(dtype, dtype) for dtype in (torch.float32, torch.float64, torch.float32)]
        a = torch.zeros(2)
        assert not (a + a).requires_grad
        assert (a + a.clone().requires_grad_()).requires_grad
        assert not (a + a).requires_grad


def test_equal_numbers_of_other_types_are_other_questions() -> None:
    """2, 2.0 and True give other types of results."""
    with fake_world():
        a = torch.zeros(2, dtype=torch.int32)
        assert [(a * factor).dtype for factor in (1, 1.0, True, 1)] == [
            torch.int32,
            torch.float32,
            torch.int32,
            torch.int32,
        ]
        b = torch.zeros(2, dtype=torch.bool)
        assert [(b * factor).dtype for factor in (True, 1, 1.0)] == [torch.bool, torch.int64, torch.float32]


def test_views_lie_where_they_were_asked_for() -> None:
    """Views of the same form at different places of a storage."""
    with fake_world():
        a = torch.zeros(8, 4)
        for _ in range(2):
            assert [a[i : i + 2].view(-1).storage_offset() for i in (1, 2, 3)] == [4, 8, 12]


def test_inference_mode_makes_tensors_of_its_own() -> None:
    """Whatever was asked before it."""
    with fake_world():
        a = torch.zeros(2)
        made = [a * 2]
        with torch.inference_mode():
            made += [a * 2, a * 2]
        made.append(a * 2)
        assert [tensor.is_inference() for tensor in made] == [False, True, True, False]
        with torch.inference_mode():
            assert [a.view(2, 1).is_inference() for _ in range(3)] == [False] * 3
            assert [made[1].view(2, 1).is_inference() for _ in range(3)] == [True] * 3


def test_an_operator_that_fails_fails_each_time() -> None:
    """Errors are no answers, and say which operator failed."""
    with fake_world():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="2") as caught:
                torch.zeros(2) + torch.zeros(3)
            assert str(caught.value.operator) == "aten.add.Tensor"  # type: ignore[attr-defined]


def test_known_answers_do_not_reach_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked before is not asked again: that is where the speed comes from."""
    asked: list[str] = []
    original = FakeTensorMode.dispatch

    def dispatch(self: FakeTensorMode, func: Any, *arguments: Any) -> Any:
        asked.append(str(func))
        return original(self, func, *arguments)

    monkeypatch.setattr(FakeTensorMode, "dispatch", dispatch)
    with fake_world():
        a = torch.zeros(4, 4)
        for _ in range(3):
            a.add_((a * 2).view(16).view(4, 4))
            assert isinstance(a, FakeTensor)
    assert all(asked.count(name) <= 2 for name in set(asked))
    assert {"aten.mul.Tensor", "aten.view.default", "aten.add_.Tensor"} <= set(asked)
