"""What the channels did that pruning removed: how active they were in the network that was cut."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from espalier.pruning.dependency_groups import DependencyGroups
from espalier.pruning.kept_outputs import KeptOutputs
from espalier.pruning.scores import activation


def sizes(network: nn.Module, units: DependencyGroups, images: Iterable[Tensor]) -> np.ndarray:
    """The mean size of each unit's activations, as the layers that read it see it: behind norm and rectifier.

    Args:
        network: In evaluation mode; it is left as it is.
        units: Of the network.
        images: Batches (N, C, H, W) as it sees them.

    Returns:
        (count,) not negative; infinite where no layer reads a unit.
    """

    def answers(network: nn.Module) -> Iterator[Tensor]:
        for batch in images:
            with torch.no_grad():
                answer = network(batch)
            yield answer

    return activation(network, units, answers)


def activity(units: DependencyGroups, size: np.ndarray, survivors: KeptOutputs) -> pd.DataFrame:
    """The mean activation of what was cut from each layer, beside that of what stayed.

    Args:
        units: Of the network before the cut.
        size: (count,) the mean activation of each.
        survivors: What the cut has left.

    Returns:
        A row per layer that lost outputs and of which both are known: `layer`, `kept`, `cut`.
    """
    rows = []
    for work in units.works:
        layer = work.weight.rpartition(".")[0]
        unit = units.where[work.weight][work.rows]
        if survivors.outputs.get(layer) != len(unit):
            continue
        own = np.where(unit >= 0, size[unit], np.nan)
        own[~np.isfinite(own)] = np.nan
        stays = np.isin(np.arange(len(unit)), survivors.kept[layer])
        if np.isfinite(own[stays]).any() and np.isfinite(own[~stays]).any():
            rows.append(
                {"layer": layer, "kept": np.nanmean(own[stays]), "cut": np.nanmean(own[~stays])}
            )
    return pd.DataFrame(rows, columns=["layer", "kept", "cut"]).drop_duplicates("layer")
