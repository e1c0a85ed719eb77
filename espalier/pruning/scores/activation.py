"""Mean activation of a group (Polyak and Wolf 2015; Molchanov et al. 2017, section 2.2)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import batches
from espalier.pruning.scores.score import Losses

_CONSUMERS = ("conv1d", "conv2d", "conv3d", "linear")
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_FIRST_LAYER = ("weight_ih_l0", "weight_ih_l0_reverse")


def activation(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The mean absolute activation of a group at the inputs of its consumers: after norms.

    The mean is over examples, positions and consumers. Of a recurrent layer the inputs are known,
    and its states only where another layer reads them. Groups without a consumer score infinity,
    because nothing is known of them: they stay.

    Raises:
        BadInput: if there are no losses, whose computation produces the activations.
    """
    recorder = _InputRecorder(network)
    with recorder:
        for _ in batches(network, losses, "activation"):
            pass
    weights = {
        name: weight.detach()
        for name, weight in network.named_parameters()
        if name in recorder.sums
    }
    means = {
        name: _columns(recorder.sums[name] / recorder.calls[name], weight)
        for name, weight in weights.items()
    }
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    consumers = groups.sum_over_consumers(ones)
    mean = groups.sum_over_consumers(means) / np.maximum(consumers, 1)
    return np.where(consumers > 0, mean, np.inf)


def _columns(means: Tensor, weight: Tensor) -> Tensor:
    """The mean of each input of a layer, in the shape of its weight; groups share their columns."""
    each = means.reshape(-1, weight.shape[1]).mean(0).to(weight)
    return each.reshape(1, -1, *(1 for _ in weight.shape[2:])).expand(weight.shape)


class _InputRecorder(TorchFunctionMode):
    """Sums the mean absolute input of each weight's multiplication, in whatever module it is.

    Attributes:
        sums: sum over calls of the mean absolute value of each input channel, by weight.
        calls: number of calls, by weight.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in network.named_parameters()}
        self.sums: dict[str, Tensor] = {}
        self.calls: dict[str, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        operator = getattr(func, "__name__", "")
        if operator in _CONSUMERS:
            given = dict(zip(("input", "weight"), args, strict=False)) | keywords
            self._record_known(operator, given["input"], given.get("weight"))
        elif operator in _RECURRENT and isinstance(args[2], list | tuple):
            for weight in args[2]:
                if self._names.get(id(weight), "").rpartition(".")[2] in _FIRST_LAYER:
                    self._record_known("linear", args[0], weight)
        return func(*args, **keywords)

    def _record_known(self, operator: str, inputs: Tensor, weight: Any) -> None:
        name = self._names.get(id(weight))
        if name is not None:
            self._record(name, operator, inputs.detach(), weight)

    def _record(self, name: str, operator: str, inputs: Tensor, weight: Tensor) -> None:
        last = inputs.ndim - 1
        channel = last if operator == "linear" else last + 2 - weight.ndim
        others = [dim for dim in range(inputs.ndim) if dim != channel]
        mean = inputs.abs().double().mean(others)
        self.sums[name] = self.sums.get(name, torch.zeros_like(mean)) + mean
        self.calls[name] = self.calls.get(name, 0) + 1
