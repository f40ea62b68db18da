"""RevSFormer and its counterpart Spikingformer (RevSNN, AAAI 2024); the Spike-driven Transformer (NeurIPS 2023)."""

from functools import partial

from revbench.models.entry import ModelEntry, deepened, sized
from revbench.models.networks.revsformer import revsformer, revsformer_events
from revbench.models.networks.spike_driven_transformer import sdt, sdt_events, sdt_events64, sdt_imagenet
from revbench.models.networks.spikingformer import spikingformer, spikingformer_events

_IMAGES, _EVENTS = "images 3x32x32", "event frames 2x128x128"
_ANY = "any depth, and any width that is a multiple of 8"
_SMALL_EVENTS, _SMALL = "event frames 2x48x48", 48
_SDT_SMALL_EVENTS, _SDT_SMALL = "event frames 2x32x32", 32
"""Of the families: frames small enough that a CPU learns digits in minutes."""


def _families() -> list[ModelEntry]:
    return [
        deepened("spikingformer", f"Spikingformer, {_ANY}; {_IMAGES}", spikingformer),
        deepened(
            "revsformer",
            f"RevSFormer, {_ANY}; {_IMAGES}",
            revsformer,
            reversible=True,
            counterpart="spikingformer",
        ),
        deepened(
            "spikingformer_event",
            f"Spikingformer, {_ANY}; {_SMALL_EVENTS}",
            partial(spikingformer_events, image_size=_SMALL),
        ),
        deepened(
            "revsformer_event",
            f"RevSFormer, {_ANY}; {_SMALL_EVENTS}",
            partial(revsformer_events, image_size=_SMALL),
            reversible=True,
            counterpart="spikingformer_event",
        ),
        deepened("sdt", f"Spike-driven Transformer, {_ANY}; {_IMAGES}", sdt),
        deepened(
            "sdt_event",
            f"Spike-driven Transformer, {_ANY}; {_SDT_SMALL_EVENTS}",
            partial(sdt_events, image_size=_SDT_SMALL),
        ),
    ]


def _pair(depth: int) -> list[ModelEntry]:
    size = f"{depth} blocks of width 384; {_IMAGES}"
    return [
        sized(f"spikingformer{depth}_384", f"Spikingformer, {size}", spikingformer, depth),
        sized(
            f"revsformer{depth}_384",
            f"RevSFormer, {size}",
            revsformer,
            depth,
            reversible=True,
            counterpart=f"spikingformer{depth}_384",
        ),
    ]


def _sdt_imagenet(depth: int, width: int) -> ModelEntry:
    summary = f"Spike-driven Transformer, {depth} blocks of width {width}; images 3x224x224"
    return sized(f"sdt{depth}_{width}", summary, partial(sdt_imagenet, width=width), depth)


def _sdt_cifar(width: int) -> ModelEntry:
    summary = f"Spike-driven Transformer, 2 blocks of width {width}; {_IMAGES}"
    return sized(f"sdt2_{width}", summary, partial(sdt, width=width), 2)


ENTRIES = [
    *_families(),
    *_pair(2),
    *_pair(4),
    sized("spikingformer2_256_event", f"Spikingformer, 2 blocks of width 256; {_EVENTS}", spikingformer_events, 2),
    sized(
        "revsformer2_256_event",
        f"RevSFormer, 2 blocks of width 256; {_EVENTS}",
        revsformer_events,
        2,
        reversible=True,
        counterpart="spikingformer2_256_event",
    ),
    *(_sdt_imagenet(depth, width) for depth, width in ((8, 384), (6, 512), (8, 512), (10, 512), (8, 768))),
    _sdt_cifar(512),
    _sdt_cifar(256),
    sized("sdt2_256_event", f"Spike-driven Transformer, 2 blocks of width 256; {_EVENTS}", sdt_events, 2),
    sized(
        "sdt2_256_event64",
        "Spike-driven Transformer, 2 blocks of width 256, with max filters; event frames 2x64x64",
        sdt_events64,
        2,
    ),
]
