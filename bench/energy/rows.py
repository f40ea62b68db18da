"""From frames to timesteps, and from calls to rows."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from revbench.bench.energy.counts import Firing, Row, Synaptic

AnyRow = TypeVar("AnyRow", bound=Row)
InTime = TypeVar("InTime", Synaptic, Firing)


def by_timestep(rows: Tensor, timesteps: int, batch_size: int) -> Iterator[tuple[int | None, int, list[int]]]:
    """Sums of frames or rows `[K, R]` over each timestep: timestep, number of parts that R was divided in, K sums.

    Sequences are flattened with time first, so that R is a multiple of T * B; anything else is one part without a
    timestep, such as the B images of an encoding that is computed once.
    """
    has_time = rows.shape[1] > 0 and rows.shape[1] % (timesteps * batch_size) == 0
    share = timesteps if has_time else 1
    for index, sums in enumerate(rows.reshape(len(rows), share, -1).sum(2).t().tolist()):
        yield index if has_time else None, share, sums


def by_image(rows: Tensor, timesteps: int, batch_size: int) -> Tensor:
    """Sums of the same rows over each image, `[K, B]`; of rows that belong to no image alone, an equal share of all."""
    if rows.shape[1] % batch_size:
        return rows.sum(1, keepdim=True).expand(-1, batch_size).double() / batch_size
    has_time = rows.shape[1] % (timesteps * batch_size) == 0
    return rows.reshape(len(rows), timesteps if has_time else 1, batch_size, -1).sum((1, 3)).double()


def in_time(rows: Iterable[InTime], timesteps: int) -> list[InTime]:
    """Calls without a timestep, exactly T of them alike in one layer, are the timesteps one after the other."""
    listed = list(rows)
    calls = Counter(_place(row) for row in listed if row.timestep is None)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for row in listed:
        place = _place(row)
        if timesteps > 1 and row.timestep is None and calls[place] == timesteps:
            found.append(replace(row, timestep=seen[place]))
            seen[place] += 1
        else:
            found.append(row)
    return found


def merged(rows: Iterable[AnyRow]) -> tuple[AnyRow, ...]:
    """Rows about the same added up, in the order of the first."""
    sums: dict[tuple[object, ...], AnyRow] = {}
    for row in rows:
        known = sums.get(row.identity)
        sums[row.identity] = row if known is None else known.plus(row)
    return tuple(sums.values())


def _place(row: Synaptic | Firing) -> tuple[str, ...]:
    return row.layer, row.operator if isinstance(row, Synaptic) else "neurons"
