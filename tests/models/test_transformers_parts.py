"""The parts of the transformers against equations written down with loops and with operators of torch."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revbench.models.networks.max_pooling import MaxPool, MaxPooledNeuron
from revbench.models.networks.spike_driven_attention import SpikeDrivenAttention
from revbench.models.networks.spiking_attention import MLP, SpikingSelfAttention, heads_for
from revbench.models.networks.tokenizers import SpikeDrivenTokenizer, SpikingTokenizer
from revbench.models.neurons import IF, LIF, Neuron

T, B, D, H, W = 3, 2, 12, 4, 5


def lively(module: nn.Module) -> nn.Module:
    """The module in float64, with random batch norms under which all neurons fire, some more and some less."""
    module.double()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 1, 4)
            nn.init.uniform_(norm.bias, 0, 2)
    return module


def random_map(channels: int = D) -> Tensor:
    """A map of tokens whose neurons fire often."""
    return torch.randn(T, B, channels, H, W, dtype=torch.float64) * 2 + 1


def lif(x: Tensor, threshold: float = 1.0, tau: float = 2.0) -> Tensor:
    """LIF neurons, written down: decayed charge, fire, reset to 0."""
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in x:
        h = v + (x_t - v) / tau
        spikes.append((h >= threshold).to(x.dtype))
        v = h * (1 - spikes[-1])
    return torch.stack(spikes)


def convolve(layers: nn.Module, x: Tensor) -> Tensor:
    """Convolution and batch norm over all frames of `[T, B, C, H, W]`, from the weights alone."""
    assert isinstance(layers, nn.Sequential)
    convolution, norm = layers[0], layers[1]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    padding = convolution.kernel_size[0] // 2
    frames = F.conv2d(x.flatten(0, 1), convolution.weight, convolution.bias, padding=padding)
    normed: Tensor = F.batch_norm(frames, None, None, norm.weight, norm.bias, training=True)
    return normed.view(*x.shape[:2], *normed.shape[1:])


def pool(x: Tensor, stride: int = 2) -> Tensor:
    """Max pooling 3x3 of all frames."""
    pooled: Tensor = F.max_pool2d(x.flatten(0, 1), 3, stride, 1)
    return pooled.view(*x.shape[:2], *pooled.shape[1:])


def loss_of(y: Tensor) -> Tensor:
    """A loss with another gradient for every element."""
    return (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()


def saved_by(function: Callable[[Tensor], object], x: Tensor) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of the tensors that a call keeps for the backward pass."""
    saved: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append((tensor.dtype, tuple(tensor.shape)))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function(x)
    return saved


# --------------------------------------------------------------------------------------------------- max pooling


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 3, 7, 5), (1, 1, 200, 170)], ids=str)
@pytest.mark.parametrize("values", ["real", "spikes"])
def test_max_pooling_is_that_of_torch(
    shape: tuple[int, ...], stride: int, memory_format: torch.memory_format, values: str
) -> None:
    """Values and gradients are the same bits as those of `F.max_pool2d`, ties between spikes included."""
    x = torch.randn(shape) if values == "real" else (torch.rand(shape) < 0.3).float()
    pooled: list[Tensor] = []
    grads: list[Tensor] = []
    for function in (MaxPool(stride), lambda x: F.max_pool2d(x, 3, stride, 1)):
        leaf = x.detach().to(memory_format=memory_format).requires_grad_()
        pooled.append(function(leaf))
        grads += torch.autograd.grad(loss_of(pooled[-1]), leaf)
    assert torch.equal(pooled[0], pooled[1])
    assert torch.equal(grads[0], grads[1])


@pytest.mark.parametrize(("size", "dtype"), [((128, 256), torch.int16), ((129, 256), torch.int32)])
def test_max_pooling_saves_small_indices(size: tuple[int, int], dtype: torch.dtype) -> None:
    """Nothing is kept but one index for each output, of two bytes as long as they hold it."""
    x = torch.randn(1, 2, *size, requires_grad=True)
    assert saved_by(MaxPool(2), x) == [(dtype, (1, 2, (size[0] + 1) // 2, size[1] // 2))]
    assert saved_by(MaxPool(2), x.detach()) == []


NEURONS = [
    LIF(tau=2.0),
    LIF(tau=1.5, threshold=0.5),
    LIF(tau=2.0, v_reset=None, detach_reset=False),
    IF(v_reset=0.25),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_pooled_neurons_are_neurons_and_pooling(neuron: Neuron, stride: int) -> None:
    """Values and gradients are the same bits as those of the neuron and `F.max_pool2d` under autograd."""
    x = torch.randn(4, 2, 3, 6, 7) + 0.5
    results = []
    for function in (MaxPooledNeuron(neuron, stride), lambda x: pool(neuron(x), stride)):
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        results.append((y.detach(), *torch.autograd.grad(loss_of(y), leaf)))
    assert 0.2 < float(results[0][0].mean()) < 0.999
    assert float(results[0][1].norm()) > 0
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_pooled_neurons_in_plain_autograd(neuron: Neuron) -> None:
    """The backend `reference` and single timesteps give the same spikes, and the same gradients up to rounding."""
    fused = MaxPooledNeuron(neuron, 2)
    reference = MaxPooledNeuron(Neuron(neuron.dynamics, backend="reference"), 2)

    def in_single_steps(x: Tensor) -> Tensor:
        v, spikes = None, []
        for x_t in x:
            s, v = fused.single_step(x_t, v)
            spikes.append(s)
        return torch.stack(spikes)

    x = torch.randn(4, 2, 3, 6, 6, dtype=torch.float64) + 0.5
    results = []
    for function in (fused, reference, in_single_steps):
        leaf = x.detach().requires_grad_()
        y = function(leaf)
        results.append((y.detach(), *torch.autograd.grad(loss_of(y), leaf)))
    for y, grad in results[1:]:
        assert torch.equal(results[0][0], y)
        torch.testing.assert_close(results[0][1], grad, rtol=1e-12, atol=1e-13)


def test_pooled_neurons_save_the_potential_alone() -> None:
    """One number for each neuron and timestep is kept, and nothing where no gradient is asked for."""
    pooled, x = MaxPooledNeuron(LIF(), 2), torch.randn(3, 2, 4, 8, 8, requires_grad=True)
    assert saved_by(pooled, x) == [(torch.float32, (3, 2, 4, 8, 8))]
    assert saved_by(pooled, x.detach()) == []
    assert len(saved_by(lambda x: pool(LIF()(x)), x)) == 3


def test_pooled_neurons_in_half_precision() -> None:
    """Under autocast spikes and gradients have the precision of the input."""
    x = (torch.randn(3, 2, 4, 8, 8) + 0.5).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = MaxPooledNeuron(LIF(), 2)(x), pool(LIF()(x))
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, expected)
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    assert grad.dtype == torch.bfloat16


# ----------------------------------------------------------------------------------------------------- attention


def heads_of(channels: int, num_heads: int) -> list[list[int]]:
    """The channels of each head."""
    size = channels // num_heads
    return [list(range(head * size, (head + 1) * size)) for head in range(num_heads)]


@pytest.mark.parametrize("num_heads", [1, 2, 6])
@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_spiking_self_attention(num_heads: int, tau: float) -> None:
    """The value is that of loops over timesteps, samples, heads and pairs of tokens."""
    attention = lively(SpikingSelfAttention(D, num_heads, tau=tau))
    assert isinstance(attention, SpikingSelfAttention)
    x = random_map()
    s = lif(x, tau=tau)
    q, k, v = (
        lif(convolve(branch.convolution, s), tau=tau).flatten(3)
        for branch in (attention.query, attention.key, attention.value)
    )
    query, key, value, out = q.tolist(), k.tolist(), v.tolist(), torch.zeros_like(q).tolist()
    for t, b, channels, n, m in product(range(T), range(B), heads_of(D, num_heads), range(H * W), range(H * W)):
        alike = sum(query[t][b][c][n] * key[t][b][c][m] for c in channels)
        for c in channels:
            out[t][b][c][n] += 0.125 * alike * value[t][b][c][m]
    spikes = lif(torch.tensor(out, dtype=torch.float64).view(T, B, D, H, W), 0.5, tau)
    with torch.no_grad():
        expected = convolve(attention.projection, spikes)
        torch.testing.assert_close(attention(x), expected, rtol=1e-12, atol=1e-12)
    assert all(0.02 < float(part.mean()) < 0.999 for part in (s, q, k, v, spikes))


def test_gradients_of_the_attention_are_those_of_autograd() -> None:
    """Up to rounding, for spikes and for a gradient of any numbers; nothing is kept but Q, K and V."""
    attention = lively(SpikingSelfAttention(D, 3, tau=2.0))
    assert isinstance(attention, SpikingSelfAttention)
    leaves = [(torch.rand(T, B, 3, D // 3, H * W) < 0.5).double().requires_grad_() for _ in range(3)]
    query, key, value = (leaf.transpose(-2, -1) for leaf in leaves)
    expected = torch.autograd.grad(loss_of(((query @ key.mT) @ value * 0.125).mT.reshape(T, B, D, H, W)), leaves)
    for branch, leaf in zip((attention.query, attention.key, attention.value), leaves, strict=True):
        branch.register_forward_hook(lambda _module, _inputs, _spikes, leaf=leaf: leaf.view(T, B, D, H, W))
    attended = attention._attended(random_map())
    attention.requires_grad_(False)
    assert saved_by(attention._attended, random_map()) == [(torch.float64, tuple(leaf.shape)) for leaf in leaves]
    torch.testing.assert_close(torch.autograd.grad(loss_of(attended), leaves), expected, rtol=1e-12, atol=1e-12)


def test_attention_does_not_mix_timesteps_or_samples() -> None:
    """In evaluation mode, the last timestep of one sample changes nothing elsewhere."""
    attention = lively(SpikingSelfAttention(D, 3, tau=2.0))
    x = random_map()
    attention(x)  # batch statistics, which evaluation mode does not mix samples with
    attention.eval()
    other = x.clone()
    other[-1, 0] = -other[-1, 0]
    y, z = attention(x), attention(other)
    assert torch.equal(y[:-1], z[:-1])
    assert torch.equal(y[:, 1], z[:, 1])
    assert not torch.equal(y[-1, 0], z[-1, 0])


def window(plane: Tensor) -> Tensor:
    """The largest value of the 3x3 neighbourhood of every element of a matrix, written down."""
    rows, columns = plane.shape
    return torch.stack(
        [
            torch.stack([plane[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max() for j in range(columns)])
            for i in range(rows)
        ]
    )


@pytest.mark.parametrize("max_filters", [False, True])
@pytest.mark.parametrize("num_heads", [1, 2, 6])
def test_spike_driven_attention(num_heads: int, max_filters: bool) -> None:
    """The value is that of loops over timesteps, samples, heads and channels, with and without max filters."""
    attention = lively(SpikeDrivenAttention(D, num_heads, max_filters=max_filters))
    assert isinstance(attention, SpikeDrivenAttention)
    x = random_map() - 2
    s = lif(x)
    q, k, v = (lif(convolve(branch.convolution, s)) for branch in (attention.query, attention.key, attention.value))
    frames, heads = list(product(range(T), range(B))), heads_of(D, num_heads)
    if max_filters:
        for t, b in frames:
            for c in range(D):
                k[t, b, c], v[t, b, c] = window(k[t, b, c]), window(v[t, b, c])
    q, k, v = q.flatten(3), k.flatten(3), v.flatten(3)
    counts = torch.zeros(T, B, D, dtype=torch.float64)
    for (t, b), channels in product(frames, heads):
        both = k[t, b, channels] * v[t, b, channels]
        both = window(both.T).T if max_filters else both
        for c, row in zip(channels, both, strict=True):
            counts[t, b, c] = sum(float(element) for element in row)
    mask = lif(counts, 0.5)
    masked = torch.zeros_like(q)
    for (t, b), channels in product(frames, heads):
        kept = torch.stack([q[t, b, c] * mask[t, b, c] for c in channels])
        masked[t, b, channels] = window(kept.T).T if max_filters else kept
    with torch.no_grad():
        expected = convolve(attention.projection, masked.view(T, B, D, H, W))
        torch.testing.assert_close(attention(x), expected, rtol=1e-12, atol=1e-12)
    assert 0.02 < float(q.mean()) < 0.95
    assert 0 < float(masked.mean()) < 0.999


def spikes_of(module: nn.Module, x: Tensor, *neurons: nn.Module) -> list[Tensor]:
    """What these neurons emit when the module reads `x`."""
    seen: dict[nn.Module, Tensor] = {}
    handles = [n.register_forward_hook(lambda n, _inputs, spikes: seen.update({n: spikes})) for n in neurons]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return [seen[neuron] for neuron in neurons]


def test_the_mask_tells_whether_any_token_has_both() -> None:
    """The mask neuron keeps nothing from timestep to timestep: it is the OR of K = V = 1 over the tokens."""
    attention = lively(SpikeDrivenAttention(D, 2))
    assert isinstance(attention, SpikeDrivenAttention)
    k, v, m = spikes_of(
        attention, random_map() - 3, attention.key.neuron, attention.value.neuron, attention.mask_neuron
    )
    assert torch.equal(m.squeeze((-2, -1)).bool(), (k * v).flatten(3).any(-1))
    assert 0.1 < float(m.mean()) < 0.9


@pytest.mark.parametrize(("max_filters", "equal"), [(False, True), (True, False)])
def test_heads_matter_with_max_filters_alone(max_filters: bool, equal: bool) -> None:
    """Without them the same weights give the same bits for any number of heads."""
    outputs = []
    for num_heads in (1, 2, 6):
        torch.manual_seed(0)
        options = {"max_filters": max_filters, "published_dead_parameters": False}
        outputs.append(lively(SpikeDrivenAttention(D, num_heads, **options))(random_map() - 2))
    assert torch.equal(outputs[0], outputs[1]) == equal
    assert torch.equal(outputs[1], outputs[2]) == equal


def test_max_filters_over_tokens_give_the_published_gradient() -> None:
    """Ties go to the first maximum in the order of `[T, B, heads, N, d]`, whatever the layout."""
    attention = SpikeDrivenAttention(D, 3, max_filters=True)
    x = (torch.rand(T, B, D, H, W) < 0.4).float().requires_grad_()
    planes = x.view(T * B, 3, D // 3, H * W).transpose(-2, -1).contiguous()
    expected = F.max_pool2d(planes, 3, 1, 1).transpose(-2, -1).reshape(x.shape)
    found = attention._over_tokens(x)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(loss_of(y), x)[0] for y in (found, expected)))


def test_mlp() -> None:
    """The value is that of the equation, with four times as many hidden channels."""
    mlp = lively(MLP(D, tau=1.5))
    assert isinstance(mlp, MLP)
    x = random_map()
    hidden = lif(convolve(mlp.hidden.convolution, lif(x, tau=1.5)), tau=1.5)
    assert hidden.shape == (T, B, 4 * D, H, W)
    assert 0.1 < float(hidden.mean()) < 0.9
    torch.testing.assert_close(mlp(x), convolve(mlp.projection, hidden), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("width", "head_width", "heads"), [(384, 32, 12), (256, 16, 16), (8, 32, 1), (104, 32, 2), (40, 32, 1)]
)
def test_default_heads(width: int, head_width: int, heads: int) -> None:
    """As published where the head width divides the width, else fewer and wider heads."""
    assert heads_for(width, head_width) == heads


# ------------------------------------------------------------------------------------------------ patch splitting

POOLING = [(False, False, True, True), (True, True, True, True), (False, True, True, True)]


def frames_encoded(stem: nn.Module, x: Tensor) -> Tensor:
    """Frames through the stem, as networks for events do it."""
    y: Tensor = stem(x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


@pytest.mark.parametrize("pooling", POOLING, ids=str)
def test_the_tokenizer_of_spikingformer(pooling: tuple[bool, ...]) -> None:
    """Convolution, then four times (neuron, pooling where it is told, convolution); real numbers come out."""
    tokenizer = lively(SpikingTokenizer(2, 16, pooling, tau=1.5))
    assert isinstance(tokenizer, SpikingTokenizer)
    x = torch.randn(T, B, 2, 32, 16, dtype=torch.float64)
    units = [unit.get_submodule("convolution") for unit in tokenizer.stages.stages]
    current = convolve(tokenizer.stages.stem, x)
    for pooled, convolution in zip(pooling, [*units, tokenizer.convolution], strict=True):
        current = lif(current, tau=1.5)
        assert 0.1 < float(current.mean()) < 0.9
        current = convolve(convolution, pool(current) if pooled else current)
    assert current.shape == (T, B, 16, 32 >> sum(pooling), 16 >> sum(pooling))
    torch.testing.assert_close(tokenizer(x, frames_encoded), current, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pooling", POOLING, ids=str)
def test_the_tokenizer_of_the_spike_driven_transformer(pooling: tuple[bool, ...]) -> None:
    """Three times (convolution, neuron, pooling), then real numbers are pooled, and the position code is added."""
    tokenizer = lively(SpikeDrivenTokenizer(3, 16, pooling))
    assert isinstance(tokenizer, SpikeDrivenTokenizer)
    x = torch.randn(T, B, 3, 32, 16, dtype=torch.float64)
    units = [unit.get_submodule("convolution") for unit in tokenizer.stages.stages]
    current = x
    for pooled, convolution in zip(pooling[:3], [tokenizer.stages.stem, *units], strict=True):
        current = lif(convolve(convolution, current))
        assert 0.1 < float(current.mean()) < 0.9
        current = pool(current) if pooled else current
    u = pool(convolve(tokenizer.convolution, current)) if pooling[3] else convolve(tokenizer.convolution, current)
    y = convolve(tokenizer.position, lif(u)) + u
    assert y.shape == (T, B, 16, 32 >> sum(pooling), 16 >> sum(pooling))
    torch.testing.assert_close(tokenizer(x, frames_encoded), y, rtol=1e-10, atol=1e-10)
