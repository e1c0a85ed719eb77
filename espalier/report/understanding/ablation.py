"""Ablation of half a layer: the loss and the mean score of a network without it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import DependencyGroups
from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.surgery import cut
from espalier.training.scoring import Inference

_LEAST, _MOST = 32, 512  # images: a loss over fewer is too noisy
_FEW = 8  # layers of each network that are measured, whatever it costs
_MACS = 2e11  # of all networks, layers and images together: seconds on a core
_ON_GPU = 100  # times as many on a GPU
_LARGE = 10  # times as many for networks whose fewest images cost more


@dataclass(frozen=True)
class AblationPlan:
    """The extent of the measurement.

    Attributes:
        images: number of validation images.
        layers: largest number of ablations per network.
    """

    images: int
    layers: int


@dataclass(frozen=True)
class Ablation:
    """The removal of half of the groups that the same layers produce.

    Attributes:
        layers: names of these layers in the order of the network: several where a residual sum
            couples them.
        groups: number of groups that they produce.
        kept: (count,) whether each group of the network stays.
    """

    layers: tuple[str, ...]
    groups: int
    kept: NDArray[np.bool_]


def ablations(network: nn.Module, groups: DependencyGroups) -> list[Ablation]:
    """For each set of coupled layers, the removal of its half with the smallest magnitude.

    Args:
        network: the network.
        groups: its dependency groups.

    Returns:
        The ablations, in the order in which the network computes the first layer of each set.
    """
    scores = magnitude(network, groups)
    found = []
    for number, names in _coupled_layers(groups).items():
        members = np.flatnonzero(groups.layer == number)
        ascending = members[np.argsort(scores[members], kind="stable")]
        kept = np.ones(groups.count, bool)
        kept[ascending[: len(members) // 2]] = False
        if not kept.all():
            found.append(Ablation(names, len(members), kept))
    return found


def plan_ablations(
    networks: Mapping[str, tuple[int, int]],
    device: torch.device,
) -> AblationPlan:
    """As many images as keep the work below 2e11 multiply-accumulates; at least 32, at most 512.

    On a GPU it is 100 times that. If 32 images cost more than ten times as much, fewer layers are
    measured, but at least 8 of each network.

    Args:
        networks: multiply-accumulates of each network and its number of ablations, by name.
        device: device that computes.
    """
    most = _MACS * (_ON_GPU if device.type == "cuda" else 1)
    work = sum(macs * (1 + count) for macs, count in networks.values())
    images = int(np.clip(most / max(1, work), _LEAST, _MOST))
    layers = int(_LARGE * most / max(1, images * sum(macs for macs, _ in networks.values())))
    return AblationPlan(images, max(_FEW, layers))


def measure_ablations(
    network: nn.Module, groups: DependencyGroups, validation: Inference, most: int
) -> pd.DataFrame:
    """The loss and mean score of a network under each ablation; nothing is trained in between.

    Source: Li et al. (2017), "Pruning filters for efficient convnets", section 3.2.

    Args:
        network: a network in evaluation mode; it is not changed.
        groups: its dependency groups.
        validation: images on which no network was trained.
        most: largest number of ablations, evenly spaced over the depth.

    Returns:
        A row per ablation: `layer` (the first one), `layers` (all, separated by spaces), `units`
        (their groups), `removed`, `loss` and the mean score of the whole network, `loss_without` and
        the mean score without (NaN if the network does not run without), and `sets` (the number of
        ablations there are).
    """
    loss, score = validation.loss_and_score(network)
    headline = validation.task.headline.name
    measured = ("loss", headline, "loss_without", f"{headline}_without")
    every = ablations(network, groups)
    rows = []
    for one in _evenly_spaced(every, most):
        names = (one.layers[0], " ".join(one.layers))
        removed = int((~one.kept).sum())
        without = _measured(network, groups, one, validation)
        rows.append((*names, one.groups, removed, loss, score, *without, len(every)))
    return pd.DataFrame(rows, columns=["layer", "layers", "units", "removed", *measured, "sets"])


def _coupled_layers(groups: DependencyGroups) -> dict[int, tuple[str, ...]]:
    """The names of the layers that produce the groups of each number in `groups.layer`."""
    names: dict[int, list[str]] = {}
    for layer in groups.compute_layers:
        produced = groups.where[layer.weight][layer.rows]
        removable = produced[produced >= 0]
        for number in np.unique(groups.layer[removable]).tolist():
            names.setdefault(number, []).append(layer.weight.rpartition(".")[0])
    return {number: tuple(dict.fromkeys(found)) for number, found in names.items()}


def _evenly_spaced(every: list[Ablation], most: int) -> list[Ablation]:
    positions = np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(int)
    return [every[position] for position in np.unique(positions)]


def _measured(
    network: nn.Module, groups: DependencyGroups, ablation: Ablation, validation: Inference
) -> tuple[float, float]:
    """Loss and mean score under an ablation; NaN where the forward pass spells a width."""
    try:
        return validation.loss_and_score(cut(network, groups, ablation.kept))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return float("nan"), float("nan")
