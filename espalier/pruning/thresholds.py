"""Thresholds of importance: absolute ones, and fractions of the mean of a layer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.budgets import Kept, Layer, layers_of
from espalier.pruning.channels import PrunableChannels
from espalier.pruning.notices import warn
from espalier.pruning.spec import PruneSpec
from espalier.pruning.target import Target

Scores = NDArray[np.float64]


def thresholds(target: Target, scores: Scores, layer: NDArray[np.int64]) -> Scores:
    """The score below which each group or element is removed.

    Args:
        target: `below`, an absolute score; or `below_mean`, a factor of the mean score of the
            layer, so that layers of other scales lose no more than others.
        scores: scores (count,); those of former zeros are not finite, and in no mean.
        layer: number (count,) of the layer of each.

    Returns:
        Thresholds (count,).

    Example:
        Scores 1, 3 of layer 0 and 10, 30 of layer 1, `below_mean` of 1: 2, 2, 20, 20.
    """
    if target.name == "below":
        return np.full(len(scores), target.value)
    known = np.isfinite(scores)
    count = 1 + int(layer.max(initial=0))
    sums = np.bincount(layer[known], scores[known], minlength=count)
    sizes = np.bincount(layer[known], minlength=count)
    means = sums / np.maximum(sizes, 1)
    limits: Scores = target.value * means[layer]
    return limits


def prune_below(prunable: PrunableChannels, spec: PruneSpec) -> tuple[nn.Module, Kept]:
    """Remove the portions in which every group scores below a threshold, by the target.

    Returns:
        The cut network, and the kept groups.
    """
    assert spec.threshold is not None
    scores, layer = prunable.scores, prunable.groups.layer
    limits = thresholds(spec.threshold, scores, layer)
    kept = _kept_above(prunable.layers, limits)
    unaligned = layers_of(layer, scores, np.ones(prunable.count, np.int64))
    _report_below(spec, scores < limits, kept, _kept_above(unaligned, limits))
    return prunable.cut(kept), kept


def _kept_above(layers: Sequence[Layer], limits: Scores) -> Kept:
    """(count,) the groups that are left without the portions below the limits (count,)."""
    kept = np.ones(len(limits), bool)
    for layer in layers:
        for portion in layer.portions:
            if portion.highest >= limits[portion.members[0]]:
                break
            kept[portion.members] = False
    return kept


def _report_below(spec: PruneSpec, below: Kept, kept: Kept, unaligned: Kept) -> None:
    """Warn of groups below a threshold that stay, with the reason, and of a threshold above none.

    Args:
        spec: the request.
        below: (count,) whether each group is below the threshold.
        kept: (count,) whether it is kept.
        unaligned: (count,) whether it would be kept with `align: 1`.
    """
    assert spec.threshold is not None
    limit = f"`{spec.threshold.name}: {spec.threshold.value:g}`"
    if not below.any():
        warn(f"Pruning removed nothing: no {spec.kind.noun} score below {limit}.")
    reasons = {
        f"because whole portions of `align: {spec.align}` are removed (`align: 1` removes them)": (
            kept & ~unaligned
        ),
        "because a cut keeps a quarter of each layer (a second cut removes more)": below
        & unaligned,
    }
    stayed = [f"{count} {why}" for why, groups in reasons.items() if (count := int(groups.sum()))]
    if stayed:
        warn(
            f"Expected the {int(below.sum())} {spec.kind.noun} that score below {limit} to be removed; "
            f"found that {int((below & kept).sum())} stay: {', '.join(stayed)}."
        )
