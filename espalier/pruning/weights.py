"""Patterns `weights` and `n_of_m`: single weights become zero and stay zero (Han et al. 2015)."""

import copy
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.structure import Masked, record
from espalier.pruning.groups import WeightElements
from espalier.pruning.masks import best_of_layers, by_sensitivity, lowest, n_of_m
from espalier.pruning.notices import warn
from espalier.pruning.scores import Score
from espalier.pruning.scores.score import Losses
from espalier.pruning.spec import PruneSpec
from espalier.pruning.thresholds import thresholds

_BATCHES = {"": 4, "batches": 4, "examples": 256}  # over which a loss is averaged, per layer
_NEAR = 0.02  # relative miss of the target that is not reported

Mask = NDArray[np.bool_]


def mask_weights(
    network: nn.Module, example: Tensor, spec: PruneSpec, losses: Losses | None = None
) -> nn.Module:
    """Set the least important weights to zero, in all layers but the classifier.

    Zeros stay through training, saving and later cuts. Shapes and the latency in the runtime do not
    change; a packed file becomes smaller.

    Args:
        network: any classifier that `torch.export` can trace; it is not changed.
        example: a batch of inputs (N, C, H, W) as the network sees them.
        spec: the request, with the pattern `weights` or `n_of_m`.
        losses: yields the loss of each training batch, for scores and budgets that use data.

    Returns:
        A new network in evaluation mode.

    Raises:
        BadInput: if the network cannot be traced, or has no weights to mask.
    """
    pruned = copy.deepcopy(network).eval()
    elements = spec.kind.find(pruned, example, spec.keep)
    assert isinstance(elements, WeightElements)
    if not elements.count:
        raise BadInput(
            "Expected convolutions or linear layers to mask; found only layers that stay."
        )
    scores = spec.importance.function(pruned, elements, losses)
    zero = elements.sum_over_producers(dict(pruned.named_parameters())) == 0
    scores = np.where(zero, -np.inf, scores)  # former zeros go first, whatever the target
    kept = _kept(pruned, elements, scores, spec, losses)
    _report_mask(zero, kept, spec)
    _mask(pruned, elements, kept)
    return pruned


def _kept(
    network: nn.Module,
    elements: WeightElements,
    scores: NDArray[np.float64],
    spec: PruneSpec,
    losses: Losses | None,
) -> Mask:
    """(count,) whether each element stays."""
    if not spec.targets:
        by_weight = elements.split(scores).values()
        return _flat([n_of_m(part, spec.n, spec.m) for part in by_weight])
    if spec.threshold:
        above = scores >= thresholds(spec.threshold, scores, elements.layer)
        _report_emptied(above, elements)
        return above | best_of_layers(scores, elements.layer)
    value = spec.targets[0].value
    if spec.budget == "uniform":
        parts = [np.ravel(part) for part in elements.split(scores).values()]
        return _flat([lowest(part, np.zeros(len(part), np.int64), value) for part in parts])
    if spec.budget == "sensitivity":
        loss = _loss(network, elements, losses, spec.importance)
        return by_sensitivity(scores, elements.layer, value, loss)
    return lowest(scores, elements.layer, value)


def _loss(
    network: nn.Module, elements: WeightElements, losses: Losses | None, score: Score
) -> Callable[[Mask], float]:
    """A function of the kept elements: the mean loss over some training batches.

    Raises:
        BadInput: if there are no losses.
    """
    if losses is None:
        raise BadInput(
            "Expected losses over training data for the budget `sensitivity`; found none."
        )

    @torch.no_grad()
    def loss(kept: Mask) -> float:
        masked = copy.deepcopy(network)
        _mask(masked, elements, kept)
        batches = islice(losses(masked), _BATCHES[score.data])
        return float(np.mean([float(one) for one in batches]))

    return loss


def _flat(parts: list[Mask]) -> Mask:
    return np.concatenate([np.zeros(0, bool), *(part.ravel() for part in parts)])


def _report_mask(zero: Mask, kept: Mask, spec: PruneSpec) -> None:
    """Warn about a mask that changes nothing, or misses its target by 2 %."""
    found = float(np.mean(zero | ~kept))
    newly_masked = ~kept & ~zero
    if not newly_masked.any():
        warn(f"Pruning removed nothing: {100 * found:.1f} % of the weights are zero.")
    elif spec.targets and not spec.threshold:
        wanted = spec.targets[0].value
        if abs(found - wanted) > _NEAR * wanted:
            warn(
                f"Expected {100 * wanted:.1f} % of the weights to be zero; found "
                f"{100 * found:.1f} %."
            )


def _report_emptied(above: Mask, elements: WeightElements) -> None:
    """Name the weights that are below the threshold as a whole."""
    emptied = [name for name, part in elements.split(above).items() if not part.any()]
    if emptied:
        warn(
            f"All of {', '.join(emptied)} is below the threshold: the largest element of each stays, "
            "since an empty layer would split the network."
        )


@torch.no_grad()
def _mask(network: nn.Module, elements: WeightElements, kept: Mask) -> None:
    """Set the elements that are not kept to zero, in place, and record the masked weights."""
    parameters = dict(network.named_parameters())
    masks = {name: mask for name, mask in elements.split(kept).items() if not mask.all()}
    for name, mask in masks.items():
        parameter = parameters[name]
        parameter.masked_fill_(torch.from_numpy(~mask).to(parameter.device), 0.0)
    record(network, Masked(tuple(masks)))
