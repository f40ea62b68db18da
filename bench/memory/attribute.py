"""Finds the birth place of every storage while a training step runs, for the tracker.

In the forward pass it is the innermost module that runs. In the backward pass it is the module in which the running
node of the autograd graph was made: nodes are numbered in the order in which they are made, so it is enough to
know the number at which each module began and ended. A module that a backward pass evaluates again is innermost again.

The timestep is the one declared by whoever runs it (`annotations.timesteps`). Where nobody declares any and a module
calls some layer with parameters T times, it loops over time, and the k-th call of a layer is timestep k.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from revbench.bench.memory.places import ALL, NETWORK, NO_LAYER, Attribution, Place
from revbench.bench.memory.timeline import Timeline
from revbench.models import annotations


@dataclass(slots=True, eq=False)
class _Call:
    """One call of a module, or what is outside of all.

    Attributes:
        layer: path of the module.
        caller: the call in which it was made.
        module: the module.
        number: of this call among those of the module in the caller, from 1; None in a second evaluation.
        num_calls: of each module in this call.
    """

    layer: str
    caller: "_Call | None" = None
    module: nn.Module | None = None
    number: int | None = None
    num_calls: Counter[nn.Module] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class _Birth:
    call: _Call
    timesteps: range | None
    phase: str


class Attributor:
    """Follows the calls of a network's modules and notes where storages are born.

    Args:
        model: whose layers are told apart.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._timesteps: int | None = getattr(model, "timesteps", None)
        self._outside = _Call(NO_LAYER)
        # The running calls, each with the node of the graph in which it began.
        self._running: list[tuple[_Call, int | None]] = [(self._outside, None)]
        # From which node on the nodes are made in which call and timesteps.
        self._first_nodes: list[int] = []
        self._makers: list[tuple[_Call, range | None]] = []
        self._owners = {
            id(tensor): path or NETWORK
            for path, module in reversed(list(model.named_modules()))
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        }
        self._paths = {module: path or NETWORK for path, module in model.named_modules()}
        self._births: list[_Birth] = []
        self._owned: dict[int, str] = {}
        self._phase = "before"

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follows the modules inside this block.

        Backward passes run in the thread that asks for them, since every thread numbers its nodes for itself.
        """
        with ExitStack() as stack:
            stack.enter_context(annotations.listening(self._phase_changed))
            stack.enter_context(annotations.listening_to_layers(self._layer_declared))
            stack.enter_context(torch.autograd.set_multithreading_enabled(False))
            for path, module in self._model.named_modules():
                begin = module.register_forward_pre_hook(partial(self._begin, path or NETWORK), prepend=True)
                end = module.register_forward_hook(self._end, always_call=True)
                stack.callback(begin.remove)
                stack.callback(end.remove)
            self._phase = "between"
            self._note_maker(self._outside)
            yield

    def born(self) -> None:
        """Notes the place of the next storage."""
        call, timesteps = self._here()
        self._births.append(_Birth(call, timesteps, self._phase))

    def belongs(self, storage: int, owner: Tensor) -> None:
        """Gives a storage to the layer that has this parameter or buffer."""
        self._owned[storage] = self._owners.get(id(owner), NO_LAYER)

    def attribution(self, timeline: Timeline) -> Attribution:
        """The places of all storages of the timeline."""
        index_of: dict[Place, int] = {}
        place_of = [
            index_of.setdefault(self._place(storage), len(index_of)) for storage in range(len(timeline.kind_of))
        ]
        return Attribution(timeline=timeline, place_of=np.array(place_of, dtype=np.int64), places=tuple(index_of))

    def _begin(self, layer: str, module: nn.Module, inputs: Any) -> None:
        caller, _ = self._here()
        number = None
        if self._phase == "forward":
            caller.num_calls[module] += 1
            number = caller.num_calls[module]
        self._run(_Call(layer, caller, module, number))

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._return()

    def _layer_declared(self, module: nn.Module, begins: bool) -> None:
        if begins:
            self._run(_Call(self._paths.get(module, NO_LAYER), self._here()[0]))
        else:
            self._return()

    def _run(self, call: _Call) -> None:
        self._running.append((call, _running_node()))
        self._note_maker(call)

    def _return(self) -> None:
        self._running.pop()
        self._note_maker(self._running[-1][0])

    def _note_maker(self, call: _Call) -> None:
        self._first_nodes.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._makers.append((call, annotations.current_timesteps()))

    def _here(self) -> tuple[_Call, range | None]:
        """The call that computes at this moment, and the timesteps declared for it."""
        call, began_in = self._running[-1]
        node, declared = _running_node(), annotations.current_timesteps()
        if node is None or node == began_in:
            return call, declared
        # The running node was made in an earlier call, or before the first one.
        call, made_in = self._makers[max(bisect_right(self._first_nodes, node) - 1, 0)]
        return call, made_in or declared

    def _phase_changed(self, phase: annotations.Phase, begins: bool) -> None:
        self._phase = phase if begins else "between"

    def _place(self, storage: int) -> Place:
        birth = self._births[storage]
        owner = self._owned.get(storage)
        if owner is not None:
            return Place(owner, ALL, birth.phase)
        return Place(birth.call.layer, self._label(birth.timesteps or self._looped(birth.call)), birth.phase)

    def _looped(self, call: _Call) -> range | None:
        """The timestep of a call within a loop over time."""
        if call.caller is None or call.module is None:
            return None
        outer = self._looped(call.caller)
        if outer is not None or call.number is None or call.caller.num_calls[call.module] != self._timesteps:
            return outer
        loops = any(
            count == self._timesteps and next(module.parameters(), None) is not None
            for module, count in call.caller.num_calls.items()
        )
        return range(call.number - 1, call.number) if loops else None

    def _label(self, timesteps: range | None) -> str:
        if timesteps is None or len(timesteps) == self._timesteps:
            return ALL
        return f"{timesteps.start + 1}-{timesteps.stop}" if len(timesteps) > 1 else str(timesteps.stop)


def _running_node() -> int | None:
    """The number of the node of the autograd graph whose backward pass runs in this thread, if any."""
    node = torch._C._current_autograd_node()
    return None if node is None else node._sequence_nr()
