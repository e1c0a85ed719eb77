"""The norm of the weights that make a unit (Li et al. 2017; over all coupled filters, as Fang et al. 2023)."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.units import Units


def magnitude(
    network: nn.Module, units: Units, losses: Callable[[nn.Module], Iterator[Tensor]] | None = None
) -> NDArray[np.float64]:
    """The L2 norm of each unit's rows, scales and shifts, relative to the mean of its layer.

    Without the division, layers whose weights are small by their nature would be emptied first.
    """
    del losses
    squares = {name: parameter.detach() ** 2 for name, parameter in network.named_parameters()}
    norms = np.sqrt(units.over_rows(squares))
    layers = int(units.layer.max(initial=-1)) + 1
    mean = np.bincount(units.layer, norms, layers) / np.bincount(units.layer, minlength=layers)
    return norms / np.maximum(mean, np.finfo(float).tiny)[units.layer]
