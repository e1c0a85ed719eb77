"""Confidence in each of several teachers, CA-MKD (Zhang, Chen and Wang 2022)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def confidence(teachers: Tensor, labels: Tensor) -> Tensor:
    """The weight of each teacher in each example: larger for a smaller cross-entropy with the label.

    Args:
        teachers: logits (teachers, N, classes).
        labels: labels (N,).

    Returns:
        (teachers, N): (1 - softmax(cross-entropies)) / (teachers - 1), which sums to 1 over the teachers.
    """
    if len(teachers) == 1:
        return torch.ones_like(teachers[..., 0])
    errors = torch.stack(
        [F.cross_entropy(one.float(), labels, reduction="none") for one in teachers]
    )
    return (1 - errors.softmax(0)) / (len(teachers) - 1)
