"""Networks that were written without this suite: anyone's `nn.Module`, as a network of the suite.

Nothing of the module is replaced and the wrapper makes no tensor, so that a training step needs the bytes that the
module's own step needs: `loss(module(x), targets)`.
"""

import sys
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from revbench.models.networks.spiking import InputShape, SpikingNetwork, mean_logits

UNKNOWN_CLASSES = 1
"""Where K is not told, all images of a batch are taken to be of the first class: it changes no byte of a step."""


class OutsideNetwork(SpikingNetwork):
    """Any module that maps a batch to logits, as a network that is trained as a whole.

    The module's own attribute `timesteps`, or `T`, tells how many timesteps it simulates, if it is a number.

    Args:
        module: maps `[B, C, H, W]`, or event frames `[T, B, C, H, W]`, to logits `[T, B, K]` or, for all timesteps
            together, `[B, K]`.
        input_shape: what it reads.
        timesteps: T, where the module does not tell it.
        num_classes: K; None where it is not known.
    """

    undividable = (
        "the module computes all its timesteps in one call, and this rule needs them one after the other; use the rule "
        "bptt, or write it as a SpikingNetwork of revbench or with SpikingJelly's neurons, without a loop over time"
    )

    def __init__(
        self, module: nn.Module, input_shape: InputShape, timesteps: int, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self.input_shape = input_shape
        self.timesteps = own_timesteps(module) or timesteps
        self.num_classes = num_classes or UNKNOWN_CLASSES
        self.num_layers = sum(isinstance(part, _ConvNd | nn.Linear) for part in module.modules())
        self.num_blocks = 0
        self._knows_classes = num_classes is not None

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[T, B, K]`; those of all timesteps together as `[1, B, K]`.

        Raises:
            TypeError: the module returns something else than a tensor.
            ValueError: the tensor has another shape.
        """
        found: Any = self.module(x)
        if not isinstance(found, Tensor):
            raise TypeError(f"the module returns {_named(found)}, not a tensor of logits [T, B, K] or [B, K]")
        sizes = found.shape[-2:]
        batch_size = x.shape[-4]
        if found.ndim not in {2, 3} or sizes[0] != batch_size or (self._knows_classes and sizes[1] != self.num_classes):
            classes = f", K = {self.num_classes}" if self._knows_classes else ""
            raise ValueError(
                f"the logits have shape {list(found.shape)}, not [T, B, K] or [B, K] with B = {batch_size}{classes}"
            )
        return found if found.ndim == 3 else found.unsqueeze(0)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The cross entropy of the logits, or of their mean over timesteps, as the module's own step has it."""
        if len(logits) == 1:
            # Not logits[0], whose gradient is a tensor of its own.
            return nn.functional.cross_entropy(logits.squeeze(0), targets)
        return mean_logits(logits, targets)

    def checkpoint_groups(self) -> list[list[nn.Module]]:
        """See `SpikingNetwork`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the blocks of a module from outside are not known; checkpoint them yourself (torch.utils.checkpoint), and "
            "leave out activations"
        )


def adapt(module: nn.Module, input_shape: InputShape, timesteps: int, num_classes: int | None = None) -> SpikingNetwork:
    """The module as a network of the suite.

    A network of the suite comes back as it is. One with neurons of SpikingJelly gets their rules, unless it has an
    attribute `timesteps` or `T`, which says that it loops over time itself. Anything else is trained as a whole.

    Args:
        module: see `OutsideNetwork`.
        input_shape: what it reads.
        timesteps: T, where the module does not tell it.
        num_classes: K; None where it is not known.

    Raises:
        NotImplementedError: SpikingJelly's neurons are made for one rule.
    """
    if isinstance(module, SpikingNetwork):
        return module
    if "spikingjelly.activation_based" in sys.modules:  # else none of its neurons can be here
        from revbench.models.networks.foreign import (  # noqa: PLC0415 - needs SpikingJelly
            LoopingNetwork,
            SpikingJellyNetwork,
            has_neurons,
        )

        if has_neurons(module):
            kind = LoopingNetwork if own_timesteps(module) else SpikingJellyNetwork
            return kind(module, input_shape, timesteps, num_classes)
    return OutsideNetwork(module, input_shape, timesteps, num_classes)


def own_timesteps(module: nn.Module) -> int | None:
    """T where the module itself tells it, as `timesteps` or `T`."""
    told = (getattr(module, name, None) for name in ("timesteps", "T"))
    return next((number for number in told if type(number) is int and number > 0), None)


def _named(value: object) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
