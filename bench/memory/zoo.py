"""The cases of `revbench validate`: every model under every rule, small, and the papers' sizes."""

from collections.abc import Iterable, Iterator
from typing import Any

from revbench.bench.cases import Case, Device
from revbench.models.entry import ModelEntry

RULES = ("bptt", "sltt", "ottt_a", "tbptt-2", "sltt-2", "ottt_o")
SMALL: dict[str, Any] = {"depth": 1, "width": 16, "timesteps": 4, "batch_size": 16}
OF_PAPERS: dict[str, Any] = {"timesteps": 4, "batch_size": 16}
VARIANTS: tuple[dict[str, Any], ...] = ({"optimizer": "adamw"}, {"dtype": "bfloat16"}, {"activations": "checkpointed"})


def zoo(entries: Iterable[ModelEntry], device: Device) -> list[Case]:
    """The cases, those that tell the most first; rules that do not apply to a model are among them."""
    return list(dict.fromkeys(_cases(list(entries), device)))


def _cases(entries: list[ModelEntry], device: Device) -> Iterator[Case]:
    families = [entry for entry in entries if entry.family]
    for entry in families:
        yield _case(entry, device, SMALL)
    for entry in entries:
        if not entry.family and not entry.name.endswith("_published"):
            yield _case(entry, device, OF_PAPERS)
    for variant in VARIANTS:
        for entry in families:
            yield _case(entry, device, SMALL | variant)
    for rule in RULES[1:]:
        for entry in families:
            yield _case(entry, device, SMALL | {"rule": rule})


def _case(entry: ModelEntry, device: Device, fields: dict[str, Any]) -> Case:
    return Case(model=entry.name, device=device, **fields)
