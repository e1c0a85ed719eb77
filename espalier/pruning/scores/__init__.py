"""Scores say which units matter: each maps (network, units, losses) to a number per unit, larger for more.

`losses` yields, for each batch of training images, the loss that the network is to be good at.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.scores.taylor import taylor
from espalier.pruning.units import Units

Losses = Callable[[nn.Module], Iterator[Tensor]]
Score = Callable[[nn.Module, Units, Losses | None], NDArray[np.float64]]

SCORES: dict[str, Score] = {"magnitude": magnitude, "taylor": taylor}

__all__ = ["SCORES", "Losses", "Score", "magnitude", "taylor"]
