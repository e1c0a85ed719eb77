"""Relational distillation, RKD (Park et al. 2019, section 3.2)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import wide

_LEAST = 1e-12  # of a mean distance, so that equal examples give finite losses


def relational(
    student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0
) -> Tensor:
    """The Huber loss between the distances of all pairs and the angles of all triples of a batch.

    It needs memory for (N, N, features) numbers for each network.

    Args:
        student: vectors (N, features), or maps (N, features, H, W), which are averaged over positions.
        teacher: vectors or maps of the teacher, with any number of features.
        distance: weight of the distances, each divided by the mean over all pairs.
        angle: weight of the cosines.

    Returns:
        The weighted sum of both means, over N² and N³ entries as in the authors' code.
    """
    ours, theirs = _differences(student), _differences(teacher)
    distances = F.smooth_l1_loss(_scaled_distances(ours), _scaled_distances(theirs))
    angles = F.smooth_l1_loss(_cosines(ours), _cosines(theirs))
    return distance * distances + angle * angles


def _differences(values: Tensor) -> Tensor:
    """The vectors (N, N, features) from each example to each other."""
    vectors = wide(values)
    vectors = vectors.mean((2, 3)) if vectors.ndim == 4 else vectors
    return vectors[None] - vectors[:, None]


def _scaled_distances(differences: Tensor) -> Tensor:
    """The distances (N, N), divided by their mean."""
    distances, count = differences.norm(dim=2), len(differences)
    scaled: Tensor = distances * (count * (count - 1)) / distances.sum().clamp_min(_LEAST)
    return scaled


def _cosines(differences: Tensor) -> Tensor:
    """The cosines (N, N, N) of the angle at the first example between the two others."""
    directions = F.normalize(differences, dim=2)
    with torch.autocast(
        directions.device.type, enabled=False
    ):  # it would multiply in half precision
        return directions @ directions.transpose(1, 2)
