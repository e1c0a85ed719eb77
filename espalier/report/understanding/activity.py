"""Activity of removed channels: their mean activation in the network that was pruned."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from espalier.pruning.groups import DependencyGroups, KeptOutputs
from espalier.pruning.scores.activation import activation

_COLUMNS = ["layer", "kept", "cut"]


def mean_activations(
    network: nn.Module, groups: DependencyGroups, batches: Iterable[Tensor]
) -> np.ndarray:
    """The mean absolute activation of each group, at the inputs of its consumers.

    Args:
        network: a network in evaluation mode; it is not changed.
        groups: its dependency groups.
        batches: images (N, C, H, W) as the network sees them.

    Returns:
        (count,) not negative; infinite where no layer consumes a group.
    """

    def outputs(network: nn.Module) -> Iterator[Tensor]:
        for batch in batches:
            with torch.no_grad():
                output = network(batch)
            yield output

    return activation(network, groups, outputs)


def activity(
    groups: DependencyGroups, activations: np.ndarray, kept_outputs: KeptOutputs
) -> pd.DataFrame:
    """The mean activation of the removed outputs of each layer, beside that of the kept ones.

    Args:
        groups: dependency groups of the network before the cut.
        activations: (count,) mean activation of each group.
        kept_outputs: the outputs that the cut has kept.

    Returns:
        A row per layer that lost outputs and whose means are both known: `layer`, `kept`, `cut`.
    """
    rows = []
    for layer in groups.compute_layers:
        name = layer.weight.rpartition(".")[0]
        group = groups.where[layer.weight][layer.rows]
        if kept_outputs.outputs.get(name) != len(group):
            continue
        values = np.where(group >= 0, activations[group], np.nan)
        values[~np.isfinite(values)] = np.nan
        stays = np.isin(np.arange(len(group)), kept_outputs.kept[name])
        kept, removed = values[stays], values[~stays]
        if np.isfinite(kept).any() and np.isfinite(removed).any():
            rows.append({"layer": name, "kept": np.nanmean(kept), "cut": np.nanmean(removed)})
    return pd.DataFrame(rows, columns=_COLUMNS).drop_duplicates("layer")
