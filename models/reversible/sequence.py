r"""One autograd function for a sequence of couplings, which keeps little more than the outputs.

In the backward pass each function is evaluated once more: the value restores the stream, where it is not kept in
another way (`keeping`), and the graph of the same evaluation gives the gradients (RevSNN, section 3.2).
Parameters are inputs of the autograd function and their gradients are its outputs, so frozen streams,
`torch.autograd.grad`, hooks and DistributedDataParallel see what they see in any other module.
Limits: one backward pass per forward pass, no double backward; a function must give the same value twice
(random numbers drawn from torch's generators are replayed), and all its parameters must be registered in it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from revbench.models.reversible.couplings import Coupling, Wiring
from revbench.models.reversible.evaluation import combined, evaluate, same_storage
from revbench.models.reversible.keeping import STATE_TOLERANCE, InversionReport, Keeper, States
from revbench.models.reversible.surroundings import Autocast, RandomState
from revbench.models.reversible.walk import Walk, versions

Activations = Literal["recomputed", "stored"]


class ReversibleSequence(nn.Module):
    """A sequence of couplings over streams (any shape; the number of streams is free).

    Args:
        couplings: in the order of the forward pass.
        activations: `recomputed` keeps what `states` says; `stored` runs the same weights with ordinary autograd.
        states: how the streams' values survive to the backward pass, see `keeping`.
        outputs: the streams that are returned; by default all.
        tolerance: the predicted error of an inverted state beyond which it is stored.
        published_half_precision_streams: leaves streams in half precision under autocast, as the authors' codes do.
            One rounding error in a residual stream flips spikes in the recomputation, and the rest of the chain is
            then wrong (RevSNN specification, section 4); by default streams are raised to float32.
        published_graphs_held: how many couplings' graphs are held together in the backward pass, by default one. The
            code of T-RevSNN holds the four of a timestep.

    Attributes:
        inversion: what the guard found in the last forward pass.

    Raises:
        ValueError: the streams have gaps, one is used before it is created, or a choice is none of the valid ones.
    """

    def __init__(
        self,
        couplings: Iterable[Coupling],
        activations: Activations = "recomputed",
        *,
        states: States = "inverted",
        outputs: Sequence[int] | None = None,
        tolerance: float = STATE_TOLERANCE,
        published_half_precision_streams: bool = False,
        published_graphs_held: int = 1,
    ) -> None:
        super().__init__()
        for word, value, valid in (("activations", activations, Activations), ("states", states, States)):
            if value not in get_args(valid):
                raise ValueError(f"{word} are {' or '.join(get_args(valid))}, not {value!r}")
        self.couplings = tuple(couplings)
        self.wiring = Wiring.of(self.couplings)
        self.functions = nn.ModuleList(coupling.function for coupling in self.couplings)
        self.carries = nn.ModuleList(coupling.carry for coupling in self.couplings if coupling.carry is not None)
        self.activations: Activations = activations
        self.states: States = states
        self.num_streams = len(self.wiring.inputs)
        self.outputs = tuple(range(self.wiring.num_streams)) if outputs is None else tuple(outputs)
        self.tolerance = tolerance
        self.published_half_precision_streams = published_half_precision_streams
        self.published_graphs_held = published_graphs_held
        self.inversion: InversionReport | None = None

    def forward(self, *streams: Tensor) -> tuple[Tensor, ...]:
        """The streams `outputs` after all couplings.

        Args:
            streams: those that no coupling creates, in order.

        Raises:
            ValueError: another number of streams than the couplings name, or a function's value has another shape
                than its target stream.
            RuntimeError: in the backward pass, if it is the second one, or an output or a parameter was changed since.
        """
        if len(streams) != self.num_streams:
            raise ValueError(f"{len(streams)} streams given to a reversible sequence over {self.num_streams}")
        streams = tuple(self.precise(x) for x in streams)
        if self.activations == "stored":
            return self._forward_stored(streams)
        outputs: tuple[Tensor, ...] = _Recompute.apply(self, *streams, *self.parameters())
        return outputs

    def precise(self, x: Tensor) -> Tensor:
        """A stream in float32, if it is in half precision and shall not stay so."""
        half = x.dtype in (torch.float16, torch.bfloat16)
        return x.float() if half and not self.published_half_precision_streams else x

    def all_streams(self, given: Iterable[Tensor]) -> list[Tensor | None]:
        """A place for every stream, with those that are given in theirs."""
        streams: list[Tensor | None] = [None] * self.wiring.num_streams
        for place, stream in zip(self.wiring.inputs, given, strict=True):
            streams[place] = stream
        return streams

    def _forward_stored(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        streams = self.all_streams(given)
        for coupling in self.couplings:
            with coupling.announced():
                value, before = self.precise(evaluate(coupling, streams)), streams[coupling.target]
                if before is None:
                    streams[coupling.target] = value
                else:
                    streams[coupling.target] = (before if coupling.carry is None else coupling.carry(before)) + value
                del value, before
        return tuple(_existing(streams, self.outputs))


class _Recompute(torch.autograd.Function):
    """Forward without a graph; backward from the last coupling to the first."""

    @staticmethod
    def forward(ctx: Any, sequence: ReversibleSequence, *tensors: Tensor) -> tuple[Tensor, ...]:
        streams = sequence.all_streams(tensors[: sequence.num_streams])
        parameters = tensors[sequence.num_streams :]
        device = tensors[0].device
        autocast = Autocast.capture(device.type)
        keeper = Keeper(sequence.couplings, sequence.wiring, sequence.states, sequence.tolerance)
        owned: set[int] = set()
        random_states: list[RandomState | None] = []
        for index, coupling in enumerate(sequence.couplings):
            with coupling.announced():
                random_before = RandomState.capture(device)
                with autocast.entered():
                    value = evaluate(coupling, streams)
                random_states.append(None if random_before.same_as(RandomState.capture(device)) else random_before)
                before = streams[coupling.target]
                if before is None:
                    streams[coupling.target] = sequence.precise(value)
                    # A function may return its source or a view of it, which is then not changed in place any more.
                    owned -= {source for source in coupling.sources if same_storage(value, streams[source])}
                else:
                    if keeper.before(index, before, value):
                        owned.discard(coupling.target)
                    streams[coupling.target] = combined(coupling, before, value, in_place=coupling.target in owned)
                    owned.add(coupling.target)
                del value, before
        sequence.inversion = keeper.report()
        ctx.set_materialize_grads(False)
        keeper.at_end(streams)
        ctx.save_for_backward(*keeper.exact.values(), *(coded.codes for coded in keeper.coded.values()))
        ctx.exact_moments = tuple(keeper.exact)
        ctx.coded_forms = {moment: (coded.shape, coded.dtype) for moment, coded in keeper.coded.items()}
        ctx.sequence = sequence
        ctx.parameters = parameters
        ctx.parameter_versions = versions(parameters)
        ctx.autocast = autocast
        ctx.random_states = random_states
        ctx.backward_was_run = False
        return tuple(_existing(streams, sequence.outputs))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.backward_was_run:
            raise RuntimeError(
                "the backward pass of a reversible sequence was run a second time; its inputs are restored only once, "
                "so add the losses up before backward, or run the forward pass again"
            )
        walk = Walk(ctx, grad_outputs)
        ctx.maybe_clear_saved_tensors()
        ctx.backward_was_run = True
        del grad_outputs
        for index in reversed(range(len(walk.couplings))):
            with walk.couplings[index].announced():
                walk.undo(index)
        return None, *walk.input_grads(), *walk.parameter_grads


def _existing(streams: Sequence[Tensor | None], chosen: Iterable[int]) -> list[Tensor]:
    found = [streams[stream] for stream in chosen]
    return [stream for stream in found if stream is not None]
