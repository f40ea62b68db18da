"""RevSNN's pairs (AAAI 2024) with the buffers of the published code, which its printed ratios come from."""

from functools import partial

from revbench.models.entry import ModelEntry, sized
from revbench.models.networks.msresnet import msresnet
from revbench.models.networks.revsformer import revsformer
from revbench.models.networks.revsresnet import revsresnet
from revbench.models.networks.spikingformer import spikingformer

_WITH = "with the published code's buffers; images 3x32x32"


def _resnets(layers: int, blocks: list[int], twin: int, twin_blocks: list[int]) -> list[ModelEntry]:
    plain = f"msresnet{layers}_published"
    return [
        sized(plain, f"MS-ResNet of {layers} layers, {_WITH}", partial(msresnet, published_buffers=True), blocks),
        sized(
            f"revsresnet{twin}_published",
            f"RevSResNet of {twin} layers, {_WITH}",
            partial(revsresnet, published_buffers=True),
            twin_blocks,
            reversible=True,
            counterpart=plain,
        ),
    ]


def _transformers(depth: int) -> list[ModelEntry]:
    size = f"{depth} blocks of width 384, {_WITH}"
    plain = f"spikingformer{depth}_384_published"
    return [
        sized(plain, f"Spikingformer, {size}", partial(spikingformer, published_buffers=True), depth),
        sized(
            f"revsformer{depth}_384_published",
            f"RevSFormer, {size}",
            partial(revsformer, published_buffers=True),
            depth,
            reversible=True,
            counterpart=plain,
        ),
    ]


ENTRIES = [
    *_resnets(18, [2, 2, 2, 2], 21, [1, 1, 1, 1]),
    *_resnets(34, [3, 4, 6, 3], 37, [1, 2, 3, 2]),
    *_transformers(2),
    *_transformers(4),
]
