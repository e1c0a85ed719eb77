"""What a score is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.groups import Groups

Losses = Callable[[nn.Module], Iterator[Tensor]]
"""Yields the loss of a network for each batch of training images; it is to be small after the cut too."""

Function = Callable[[nn.Module, Groups, Losses | None], NDArray[np.float64]]
"""Maps a network in evaluation mode to a number per group (count,), larger for more important."""


@dataclass(frozen=True)
class Score:
    """A way to say which groups matter.

    Attributes:
        function: Computes it.
        patterns: What its groups can be, of `channels`, `heads`, `blocks`, `weights` and `n_of_m`.
        data: What it asks of the losses: nothing, batches of images, or batches of one image each.
        reason: Why the other patterns make no sense with it.
    """

    function: Function
    patterns: tuple[str, ...] = ("channels", "heads", "blocks", "weights", "n_of_m")
    data: Literal["", "batches", "examples"] = ""
    reason: str = ""
