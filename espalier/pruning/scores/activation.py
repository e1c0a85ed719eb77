"""How strongly a channel answers (Polyak and Wolf 2015; Molchanov et al. 2017, section 2.2)."""

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

_READERS = ("conv1d", "conv2d", "conv3d", "linear")


def activation(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The mean size of a channel's activations, as the layers that read it see it: behind norm and rectifier.

    The mean is over images, places and readers. Groups that no layer reads stay: nothing is known of them.

    Raises:
        BadInput: If there are no losses, whose computing shows the activations.
    """
    listen = _Listen(network)
    with listen:
        for _ in batches(network, losses, "activation"):
            pass
    weights = {
        name: weight.detach() for name, weight in network.named_parameters() if name in listen.sizes
    }
    heard = {
        name: _columns(listen.sizes[name] / listen.calls[name], weight)
        for name, weight in weights.items()
    }
    readers = groups.sum_over_consumers(
        {name: torch.ones_like(weight) for name, weight in weights.items()}
    )
    return np.where(readers > 0, groups.sum_over_consumers(heard) / np.maximum(readers, 1), np.inf)


def _columns(sizes: Tensor, weight: Tensor) -> Tensor:
    """A number for each input of a layer, in the shape of its weight. Grouped filters share their columns."""
    each = sizes.reshape(-1, weight.shape[1]).mean(0).to(weight)
    return each.reshape(1, -1, *(1 for _ in weight.shape[2:])).expand(weight.shape)


class _Listen(TorchFunctionMode):
    """Adds up the mean size of what each weight is multiplied with, whichever module it belongs to."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in network.named_parameters()}
        self.sizes: dict[str, Tensor] = {}
        self.calls: dict[str, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(zip(("input", "weight"), args, strict=False)) | dict(kwargs or {})
        if getattr(func, "__name__", "") in _READERS and id(given.get("weight")) in self._names:
            name, seen = self._names[id(given["weight"])], given["input"].detach()
            channel = (
                seen.ndim - 1 if func.__name__ == "linear" else seen.ndim - given["weight"].ndim + 1
            )
            size = seen.abs().double().mean([dim for dim in range(seen.ndim) if dim != channel])
            self.sizes[name] = self.sizes.get(name, torch.zeros_like(size)) + size
            self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))
