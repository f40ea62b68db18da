"""Couplings with carries, with created and with read-only streams, for tests of the reversible engine."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from reversible_parts import FEATURES, Gradients, Streams, uneven_loss
from torch import Tensor, nn

from revbench.models.neurons.memoryless import MemorylessNeuron
from revbench.models.reversible import Carry, Coupling, ReversibleSequence

CHANNELS = 4
SHAPE = (2, CHANNELS, 3, FEATURES)  # B, C, H, W; the functions act on the last axis
NUM_ELEMENTS = 2 * CHANNELS * 3 * FEATURES


class Step(NamedTuple):
    """A coupling without its function."""

    target: int
    sources: tuple[int, ...]
    carried: bool = False
    creates: bool = False


class Thresholded(nn.Module):
    """Reads its sources through neurons without memory alone."""

    def __init__(self, num_sources: int = 1) -> None:
        super().__init__()
        self.neuron = MemorylessNeuron()
        self.layers = nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in range(num_sources))

    def forward(self, *sources: Tensor) -> Tensor:
        """The sum of what the layers make of the spikes."""
        values = [layer(self.neuron(source)) for layer, source in zip(self.layers, sources, strict=True)]
        return torch.stack(values).sum(0)


class Constant(nn.Module):
    """Reads its source and adds one number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        """The number, everywhere."""
        return torch.full_like(x, self.number)


WIRINGS: dict[str, list[Step]] = {
    "carries on both streams": [Step(i % 2, (1 - i % 2,), carried=True) for i in range(6)],
    "carries on one stream": [Step(i % 2, (1 - i % 2,), carried=i % 2 == 0) for i in range(6)],
    "with and without carry on one stream": [
        Step(0, (1, 2)),
        Step(1, (0,), carried=True),
        Step(0, (1,), carried=True),
        Step(2, (0, 1)),
        Step(0, (2,)),
        Step(0, (1,), carried=True),
        Step(1, (2,)),
    ],
    "created and carried on, from a stream that is only read": [
        Step(0, (2,), creates=True),
        Step(1, (0,), creates=True),
        Step(0, (2, 1), carried=True),
        Step(1, (0,), carried=True),
        Step(3, (1,), creates=True),
        Step(0, (2, 1), carried=True),
        Step(1, (0,), carried=True),
    ],
    "created and never read": [
        Step(0, (1,), carried=True),
        Step(2, (0,), creates=True),
        Step(1, (0,)),
        Step(3, (0, 1), creates=True),
        Step(0, (1,), carried=True),
        Step(3, (0,), carried=True),
    ],
    "created without any carry": [
        Step(1, (0,), creates=True),
        Step(0, (1,)),
        Step(2, (0, 1), creates=True),
        Step(1, (2, 0)),
        Step(2, (1,)),
    ],
    "one source twice, one stream many times": [
        Step(0, (1, 1), carried=True),
        Step(0, (1,), carried=True),
        Step(0, (1,)),
        Step(1, (0, 0)),
        Step(0, (1,), carried=True),
    ],
}


@st.composite
def wirings(draw: st.DrawFn) -> list[Step]:
    """Any order of up to 10 couplings over up to 4 streams, of which some are created; all streams are used."""
    num_streams = draw(st.integers(2, 4))
    existing = set(range(draw(st.integers(1, num_streams))))
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 10))):
        target = draw(st.sampled_from(sorted({*existing, min(len(existing), num_streams - 1)})))
        readable = sorted(existing - {target})
        if not readable:
            continue
        sources = tuple(draw(st.lists(st.sampled_from(readable), min_size=1, max_size=2)))
        creates = target not in existing
        steps.append(Step(target, sources, carried=not creates and draw(st.booleans()), creates=creates))
        existing.add(target)
    # Streams that no step has used so far are read, so that there is no gap.
    for stream in sorted(existing - {s for step in steps for s in (step.target, *step.sources)}):
        steps.append(Step(0 if stream else 1, (stream,), creates=(0 if stream else 1) not in existing))
        existing.add(0 if stream else 1)
    return steps


def couplings_of(steps: Sequence[Step], make: Callable[[int], nn.Module]) -> list[Coupling]:
    """The couplings with a function of its own for each, and carries of both signs and no two alike."""
    return [
        Coupling(
            step.target, step.sources, make(len(step.sources)), varied_carry() if step.carried else None, step.creates
        )
        for step in steps
    ]


def varied_carry() -> Carry:
    """A carry of magnitudes from 0.6 to 1.1, of both signs."""
    carry = Carry(CHANNELS)
    with torch.no_grad():
        carry.factor.uniform_(0.6, 1.1)[::2] *= -1
    return carry


def pair(couplings: Sequence[Coupling], **choices: Any) -> tuple[ReversibleSequence, ReversibleSequence]:
    """A recomputing sequence of these choices and one under plain autograd, of the same weights in float64."""
    recomputed = ReversibleSequence(couplings, **choices).double()
    plain = copy.deepcopy(recomputed)
    plain.activations = "stored"
    return recomputed, plain


def streams_for(sequence: ReversibleSequence, dtype: torch.dtype = torch.float64) -> Streams:
    """Standard normal streams, as many as the sequence is given."""
    return tuple(torch.randn(SHAPE, dtype=dtype) for _ in range(sequence.num_streams))


def gradients(sequence: ReversibleSequence, inputs: Streams, needed: Sequence[bool] | None = None) -> Gradients:
    """The gradients of the inputs and of all parameters; `needed` says which inputs want one, by default all."""
    needed = [True] * len(inputs) if needed is None else needed
    leaves = [x.clone().requires_grad_(needs) for x, needs in zip(inputs, needed, strict=True)]
    sequence.zero_grad()
    uneven_loss(sequence(*leaves)).backward()
    return [leaf.grad for leaf in leaves] + [p.grad for p in sequence.parameters()]


def reads(sequence: ReversibleSequence, inputs: Streams) -> tuple[list[Tensor], list[Tensor]]:
    """What the functions read in the forward pass, and what they read in the backward pass, both in forward order."""
    seen: list[list[Tensor]] = []
    handles = [
        function.register_forward_pre_hook(lambda _module, args: seen.append([x.detach().clone() for x in args]))
        for function in sequence.functions
    ]
    outputs = sequence(*(x.clone().requires_grad_() for x in inputs))
    number = len(seen)
    uneven_loss(outputs).backward()
    for handle in handles:
        handle.remove()
    forward, backward = seen[:number], seen[number:][::-1]
    return [x for args in forward for x in args], [x for args in backward for x in args]
