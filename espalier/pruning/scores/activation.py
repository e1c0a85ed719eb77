"""Mean activation of a group (Polyak and Wolf 2015; Molchanov et al. 2017, section 2.2)."""

from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.models.layer_inputs import LayerInput, LayerInputs
from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import batches
from espalier.pruning.scores.score import Losses


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
    sums: dict[str, Tensor] = {}
    calls = Counter[str]()

    def add(given: LayerInput) -> None:
        mean = given.rows().abs().double().mean(0)
        sums[given.weight] = sums.get(given.weight, torch.zeros_like(mean)) + mean
        calls[given.weight] += 1

    with LayerInputs(network, add):
        for _ in batches(network, losses, "activation"):
            pass
    weights = {name: weight.detach() for name, weight in network.named_parameters() if name in sums}
    means = {name: _columns(sums[name] / calls[name], weight) for name, weight in weights.items()}
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    consumers = groups.sum_over_consumers(ones)
    mean = groups.sum_over_consumers(means) / np.maximum(consumers, 1)
    return np.where(consumers > 0, mean, np.inf)


def _columns(means: Tensor, weight: Tensor) -> Tensor:
    """The mean of each input of a layer, in the shape of its weight; groups share their columns."""
    each = means.reshape(-1, weight.shape[1]).mean(0).to(weight)
    return each.reshape(1, -1, *(1 for _ in weight.shape[2:])).expand(weight.shape)
