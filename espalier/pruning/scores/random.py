"""Random scores: the baseline that every other score must beat (Blalock et al. 2020)."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def random(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1); the weights of the network are the seed."""
    del losses
    seed = hashlib.sha256()
    for parameter in network.parameters():
        seed.update(parameter.detach().cpu().double().contiguous().numpy().tobytes())
    number = int.from_bytes(seed.digest()[:8], "big")
    return np.random.default_rng(number).random(groups.count)
