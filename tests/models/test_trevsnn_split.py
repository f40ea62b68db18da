"""T-RevSNN of a fixed number of parameters, and without the scale of its residuals."""

import pytest
import torch

from revbench.bench.cases import Case
from revbench.bench.training import prepare
from revbench.models import registry
from revbench.models.networks.trevsnn import trevsnn
from revbench.models.networks.trevsnn_levels import ScaledDepthwise
from revbench.models.networks.trevsnn_split import num_parameters, split_width, trevsnn_split


def count(network: torch.nn.Module) -> int:
    """Trained scalars, each once."""
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("timesteps", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("num_blocks", "width", "num_classes"), [(1, 1, 10), (3, 2, 7)])
def test_parameters_are_counted_without_building(timesteps: int, num_blocks: int, width: int, num_classes: int) -> None:
    """The formula gives what the network has."""
    network = trevsnn(num_blocks, timesteps=timesteps, width=width, num_classes=num_classes)
    told = num_parameters(width, num_blocks=num_blocks, timesteps=timesteps, num_classes=num_classes)
    assert told == count(network)


@pytest.mark.parametrize("timesteps", [1, 2, 4, 8, 16])
def test_no_other_width_comes_nearer(timesteps: int) -> None:
    """Of all widths the one whose parameters are nearest to those at T = 4; there it is the width itself."""

    def distance(width: int) -> int:
        told = num_parameters(width, num_blocks=2, timesteps=timesteps, num_classes=10)
        return abs(told - num_parameters(16, num_blocks=2, timesteps=4, num_classes=10))

    chosen = split_width(16, num_blocks=2, timesteps=timesteps, num_classes=10)
    assert distance(chosen) == min(map(distance, range(1, 64)))
    assert (chosen == 16) == (timesteps == 4)
    assert distance(chosen) < 0.07 * num_parameters(16, num_blocks=2, timesteps=4, num_classes=10)


def test_the_narrowest_network_has_a_width_of_one() -> None:
    """However many timesteps share few parameters."""
    assert split_width(1, num_blocks=1, timesteps=64, num_classes=10) == 1
    assert trevsnn_split(1, timesteps=16, width=1).widths == (1, 2, 4, 6)


def test_a_split_network_is_one_of_its_width() -> None:
    """The same network, made with the same numbers from the same seed."""
    torch.manual_seed(0)
    split = trevsnn_split(1, timesteps=2, width=4)
    torch.manual_seed(0)
    plain = trevsnn(1, timesteps=2, width=split.widths[0])
    assert split.widths[0] > 4
    assert all(torch.equal(a, b) for a, b in zip(split.parameters(), plain.parameters(), strict=True))


def test_without_scale_a_network_lacks_it_and_nothing_else() -> None:
    """One scale a channel, column and block but the last; at the beginning, where it is 1, both compute the same."""
    timesteps, num_blocks, width = 2, 3, 4
    scaled, unscaled = (
        registry.build(name, depth=num_blocks, width=width, timesteps=timesteps)
        for name in ("trevsnn", "trevsnn_unscaled")
    )
    scales = {id(module.scale) for module in scaled.modules() if isinstance(module, ScaledDepthwise)}
    assert len(scales) == timesteps * 4 * (num_blocks - 1)
    assert count(scaled) - count(unscaled) == timesteps * (num_blocks - 1) * sum(scaled.widths)
    assert not any(isinstance(module, ScaledDepthwise) for module in unscaled.modules())
    state = {name: tensor for name, tensor in scaled.state_dict().items() if not name.endswith(".scale")}
    with torch.no_grad():
        for parameter in scaled.parameters():
            if parameter.dim() == 4 and parameter.shape[0] > 1:
                parameter.mul_(20)  # so that neurons fire
    unscaled.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32)
    logits = scaled.eval()(images)
    assert logits.std() > 0
    torch.testing.assert_close(logits, unscaled.eval()(images))


@pytest.mark.parametrize("name", ["trevsnn_unscaled", "trevsnn_split"])
def test_the_variants_train_as_their_stored_twins(name: str) -> None:
    """Gradients of recomputed activations are those of stored ones."""
    gradients = []
    for activations in ("recomputed", "stored"):
        case = Case(model=name, depth=2, width=2, timesteps=2, batch_size=2, activations=activations, dtype="float64")
        training = prepare(case)
        training.step()
        gradients.append([p.grad for p in training.model.parameters() if p.grad is not None])
    assert any(float(gradient.abs().sum()) > 0 for gradient in gradients[0])
    for recomputed, stored in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, stored)
