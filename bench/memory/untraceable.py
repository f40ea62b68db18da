"""A model that cannot be traced: which operator, and which line of whose code asked for it."""

import linecache
import traceback
from pathlib import Path

import torch
from torch._subclasses import fake_tensor

from revbench.bench.errors import CaseError
from revbench.bench.worker import describe_failure

TORCH = Path(torch.__file__).parent
HARNESS = Path(__file__).parent.parent
_NEEDS_NUMBERS = (fake_tensor.DataDependentOutputException, fake_tensor.DynamicOutputShapeException)


def case_error(label: str, error: Exception, *, fake: bool) -> CaseError:
    """What went wrong in one sentence, with the operator and the line, and what to do.

    Args:
        label: of the case.
        error: what was raised while it was built, run or traced.
        fake: whether it was traced on fake tensors.
    """
    operator = getattr(error, "operator", None)
    if not fake or operator is None:
        status, detail = describe_failure(error)
        return CaseError(f"{label} cannot be explained ({status}): {detail}")
    at = _place(error)
    if isinstance(error, _NEEDS_NUMBERS):
        return CaseError(
            f"{label} cannot be traced without numbers: the operator {operator}, called at {at}, has a result that "
            "depends on the values of tensors, and fake tensors have none; use --device cpu or cuda, or take that "
            "decision out of the training step"
        )
    if isinstance(error, fake_tensor.UnsupportedOperatorException | NotImplementedError):
        return CaseError(
            f"{label} cannot be traced without numbers: the operator {operator}, called at {at}, does not say what "
            "its results look like; register a fake version of it (torch.library.register_fake), or use --device cpu "
            "or cuda"
        )
    return CaseError(f"{label} cannot be traced: the operator {operator}, called at {at}, fails: {_first_line(error)}")


def _place(error: Exception) -> str:
    """The innermost line that belongs neither to torch nor to the harness: `net.py:17 (if x.sum() > 0:)`."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(p) for p in (TORCH, HARNESS))]
    frame = (own or frames)[-1]
    code = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return (
        f"{Path(frame.filename).name}:{frame.lineno} ({code})"
        if code
        else f"{Path(frame.filename).name}:{frame.lineno}"
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].strip()
