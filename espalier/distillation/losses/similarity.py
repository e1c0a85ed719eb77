"""Similarity-preserving distillation (Tung and Mori 2019, section 3)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import wide


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between which examples of the batch two layers find alike.

    Args:
        student: (N, ...) of any shape.
        teacher: (N, ...) of any shape.

    Returns:
        ||G(teacher) - G(student)||² / N², where G are the inner products of the examples (N, N), each row divided by
        its norm.
    """
    return (_likeness(student) - _likeness(teacher)).square().mean()


def _likeness(values: Tensor) -> Tensor:
    flat = wide(values).flatten(1)
    with torch.autocast(flat.device.type, enabled=False):  # it would multiply in half precision
        return F.normalize(flat @ flat.T, dim=1)
