"""The limits that the project promises for the memory of its models, beside what their authors' code needs.

The authors' figures were measured on their published code on a CPU, RevSNN's with the buffers of its GPU kernel
emulated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from revbench.bench.benchmarks.per_image import Activations, Network
from revbench.bench.cases import Case

MIB, MB = 2**20, 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on the activations of one image: on their peak, or on how they grow with the timesteps.

    Attributes:
        figure: what is limited, in words.
        network: whose.
        since: the timesteps from which on the growth at the end of forward is taken; None to limit the peak.
        unit_bytes: the unit of `limit`, in bytes.
        reference: what the authors' code needs; in brackets, once its leaks are closed.
        limit: None where the figure is measured but nothing is promised.
    """

    figure: str
    network: Network
    since: int | None = None
    unit_bytes: int
    reference: str
    limit: float | None

    @property
    def networks(self) -> tuple[Network, ...]:
        """Those that must be traced."""
        return (self.network,) if self.since is None else (_at(self.network, self.since), self.network)

    def measured(self, found: Mapping[Network, Activations]) -> float:
        """The figure, in its unit."""
        if self.since is None:
            return found[self.network].peak_bytes / self.unit_bytes
        before, after = (found[network] for network in self.networks)
        return before.slope_to(after, self.network.case.timesteps - self.since).forward_end_bytes / self.unit_bytes

    def is_kept(self, measured: float) -> bool | None:
        """Whether the limit holds; None where there is none."""
        return None if self.limit is None else measured <= self.limit


def _at(network: Network, timesteps: int) -> Network:
    return replace(network, case=replace(network.case, timesteps=timesteps))


REVSRESNET37 = Network(case=Case(model="revsresnet37"))
REVSFORMER4 = Network(case=Case(model="revsformer4_384"))
TINY = Network(case=Case(model="trevsnn_tiny"))
SMALL_HALF = Network(case=Case(model="trevsnn_small", dtype="bfloat16"))
INVERTED = Network(case=Case(model="trevsnn_tiny", states="inverted"))

LIMITS = (
    Limit(
        figure="RevSResNet37, float32: peak, MiB",
        network=REVSRESNET37,
        unit_bytes=MIB,
        reference="28.3",
        limit=22,
    ),
    Limit(
        figure="RevSFormer-4-384, float32: peak, MiB",
        network=REVSFORMER4,
        unit_bytes=MIB,
        reference="71.7 (60.2)",
        limit=50,
    ),
    Limit(
        figure="T-RevSNN tiny, float32: peak, MB",
        network=TINY,
        unit_bytes=MB,
        reference="79.1 (44.5)",
        limit=44,
    ),
    Limit(
        figure="T-RevSNN small, bfloat16: peak, MB",
        network=SMALL_HALF,
        unit_bytes=MB,
        reference="72.8 (43.9)",
        limit=44,
    ),
    # From 8 to 32 timesteps: 3 whole periods of the values that are kept every 8 updates for the carries' gradients.
    Limit(
        figure="T-RevSNN tiny, growth a timestep, MB:\n  coded, carries frozen, T = 8 to 32",
        network=replace(_at(TINY, 32), frozen_carries=True),
        since=8,
        unit_bytes=MB,
        reference="1.706",
        limit=0.12,
    ),
    Limit(
        figure="  coded, carries learnt, T = 8 to 32",
        network=_at(TINY, 32),
        since=8,
        unit_bytes=MB,
        reference="1.706",
        limit=0.35,
    ),
    Limit(
        figure="  inverted, T = 4 to 8",
        network=_at(INVERTED, 8),
        since=4,
        unit_bytes=MB,
        reference="1.706",
        limit=0,
    ),
    Limit(
        figure="  inverted, T = 8 to 32",
        network=_at(INVERTED, 32),
        since=8,
        unit_bytes=MB,
        reference="1.706",
        limit=None,
    ),
)
