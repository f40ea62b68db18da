"""Models that go wrong in every way, as a plugin: the fixture `plugin` puts them on the path of measuring processes.

What they note about themselves goes to the file `log` beside this module, one line a note.
"""

import ctypes
import gc
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from revbench.models.networks.spiking import InputShape, SpikingNetwork
from revbench.models.registry import ModelEntry, register

WARM_UP_STEPS = 2
"""Of the time pass."""
FOLDER = Path(__file__).parent
SHOUT = "first line\nsecond line [bold]no markup[/bold] [/x] :warning: \x1b[31mred größer \udcff"


class Tiny(SpikingNetwork):
    """One linear layer over tiny images; before each forward pass it does its deed.

    Args:
        timesteps: T.
        deed: what goes wrong; called with the number of the step, from 1, and the network.
    """

    def __init__(self, *, timesteps: int, deed: Callable[[int, "Tiny"], object]) -> None:
        super().__init__()
        self.input_shape = InputShape(kind="images", channels=1, height=4, width=4)
        self.timesteps = timesteps
        self.num_classes = 10
        self.num_layers = self.num_blocks = 1
        self.head = nn.Linear(16, 10)
        self.num_steps = 0
        self.deed = deed

    def logits(self, x: Tensor) -> Tensor:
        """Logits of every timestep, `[T, B, K]`."""
        self.num_steps += 1
        factor = self.deed(self.num_steps, self)
        logits: Tensor = self.head(x.flatten(1)).expand(self.timesteps, -1, -1)
        return logits * factor if isinstance(factor, float) else logits


def note(text: str) -> None:
    """Appends a line to the log."""
    with (FOLDER / "log").open("a", encoding="utf-8") as log:
        log.write(text + "\n")


def fails(error: BaseException, *, at_step: int = 1) -> Callable[[int, Tiny], None]:
    """A deed that raises."""

    def deed(step: int, _: Tiny) -> None:
        if step == at_step:
            raise error

    return deed


def crashes(step: int, _: Tiny) -> None:
    """Reads address 0 in the second step."""
    if step == 2:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)


def waits(_: int, __: Tiny) -> None:
    """Notes its process and stays in its step until the file `release` exists."""
    note(str(os.getpid()))
    while not (FOLDER / "release").exists():
        time.sleep(0.05)


def lingers(step: int, _: Tiny) -> None:
    """Leaves a thread behind that does not let the process end."""
    if step == 1:
        threading.Thread(target=time.sleep, args=(3600,)).start()


def needs_room(step: int, _: Tiny) -> None:
    """Runs out of memory in the first process that measures it, not in later ones."""
    if step == 1:
        note("needs room")
        if (FOLDER / "log").read_text(encoding="utf-8").count("needs room") == 1:
            raise torch.OutOfMemoryError("the others take too much")


def hates_observers(step: int, network: Tiny) -> None:
    """Fails where anything watches the step, or may interrupt it once it is timed."""
    watching = {
        "dispatch modes": _get_current_dispatch_mode_stack(),
        "function modes": _get_current_function_mode_stack(),
        "hooks": [*network._forward_hooks, *network._forward_pre_hooks, *network._backward_hooks],
        "global hooks": [*nn.modules.module._global_forward_hooks, *nn.modules.module._global_forward_pre_hooks],
        "gradient hooks": [hooks for p in network.parameters() if (hooks := p._post_accumulate_grad_hooks)],
        "profilers": sys.getprofile() or sys.gettrace(),
        "garbage collection": step > WARM_UP_STEPS and gc.isenabled(),
    }
    if told := [name for name, found in watching.items() if found]:
        raise RuntimeError(f"observed by {', '.join(told)}")


def notes(text: Callable[[], object]) -> Callable[[int, Tiny], None]:
    """A deed that notes something in every step."""
    return lambda _, __: note(str(text()))


def refuses_to_be_built(**_: object) -> Tiny:
    """Notes whether this process can be interrupted, and ends before it touches a device."""
    note("deaf" if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []) else "can be interrupted")
    raise NotImplementedError("not today")


DEEDS: dict[str, Callable[[int, Tiny], object]] = {
    "tiny": lambda _, __: None,
    "tiny_too": lambda _, __: None,
    "raises": fails(RuntimeError("lost the thread"), at_step=2),
    "raises_while_timed": fails(RuntimeError("lost the thread"), at_step=WARM_UP_STEPS + 3),
    "raises_oom": fails(torch.OutOfMemoryError("CUDA out of memory")),
    "allocates": lambda _, __: torch.empty(1 << 60),
    "exits": lambda _, __: os._exit(7),
    "exits_politely": lambda _, __: sys.exit(9),
    "is_killed": lambda _, __: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": crashes,
    "is_unsupported": fails(NotImplementedError("no events here")),
    "shouts": fails(RuntimeError(SHOUT)),
    "ends_early": fails(EOFError("Ran out of input")),
    "prints": lambda _, __: print("hello from the model"),
    "is_nan": lambda _, __: float("nan"),
    "sleeps": lambda _, __: time.sleep(3600),
    "naps": lambda _, __: time.sleep(1),
    "waits": waits,
    "lingers": lingers,
    "needs_room": needs_room,
    "hates_observers": hates_observers,
    "notes_a": notes(lambda: f"a {time.monotonic()}"),
    "notes_b": notes(lambda: f"b {time.monotonic()}"),
    "notes_process": notes(os.getpid),
    "notes_chance": notes(lambda: (random.random(), np.random.random(), torch.rand(()).item())),
}

for _name, _deed in DEEDS.items():
    register(ModelEntry(name=_name, summary=f"a model that {_name}", build=partial(Tiny, deed=_deed)))
register(ModelEntry(name="refuses_to_be_built", summary="a model that was never made", build=refuses_to_be_built))
