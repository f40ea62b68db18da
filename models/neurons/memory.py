"""What outlives a part of a simulation: potentials of neurons, traces of spikes.

A network is simulated in one part, all its timesteps, from rest, and nothing is remembered. Rules that train on a few
timesteps at a time attach a memory to each layer (`models.simulation`).
"""

from torch import Tensor

from revbench.models import annotations


class Memory:
    """One tensor for each call of a layer within a part; the part after it finds them in the same order.

    A layer whose activations are recomputed is evaluated twice in a part that learns: its first evaluation leaves the
    memory alone, so that the second finds what the first found. So nothing has to be kept twice.

    Attributes:
        evaluated_twice: whether the layer is evaluated once more in this part.
    """

    def __init__(self) -> None:
        self.evaluated_twice = False
        self._tensors: list[Tensor] = []
        self._call = 0
        self._num_first = 0

    def begin_part(self) -> None:
        """Begins a part of the simulation."""
        self._call = self._num_first = 0
        self.evaluated_twice = False

    def before(self) -> Tensor | None:
        """What the same call left in the part before; None in the first part."""
        return self._tensors[self._call] if self._call < len(self._tensors) else None

    def note(self, tensor: Tensor) -> None:
        """Leaves a tensor for the next part.

        Raises:
            NotImplementedError: a layer whose activations are recomputed is called more than once.
        """
        if self.evaluated_twice and annotations.current_kind() != "recomputation":
            self._num_first += 1
            if self._num_first > 1:
                raise NotImplementedError(
                    "a layer that is called more than once in a timestep cannot be recomputed and simulated in parts; "
                    "use the rule bptt or stored activations"
                )
            return
        self._tensors[self._call : self._call + 1] = [tensor]
        self._call += 1

    @property
    def was_noted(self) -> bool:
        """Whether every call of this part has left its tensor."""
        return self._call >= self._num_first
