"""Who holds the bytes of a case at the instant of its peak."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from revbench.bench.cases import Case
from revbench.bench.memory.measure import WARM_UP_STEPS, attribute
from revbench.bench.memory.places import NETWORK, Attribution, Cell, cells_at_peak, folded
from revbench.bench.summary.observe import CONTAINERS
from revbench.bench.training import Training, prepare, world
from revbench.models.target import is_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A case and its live bytes.

    Attributes:
        case: what was run, or traced on fake tensors.
        attribution: the live bytes of one training step in steady state, and where they belong.
        cells: those at the instant of the peak, by layer, timestep, kind and phase, the largest first.
        layers: the name of the block, or of another whole, that each layer is shown with.
        input_shape: what a module from outside reads, which its name does not tell; else empty.
    """

    case: Case
    attribution: Attribution
    cells: tuple[Cell, ...]
    layers: Mapping[str, str]
    input_shape: str = ""

    @property
    def peak_bytes(self) -> int:
        """The peak of the training step."""
        return sum(cell.num_bytes for cell in self.cells)

    @property
    def blocks(self) -> tuple[Cell, ...]:
        """The cells with the layers of a block put together."""
        return folded(self.cells, self.layers)


def explain(case: Case, levels: int | None = None, snapshot: Path | None = None) -> Explanation:
    """Runs two training steps of the case and looks at the second.

    Args:
        case: to be explained.
        levels: see `shown_layers`.
        snapshot: where PyTorch's own record of its CUDA allocator goes, for its viewer; that of a third step.
    """
    with world(case):
        training = prepare(case)
        training.warm_up(WARM_UP_STEPS)
        attribution = attribute(training)
        layers = shown_layers(training.model, levels)
        if snapshot is not None:
            write_snapshot(training, snapshot)
    return Explanation(
        case=case,
        attribution=attribution,
        cells=cells_at_peak(attribution),
        layers=layers,
        input_shape=str(training.model.input_shape) if is_target(case.model) else "",
    )


def shown_layers(model: nn.Module, levels: int | None = None) -> dict[str, str]:
    """For each layer the path it is shown with: by default the block it is part of.

    Args:
        model: whose layers they are.
        levels: how many parts of a path are shown; None for all up to the first module that is no container.
    """
    modules = dict(model.named_modules())
    from_outside = getattr(model, "module", None)  # of a wrapper: it is the network
    shown = {}
    for path in modules:
        parts = path.split(".")
        wholes = [".".join(parts[: number + 1]) for number in range(len(parts))]
        if levels is not None:
            whole = wholes[:levels][-1]
        else:
            whole = next(
                (
                    each
                    for each in wholes
                    if modules[each] is not from_outside and not isinstance(modules[each], CONTAINERS)
                ),
                path,
            )
        shown[path or NETWORK] = whole or NETWORK
    return shown


def write_snapshot(training: Training, path: Path) -> None:
    """Has PyTorch record every allocation of one training step on CUDA, and writes the record for its memory viewer."""
    torch.cuda.memory._record_memory_history(device=training.device)
    try:
        training.step()
        torch.cuda.synchronize(training.device)
        torch.cuda.memory._dump_snapshot(str(path))
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
