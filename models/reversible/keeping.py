r"""How the values of the streams survive to the backward pass.

* `inverted`: only the last values are kept; the others are restored by solving each coupling for its target. Flat in
  the number of couplings. A carry below 1 multiplies rounding errors by $1/\alpha$ at each step, so a guard predicts
  the error, keeps a value wherever it would grow beyond the tolerance, and says so.
* `stored`: every value is kept that is read later.
* `coded`: two bits an element of every value that is read later, which is exact for functions that read their sources
  through thresholds alone (`codes`). The gradient of a carry needs the values themselves: where a carry is learnt,
  they are kept at most every `LONGEST_CHAIN` updates and inverted in between.

Predicted error of a chain of inversions, from a kept value backwards, with the rounding unit $u$ and the larger
magnitude $m$ of the value before and of what was added: $e \leftarrow (e + u m) / \min|\alpha|$, beginning with 0.
It takes the functions' values as exact, which they are where they read through thresholds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from revbench.models.reversible.codes import Coded, encode
from revbench.models.reversible.couplings import Coupling, Wiring

States = Literal["inverted", "stored", "coded"]

STATE_TOLERANCE = 1e-4
"""Error of an inverted state, absolute, beyond which it is kept instead: thresholds lie at 0, 0.5 and 1."""
CARRY_TOLERANCE = 1e-4
"""Error of a state that only the gradient of a carry needs, relative to the largest state."""
LONGEST_CHAIN = 8
"""Updates of a stream after which a value is kept for the gradients of carries."""


@dataclass(frozen=True, slots=True)
class InversionReport:
    """What the guard of one forward pass found.

    Attributes:
        num_kept: values that were kept because inverting them would have lost too much.
        predicted_error: the largest predicted error of an inverted value: absolute where states are inverted,
            relative to the largest state where they are coded.
    """

    num_kept: int
    predicted_error: float


@dataclass(slots=True)
class _Chain:
    """A run of inversions of one stream that begins at its next kept value."""

    length: int = 0
    amplification: float = 1.0
    error: float = 0.0

    def extended(self, rounding: float, smallest: float) -> "_Chain":
        """With one more inversion at its late end; every earlier value inherits the error of the later ones."""
        amplification = self.amplification / smallest
        return _Chain(self.length + 1, amplification, self.error + rounding * amplification)


@dataclass(slots=True)
class Keeper:
    """Decides during one forward pass what is kept, and keeps it.

    A moment is the place of a coupling, for its target before it; or, for the last value of stream s, the number of
    couplings plus s.

    Attributes:
        couplings: of the sequence.
        wiring: of the couplings.
        states: how values survive.
        tolerance: of the guard where states are inverted; infinite to invert whatever is lost.
        exact: kept values, by moment.
        coded: the same as codes.
    """

    couplings: Sequence[Coupling]
    wiring: Wiring
    states: States
    tolerance: float
    exact: dict[int, Tensor] = field(default_factory=dict)
    coded: dict[int, Coded] = field(default_factory=dict)
    _smallest: dict[int, float] = field(default_factory=dict)
    _chains: dict[int, _Chain] = field(default_factory=dict)
    _num_kept: int = 0
    _predicted_error: float = 0.0

    def __post_init__(self) -> None:
        carried = [i for i, coupling in enumerate(self.couplings) if coupling.carry is not None]
        if self.states == "coded":
            carried = [i for i in carried if self._learnt_streams & {self.couplings[i].target}]
        if carried and self.states != "stored":
            self._smallest = dict(zip(carried, _smallest_carries([self.couplings[i] for i in carried]), strict=True))

    @property
    def _learnt_streams(self) -> set[int]:
        """The streams whose values the gradient of a carry needs."""
        return {c.target for c in self.couplings if c.carry is not None and c.carry.factor.requires_grad}

    def before(self, index: int, value: Tensor, change: Tensor) -> bool:
        """Looks at the target of coupling `index` before it changes, and at what will be added to the part that stays.

        Returns:
            Whether this very tensor is kept.
        """
        carry = self.couplings[index].carry
        if self.states == "stored":
            keep = self.wiring.read_before[index] or (carry is not None and carry.factor.requires_grad)
        else:
            keep = index in self._smallest and self._breaks_chain(index, value, change)
        if keep:
            self.exact[index] = value
        elif self.states == "coded" and self.wiring.read_before[index]:
            self.coded[index] = encode(value)
        return keep

    def at_end(self, streams: Sequence[Tensor | None]) -> None:
        """Keeps of the last values what the backward pass begins with."""
        changed = {coupling.target for coupling in self.couplings if not coupling.creates}
        made = {coupling.target for coupling in self.couplings}
        for stream, value in enumerate(streams):
            if value is None:
                continue
            moment = len(self.couplings) + stream
            if self.states == "coded" and stream in made:
                if stream in self._learnt_streams:
                    self.exact[moment] = value
                elif self.wiring.read_at_end[stream]:
                    self.coded[moment] = encode(value)
            elif self.wiring.read_at_end[stream] or (self.states == "inverted" and stream in changed):
                self.exact[moment] = value

    def _breaks_chain(self, index: int, value: Tensor, change: Tensor) -> bool:
        rounding = torch.finfo(value.dtype).eps / 2
        tolerance, longest = CARRY_TOLERANCE, LONGEST_CHAIN
        if self.states == "inverted":
            tolerance, longest = self.tolerance, len(self.couplings) + 1
            # What is inverted is rounded as it is afterwards: a state of zeros loses what the first change loses.
            rounding *= max(_magnitude(value), _magnitude(change))
        stream = self.couplings[index].target
        chain = self._chains.get(stream, _Chain()).extended(rounding, self._smallest[index])
        # The value before a coupling that breaks the chain is kept; the next inversion begins a new one.
        broken = chain.error > tolerance or chain.length > longest - 1
        if broken:
            self._num_kept += 1
        else:
            self._predicted_error = max(self._predicted_error, chain.error)
        self._chains[stream] = _Chain() if broken else chain
        return broken

    def report(self) -> InversionReport:
        """What the guard found; warns where states that were to be inverted had to be kept."""
        if self.states == "inverted" and self._num_kept:
            warnings.warn(
                f"inverting the states through all updates would lose more than {self.tolerance:g} (predicted), "
                f"so {self._num_kept} states are stored; memory grows with the timesteps (states='coded' needs less)",
                RuntimeWarning,
                stacklevel=2,
            )
        return InversionReport(self._num_kept, self._predicted_error)


def _smallest_carries(couplings: Sequence[Coupling]) -> list[float]:
    """The least magnitude of each coupling's carry; on fake tensors, which hold no numbers, that at the beginning."""
    carries = [coupling.carry for coupling in couplings if coupling.carry is not None]
    least = torch.stack([carry.effective().detach().abs().amin() for carry in carries])
    if isinstance(least, FakeTensor):
        return [max(abs(carry.initial), carry.smallest) for carry in carries]
    magnitudes: list[float] = least.tolist()
    return magnitudes


def _magnitude(value: Tensor) -> float:
    """The largest magnitude in a tensor; on fake tensors 1."""
    if not value.numel():
        return 0.0
    least, most = torch.aminmax(value)
    return 1.0 if isinstance(value, FakeTensor) else max(-float(least), float(most))
