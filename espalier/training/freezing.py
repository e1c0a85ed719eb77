"""Layers that a training leaves as they are."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Self

from torch import nn

from espalier.errors import BadInput


class Frozen:
    """The frozen layers of a network: no gradient, and no update of the statistics of their norms.

    Use it as a context around the training.

    Args:
        network: network to be trained.
        patterns: names of layers, with `*` for any part: `layer1`, `layer*`, `*.bn1`. A layer is
            frozen with all layers inside it.

    Raises:
        BadInput: if a pattern matches no layer, or nothing is left to train.
    """

    def __init__(self, network: nn.Module, patterns: Sequence[str]) -> None:
        self._layers = [layer for pattern in patterns for layer in _matching(network, pattern)]
        parameters = {id(one): one for layer in self._layers for one in layer.parameters()}
        self._parameters = [one for one in parameters.values() if one.requires_grad]
        if patterns and all(id(one) in parameters for one in network.parameters()):
            raise BadInput(
                f"Expected `freeze` to leave parameters to train; found none beside "
                f"{', '.join(patterns)}."
            )

    def __enter__(self) -> Self:
        """Exclude the parameters from the gradient."""
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        return self

    def __exit__(self, *_: object) -> None:
        """Include them again, for later trainings."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)

    def keep_statistics(self) -> None:
        """Put the frozen layers into evaluation mode; to be called after `network.train()`."""
        for layer in self._layers:
            layer.eval()


def _matching(network: nn.Module, pattern: str) -> list[nn.Module]:
    """The layers whose names match a pattern.

    Raises:
        BadInput: if there are none.
    """
    layers = {name: layer for name, layer in network.named_modules() if name}
    found = [layer for name, layer in layers.items() if fnmatchcase(name, pattern)]
    if not found:
        raise BadInput(
            f"Expected every pattern of `freeze` to match a layer, such as "
            f"{', '.join(list(layers)[:6])}; found {pattern!r}, which matches none."
        )
    return found
