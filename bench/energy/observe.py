"""One forward pass on real values, watched: what each layer reads, accumulates and multiplies in each timestep.

A dispatch mode sees every operator, of modules and of functions alike. Whatever depends on the network's input carries
its content along, by storage; what does not (standardised weights) is a constant, prepared once, and costs nothing.
Fused operators that hide products (attention, recurrent layers) are switched off, and reversible sequences walk
forwards only, as they do at inference.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from revbench.bench.energy.content import EVENTS, IMAGES, SPIKES, Content
from revbench.bench.energy.counts import Elementwise, Firing, Observation, Synaptic
from revbench.bench.energy.neurons import neuron_work
from revbench.bench.energy.operators import FREE, RULES, Call, Effect, free_effect, unknown_effect
from revbench.bench.energy.products import PRODUCTS, product_of
from revbench.bench.energy.rows import by_image, by_timestep, in_time, merged
from revbench.bench.summary.observe import is_spiking, left_as_found
from revbench.models.networks.spiking import SpikingNetwork
from revbench.models.neurons import Neuron
from revbench.models.reversible import ReversibleSequence


class UncountedError(Exception):
    """An operator ran on data that no rule knows."""


def observe_network(network: SpikingNetwork, inputs: Tensor, *, strict: bool = False) -> Observation:
    """Counts the inference of a network on a batch; see `observe`.

    Args:
        network: any, preferably trained; it is put into inference form and left as it was found.
        inputs: `[B, C, H, W]` (images, real numbers) or `[T, B, C, H, W]` (event frames, levels).
        strict: see `observe`.
    """
    images = network.input_shape.kind == "images"
    batch_size = inputs.shape[0 if images else 1]
    return observe(
        network,
        inputs,
        timesteps=network.timesteps,
        batch_size=batch_size,
        content=IMAGES if images else EVENTS,
        strict=strict,
    )


def observe(
    model: nn.Module,
    inputs: Tensor,
    *,
    timesteps: int = 1,
    batch_size: int | None = None,
    content: Content = IMAGES,
    strict: bool = False,
) -> Observation:
    """Counts one forward pass of any module in inference form; it leaves the module as it was.

    Args:
        model: called with `inputs` alone.
        inputs: real tensors; values are read.
        timesteps: T, by which frames `[T * B, ...]` are told apart.
        batch_size: B; by default the first dimension of the input, over T if it can be divided.
        content: what the input is declared to be.
        strict: whether an operator that no rule knows is an error.

    Raises:
        UncountedError: such an operator, in strict mode.
        NotImplementedError: fake tensors, which hold no values; their dense operations are in `bench.summary`.
    """
    if any(isinstance(tensor, FakeTensor) for tensor in (inputs, *model.parameters())):
        raise NotImplementedError("fake tensors hold no values to count; `revbench.bench.summary` has dense operations")
    if batch_size is None:
        batch_size = inputs.shape[0] if inputs.shape[0] % timesteps else inputs.shape[0] // timesteps
    observer = _Observer(model, timesteps, batch_size, strict)
    with left_as_found(model), torch.inference_mode(False), torch.no_grad(), _in_parts(), observer.hooked():
        model.eval()
        for module in model.modules():
            if isinstance(module, ReversibleSequence):
                module.activations = "stored"
        inputs = inputs.clone() if inputs.is_inference() else inputs.detach()
        observer.tag(inputs, content)
        with observer:
            model(inputs)
    return Observation(
        timesteps=timesteps,
        batch_size=batch_size,
        synaptic=merged(in_time(observer.synaptic, timesteps)),
        firing=merged(in_time(observer.firing, timesteps)),
        elementwise=merged(observer.elementwise),
        acs_by_image=tuple(observer.by_image[2].tolist()),
        macs_by_image=tuple(observer.by_image[3].tolist()),
        unknown=dict(observer.unknown),
    )


@contextmanager
def _in_parts() -> Iterator[None]:
    """Has attention computed by products that can be seen, instead of by one operator."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _Observer(TorchDispatchMode):
    """Attributes every operator to the innermost module that is running, and follows contents by storage."""

    def __init__(self, model: nn.Module, timesteps: int, batch_size: int, strict: bool) -> None:
        super().__init__()
        self.names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
        self.timesteps = timesteps
        self.batch_size = batch_size
        self.strict = strict
        self.running = [model]
        self.neurons: list[nn.Module] = []
        self.was_counted = False
        self.by_image = torch.zeros(4, batch_size, dtype=torch.float64)
        self.synaptic: list[Synaptic] = []
        self.firing: list[Firing] = []
        self.elementwise: list[Elementwise] = []
        self.unknown: Counter[str] = Counter()
        self._contents: dict[int, tuple[StorageWeakRef, Content]] = {}

    @property
    def layer(self) -> str:
        """The innermost module that is running, as in `named_modules()`."""
        return self.names[self.running[-1]]

    # What tensors hold.

    def tag(self, tensor: Tensor, content: Content) -> None:
        """Declares what a tensor's storage holds; the reference keeps the address from being given out again."""
        reference = StorageWeakRef(tensor.untyped_storage())
        self._contents[reference.cdata] = (reference, content)

    def content(self, tensor: Tensor) -> Content | None:
        """What a tensor was declared to hold; None for what does not depend on the input."""
        found = self._contents.get(tensor.untyped_storage()._cdata)
        return found[1] if found else None

    # Which module is running.

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Follows the calls of the modules inside this block."""
        with ExitStack() as hooks:
            for module in self.names:
                surroundings = ExitStack()
                hooks.callback(module.register_forward_pre_hook(partial(self._begin, surroundings)).remove)
                hooks.callback(module.register_forward_hook(partial(self._end, surroundings)).remove)
            yield

    def _begin(self, surroundings: ExitStack, module: nn.Module, inputs: Any) -> None:
        self.running.append(module)
        if isinstance(module, nn.RNNBase):  # else one operator computes all of it
            surroundings.enter_context(torch.backends.mkldnn.flags(enabled=False))
            surroundings.enter_context(torch.backends.cudnn.flags(enabled=False))
        if is_spiking(module):
            self.neurons.append(module)
            self.was_counted = False

    def _end(self, surroundings: ExitStack, module: nn.Module, inputs: Any, output: Any) -> None:
        self.running.pop()
        surroundings.close()
        if not is_spiking(module):
            return
        self.neurons.pop()
        if not self.was_counted:
            with _disable_current_modes():
                self._fired(module, inputs[0].shape, output)
        self.tag(output, SPIKES)

    # What operators do.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = Call(func, args, kwargs or {}, self.content)
        if not call.contents:
            if func is torch.ops.aten.zeros.default and isinstance(self.running[-1], nn.RNNBase):
                self.tag(call.result, IMAGES)  # the state before the first timestep is multiplied as any other
            return call.result
        content = self._content_after(call)
        for tensor in call.outputs:
            self.tag(tensor, content)
        return call.result

    def _content_after(self, call: Call) -> Content:
        packet = call.func.overloadpacket
        if packet is torch.ops.revbench.multi_step:
            self._fired((self.neurons or self.running)[-1], call.args[0].shape, call.result[0])
            return SPIKES
        if packet in PRODUCTS:
            return self._multiplied(call)
        if packet in RULES:
            pools = packet is torch.ops.aten.max_pool2d_with_indices
            if pools and self.neurons and not self.was_counted:
                self._fired(self.neurons[-1], call.args[0].shape, call.args[0])
            return self._noted(RULES[packet](call), ignored=bool(self.neurons) and not pools)
        if packet in FREE or not call.outputs:
            return self._noted(free_effect(call), ignored=True)
        if not self.neurons:
            self.unknown[str(packet)] += 1
            if self.strict:
                raise UncountedError(f"no rule counts {packet}, called in {self.layer or 'the network'}")
        return unknown_effect(call).content

    def _noted(self, effect: Effect, *, ignored: bool) -> Content:
        """The work of neurons is counted with the neurons, whatever operators they are made of."""
        if effect.role and not ignored:
            folded = effect.work if effect.folded is None else effect.folded
            self.elementwise.append(Elementwise(layer=self.layer, role=effect.role, work=effect.work, folded=folded))
        return effect.content

    def _multiplied(self, call: Call) -> Content:
        product = product_of(call)
        self.by_image += by_image(product.rows, self.timesteps, self.batch_size).cpu()
        for timestep, share, sums in by_timestep(product.rows, self.timesteps, self.batch_size):
            events, sops, acs, macs = sums
            self.synaptic.append(
                Synaptic(
                    layer=self.layer,
                    operator=str(call.func.overloadpacket).removeprefix("aten."),
                    timestep=timestep,
                    kind=product.content.kind,
                    scale=product.content.scale,
                    origin=product.content.origin,
                    weights=product.num_weights,
                    inputs=product.num_inputs // share,
                    outputs=call.size // share,
                    events=events,
                    dense_macs=product.dense_macs // share,
                    sops=sops,
                    acs=acs,
                    macs=macs,
                )
            )
        if product.bias_additions:
            effect = Effect(content=product.result, role="bias", work=product.bias_additions)
            self._noted(effect, ignored=False)
        return replace(product.result, fresh="biased" if product.bias_additions else "unbiased")

    def _fired(self, module: nn.Module, shape: torch.Size, spikes: Tensor) -> None:
        """Notes a layer of neurons of that shape, `[T, B, ...]`, `[T * B, ...]` or `[B, ...]`, and what it returned."""
        T, B = self.timesteps, self.batch_size
        has_time = tuple(shape[:2]) == (T, B) or shape[0] == T * B
        share = T if has_time else 1
        dynamics = module.dynamics if isinstance(module, Neuron) else None
        for index, number in enumerate(torch.count_nonzero(spikes.reshape(share, -1), dim=1).tolist()):
            self.firing.append(
                Firing(
                    layer=self.names[module],
                    timestep=index if has_time else None,
                    neurons=shape.numel() // share,
                    spikes=number,
                    work=neuron_work(dynamics, shape.numel() // share, number),
                )
            )
        self.was_counted = True
