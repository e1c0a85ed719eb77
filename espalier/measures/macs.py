"""The work of a network."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from espalier.models.graph import Example, evaluating

_Rule = Callable[..., int]


@torch.no_grad()
def count_macs(network: nn.Module, example: Example) -> int:
    """Multiply-accumulates for one example: of convolutions, matrix products, attention and recurrent layers.

    Args:
        network: network; its modes are left as they were.
        example: inputs (N, ...) as the network sees them, of any N, or one such tensor for each of
            several inputs. Their values are not used.

    Example:
        >>> count_macs(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 10, 6))  # 10 * 6 * 8 * 3 * 9
        12960
    """
    first = next(network.parameters(), None)
    inputs = [
        _one(value, first) for value in (example if isinstance(example, tuple) else (example,))
    ]
    with evaluating(network), _counting() as counter:
        network(*inputs)
    return counter.macs


@torch.no_grad()
def count_macs_of_layers(
    network: nn.Module, names: Iterable[str], example: Tensor
) -> dict[str, int]:
    """Multiply-accumulates of each of some layers, with the layers inside it, by the layer's name.

    Args:
        network: network in evaluation mode.
        names: names of layers.
        example: inputs (N, ...) as the network sees them; all of them count.
    """
    macs: Counter[str] = Counter()
    with _counting() as counter, ExitStack() as hooks:
        for name in names:
            layer = network.get_submodule(name)

            def enter(*_: Any, name: str = name) -> None:
                macs[name] -= counter.macs

            def leave(*_: Any, name: str = name) -> None:
                macs[name] += counter.macs

            hooks.enter_context(layer.register_forward_pre_hook(enter))
            hooks.enter_context(layer.register_forward_hook(leave))
        network(example)
    return {name: macs[name] for name in names}


def _one(value: Tensor, weight: Tensor | None) -> Tensor:
    """One example of zeros, on the network's device and in its type where it is not integer."""
    zeros = torch.zeros(1, *value.shape[1:], dtype=value.dtype)
    if weight is None:
        return zeros.to(value.device)
    return zeros.to(weight) if zeros.is_floating_point() else zeros.to(weight.device)


@contextmanager
def _counting() -> Iterator["_MacCounter"]:
    """Count what is computed inside."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # a whole layer of a transformer would be one operator, which has no rule
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _MacCounter() as counter:  # type: ignore[no-untyped-call]  # of torch
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _MacCounter(TorchDispatchMode):
    """Sums the multiply-accumulates of all operators that have a rule.

    It counts as `torch.utils.flop_counter` does, without the 1.3 s of the processor that its first use takes.

    Attributes:
        macs: sum so far.
    """

    macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch imports its compiler at the first operator, in order not to compile `__torch_dispatch__`."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Execute an operator, and add its multiply-accumulates."""
        rule = _RULES.get(func.overloadpacket)
        if rule is None:
            with self:  # in inference mode, composite operators are not yet decomposed
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        if rule is not None:
            self.macs += rule(result, *args)
        return result


def _convolution(output: Tensor, images: Tensor, weight: Tensor, *options: Any) -> int:
    """Each weight once per output position, or once per input position if it is transposed."""
    *_, transposed = options[:5]  # after bias, stride, padding and dilation
    places = images if transposed else output
    return len(images) * math.prod(places.shape[2:]) * weight.numel()


def _product(_: Tensor, one: Tensor, other: Tensor, *__: Any) -> int:
    """Matrices (..., m, k) and (..., k, n): m k n for each pair."""
    return one.numel() * other.shape[-1]


def _sum_and_product(_: Tensor, __: Tensor, one: Tensor, other: Tensor, *___: Any) -> int:
    return _product(_, one, other)


def _times_vector(_: Tensor, one: Tensor, *__: Any) -> int:
    """Each element of a matrix or vector once."""
    return one.numel()


def _sum_and_times_vector(_: Tensor, __: Tensor, one: Tensor, *___: Any) -> int:
    return one.numel()


def _bilinear(_: Tensor, one: Tensor, weight: Tensor, *__: Any) -> int:
    """Inputs (N, a) and (N, b) by a weight (c, a, b): each of its elements once for each example."""
    return len(one) * weight.numel()


def _attention(_: Any, query: Tensor, key: Tensor, value: Tensor, *__: Any) -> int:
    """Queries times keys and weights times values, without regard to masks.

    Heads of keys and values may be fewer than those of queries, and are used again then.
    """
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def _recurrent_onednn(_: Any, inputs: Tensor, *weights: Any) -> int:
    """Each weight of the two matrices, from inputs and from the state, once per step and example."""
    return _per_step(inputs, weights[:2])


def _recurrent_cudnn(_: Any, inputs: Tensor, weights: list[Tensor], *__: Any) -> int:
    """Each weight of the matrices of all layers and directions once per step and example."""
    return _per_step(inputs, weights)


def _per_step(inputs: Tensor, weights: Iterable[Tensor]) -> int:
    matrices = sum(weight.numel() for weight in weights if weight.ndim > 1)
    return math.prod(inputs.shape[:-1]) * matrices


_ATEN = torch.ops.aten
_RULES: dict[Any, _Rule] = {
    _ATEN.convolution: _convolution,
    _ATEN._convolution: _convolution,
    _ATEN.mm: _product,
    _ATEN.bmm: _product,
    _ATEN.addmm: _sum_and_product,
    _ATEN.baddbmm: _sum_and_product,
    _ATEN.mv: _times_vector,
    _ATEN.dot: _times_vector,
    _ATEN.vdot: _times_vector,
    _ATEN.addmv: _sum_and_times_vector,
    _ATEN._trilinear: _bilinear,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention: _attention,
    _ATEN._scaled_dot_product_efficient_attention: _attention,
    _ATEN._scaled_dot_product_cudnn_attention: _attention,
    _ATEN.mkldnn_rnn_layer: _recurrent_onednn,
    _ATEN._cudnn_rnn: _recurrent_cudnn,
}


def count_parameters(network: nn.Module) -> int:
    """Numbers that are learned; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def fraction_of_zeros(network: nn.Module) -> float:
    """The part of the weights of layers that is zero: biases and norms do not count."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / max(1, sum(weight.numel() for weight in weights))
