"""What PyTorch's allocator of the CPU really hands out in a training step, as torch's profiler records it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from revbench.bench.training import Training

MARK_BYTES = 1_234_567
"""Of a tensor that says where the second step begins."""
OWN_SCRATCH = ("aten::convolution", "aten::mkldnn_conv", "ConvolutionBackward")
"""Operators whose kernel on the CPU makes copies for itself."""


def requested_peak(make: Any) -> int:
    """The peak of the bytes asked for in the second training step; what convolutions keep to themselves left out.

    Args:
        make: builds the training, so that its tensors are recorded as well.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        training: Training = make()
        training.step()
        torch.empty(MARK_BYTES, dtype=torch.uint8)
        training.step()
    live = highest = 0
    in_step = False
    for num_bytes in _changes(record):
        live += num_bytes
        if abs(num_bytes) == MARK_BYTES:
            in_step = num_bytes < 0
        if in_step:
            highest = max(highest, live)
    assert highest, "the profiler recorded no allocation"
    return highest


def _changes(record: Any) -> Iterator[int]:
    events: list[tuple[int, int, int, int | None]] = []

    def walk(event: Any, operator: int | None) -> None:
        if event.tag == torch._C._profiler._EventType.Allocation:
            fields = event.extra_fields
            events.append((event.start_time_ns, fields.alloc_size, fields.ptr, operator))
        if operator is None and event.name.startswith(OWN_SCRATCH):
            operator = event.id
        for child in event.children:
            walk(child, operator)

    for root in record.profiler.kineto_results.experimental_event_tree():
        walk(root, None)
    events.sort(key=lambda event: event[0])
    made: dict[int, tuple[int, int | None]] = {}
    scratch: set[int] = set()
    for number, (_, num_bytes, pointer, operator) in enumerate(events):
        if num_bytes > 0:
            made[pointer] = number, operator
        elif pointer in made:
            birth, maker = made.pop(pointer)
            if operator is not None and maker == operator:
                scratch |= {number, birth}
    return (event[1] for number, event in enumerate(events) if number not in scratch)
