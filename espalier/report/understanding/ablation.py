"""How much each layer is worth: what the network loses when half of it goes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.measures.macs import count_macs
from espalier.pruning.dependency_groups import DependencyGroups
from espalier.pruning.scores import magnitude
from espalier.pruning.surgery import cut
from espalier.training.scoring import Inference

_COLUMNS = [
    "layer",
    "layers",
    "units",
    "removed",
    "loss",
    "accuracy",
    "loss_without",
    "accuracy_without",
    "sets",
]

_LEAST, _MOST = 32, 512  # images: a loss over fewer says little
_FEW = 8  # layers of each network that are measured, whatever it costs
_MACS = 2e11  # of all networks, layers and images together: seconds on a core
_LARGE = 10  # times as many for networks of which even the fewest images cost more


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        images: How many are looked at.
        layers: Of how many sets of layers of each network, at most.
    """

    images: int
    layers: int


@dataclass(frozen=True)
class Half:
    """What is left when half of the units go that are made by the same layers.

    Attributes:
        layers: The names of these layers, in the order of the network: several where a residual sum couples them.
        units: How many there are.
        kept: (count,) whether each unit of the network stays.
    """

    layers: tuple[str, ...]
    units: int
    kept: NDArray[np.bool_]


def halves(network: nn.Module, units: DependencyGroups) -> list[Half]:
    """For each set of layers that can only be cut together what stays when the half of least magnitude goes.

    Args:
        network: The network.
        units: What can be removed from it.

    Returns:
        In the order in which the network computes the first layer of each set.
    """
    scores = magnitude(network, units)
    layers: dict[int, list[str]] = {}
    for work in units.works:
        made = units.where[work.weight][work.rows]
        for number in np.unique(units.layer[made[made >= 0]]).tolist():
            layers.setdefault(number, []).append(work.weight.rpartition(".")[0])
    found = []
    for number, names in layers.items():
        members = np.flatnonzero(units.layer == number)
        kept = np.ones(units.count, bool)
        kept[members[np.argsort(scores[members], kind="stable")[: len(members) // 2]]] = False
        if not kept.all():
            found.append(Half(tuple(dict.fromkeys(names)), len(members), kept))
    return found


def plan(
    networks: Mapping[str, tuple[nn.Module, int]], shape: tuple[int, int, int], device: torch.device
) -> Plan:
    """As many images as keep all of it below 2e11 multiply-accumulates, 100 times as many on a GPU; 32 to 512.

    If even 32 cost more than 10 times that, fewer layers are measured, but 8 of each network.

    Args:
        networks: With the number of sets of layers that can be cut, by name.
        shape: Of an image (C, H, W).
        device: That computes.
    """
    macs = {name: count_macs(network, shape) for name, (network, _) in networks.items()}
    most = _MACS * (100 if device.type == "cuda" else 1)
    work = sum(macs[name] * (1 + count) for name, (_, count) in networks.items())
    images = int(np.clip(most / max(1, work), _LEAST, _MOST))
    layers = int(_LARGE * most / max(1, images * sum(macs.values())))
    return Plan(images, max(_FEW, layers))


def rises(
    network: nn.Module, units: DependencyGroups, validation: Inference, most: int
) -> pd.DataFrame:
    """The loss and accuracy of a network without half of one layer after another; nothing is trained in between.

    Source: Li et al. (2017), "Pruning filters for efficient convnets", section 3.2.

    Args:
        network: In evaluation mode; it is left as it is.
        units: What can be removed from it.
        validation: Some images that no network was trained with.
        most: How many halves are tried at most, spread over the depth.

    Returns:
        A row per half: `layer` (the first), `layers` (all, with spaces between), `units`, `removed`, `loss` and
        `accuracy` of the whole network, `loss_without` and `accuracy_without` (NaN if it does not run without), and
        `sets`, how many halves there are.
    """
    loss, accuracy = validation.loss_and_accuracy(network)
    rows, every = [], halves(network, units)
    for half in _spread(every, most):
        without = _without(network, units, half, validation)
        names = half.layers[0], " ".join(half.layers)
        rows.append(
            (*names, half.units, int((~half.kept).sum()), loss, accuracy, *without, len(every))
        )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _spread(every: list[Half], most: int) -> list[Half]:
    places = np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int)
    return [every[place] for place in np.unique(places)]


def _without(
    network: nn.Module, units: DependencyGroups, half: Half, validation: Inference
) -> tuple[float, float]:
    try:
        return validation.loss_and_accuracy(cut(network, units, half.kept))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # the forward pass spells the width of a layer
        return float("nan"), float("nan")
