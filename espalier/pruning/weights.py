"""Unstructured pruning: single weights become zero and stay so (Han et al. 2015), freely or N of every M."""

import copy
import warnings
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.models.structure import Masked, record
from espalier.pruning.masks import by_sensitivity, lowest, n_of_m
from espalier.pruning.scores import SCORES, Losses, Score, score_named
from espalier.pruning.weight_elements import WeightElements, find_weight_elements

_BUDGETS = ("global", "uniform", "sensitivity")
_BATCHES = {
    "": 4,
    "batches": 4,
    "examples": 256,
}  # on which a loss is measured, some times for every layer


def prune_weights(
    network: nn.Module,
    example: Tensor,
    *,
    pattern: str = "weights",
    sparsity: float | None = None,
    below: float | None = None,
    n: int = 2,
    m: int = 4,
    score: str = "magnitude",
    budget: str = "global",
    losses: Losses | None = None,
    keep: tuple[str, ...] = (),
) -> nn.Module:
    """Set the weights that matter least to zero, in all convolutions and linear layers but the classifier.

    What is zero stays so through training, saving and later cuts. Shapes and the time in the runtime stay as they are;
    a packed file becomes smaller.

    Args:
        network: Any classifier that `torch.export` can trace; it is left as it is.
        example: An image batch (N, C, H, W) as the network sees it.
        pattern: `weights`, or `n_of_m`: of each M neighbours along a layer's inputs N stay.
        sparsity: The fraction of zeros among these weights, in (0, 1); with `weights`.
        below: Weights of a smaller size go; with `score = "threshold"`, instead of `sparsity`.
        n: How many weights of a group stay; with `n_of_m`.
        m: How many weights are a group; with `n_of_m`.
        score: One of `espalier.pruning.scores.SCORES`.
        budget: `global`: scores are compared over all layers; `uniform`: every layer loses the same fraction;
            `sensitivity`: what raises the measured loss the least.
        losses: For scores and budgets that look at data: yields the loss of each training batch.
        keep: Names of layers whose weights stay.

    Returns:
        A new network in evaluation mode.

    Raises:
        BadInput: If an argument is out of range, arguments contradict each other, or the network cannot be traced.
    """
    _check(network, pattern, sparsity, below, (n, m), score, budget, keep)
    pruned = copy.deepcopy(network).eval()
    singles = find_weight_elements(pruned, example, keep)
    scores = score_named(score, pattern).function(pruned, singles, losses)
    zero = singles.sum_over_producers(dict(pruned.named_parameters())) == 0
    scores = np.where(
        zero, -np.inf, scores
    )  # what was pruned before goes first, whatever is asked now
    if pattern == "n_of_m":
        kept = _flat([n_of_m(part, n, m) for part in singles.split(scores).values()])
    elif below is not None:
        kept = scores >= below
    elif budget == "uniform":
        parts = [np.ravel(part) for part in singles.split(scores).values()]
        kept = _flat(
            [lowest(part, np.zeros(len(part), np.int64), sparsity or 0.0) for part in parts]
        )
    elif budget == "sensitivity":
        kept = by_sensitivity(
            scores, singles.layer, sparsity or 0.0, _loss(pruned, singles, losses, SCORES[score])
        )
    else:
        kept = lowest(scores, singles.layer, sparsity or 0.0)
    _tell(zero, kept, sparsity)
    _mask(pruned, singles, kept)
    return pruned


def _check(
    network: nn.Module,
    pattern: str,
    sparsity: float | None,
    below: float | None,
    n_m: tuple[int, int],
    score: str,
    budget: str,
    keep: tuple[str, ...],
) -> None:
    score_named(score, pattern)
    if pattern == "n_of_m":
        if sparsity is not None or below is not None:
            raise BadInput(
                "`pattern = n_of_m` should have no target but `n` and `m`. Found another."
            )
        if not 0 < n_m[0] < n_m[1]:
            raise BadInput(
                f"`n` should lie between 0 and `m`. Found `n = {n_m[0]}`, `m = {n_m[1]}`."
            )
    elif (sparsity is None) == (below is None) or (score == "threshold") != (below is not None):
        raise BadInput(
            "`pattern = weights` should be given `sparsity`, or `below` with `score = threshold`. "
            f"Found `sparsity = {sparsity}`, `below = {below}`, `score = {score!r}`."
        )
    if sparsity is not None and not 0 < sparsity < 1:
        raise BadInput(f"`sparsity` should lie in (0, 1). Found `sparsity = {sparsity}`.")
    if below is not None and not below > 0:
        raise BadInput(f"`below` should be above 0. Found `below = {below}`.")
    if budget not in _BUDGETS:
        raise BadInput(
            f"`budget` should be one of {', '.join(_BUDGETS)} for single weights. Found `budget = {budget!r}`."
        )
    unknown = sorted(set(keep) - {name for name, _ in network.named_modules()})
    if unknown:
        raise BadInput(f"`keep` should name layers of the network. Found {unknown[0]!r}.")


def _loss(
    network: nn.Module, singles: WeightElements, losses: Losses | None, score: Score
) -> Callable[[NDArray[np.bool_]], float]:
    """The mean loss over some training images when only some weights are kept.

    Raises:
        BadInput: If there are no losses.
    """
    if losses is None:
        raise BadInput(
            "The budget `sensitivity` should be given losses over training data. Found none."
        )

    @torch.no_grad()
    def loss(kept: NDArray[np.bool_]) -> float:
        masked = copy.deepcopy(network)
        _mask(masked, singles, kept)
        return float(np.mean([float(one) for one in islice(losses(masked), _BATCHES[score.data])]))

    return loss


def _flat(parts: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.concatenate([np.zeros(0, bool), *(part.ravel() for part in parts)])


def _tell(zero: NDArray[np.bool_], kept: NDArray[np.bool_], sparsity: float | None) -> None:
    """Refuse to have nothing to mask, and tell of a mask that changes nothing or misses its target by 2 %."""
    if not len(zero):
        raise BadInput(
            "A network to be masked should have convolutions or linear layers. Found only those that stay."
        )
    found = float(np.mean(zero | ~kept))
    if not (~kept & ~zero).any():
        warnings.warn(
            f"Pruning removed nothing: {100 * found:.1f} % of the weights are zero.",
            Notice,
            stacklevel=3,
        )
    elif sparsity is not None and abs(found - sparsity) > 0.02 * sparsity:
        warnings.warn(
            f"Pruning left {100 * found:.1f} % of the weights zero where {100 * sparsity:.1f} % were asked for.",
            Notice,
            stacklevel=3,
        )


@torch.no_grad()
def _mask(network: nn.Module, singles: WeightElements, kept: NDArray[np.bool_]) -> None:
    """Set what is not kept to zero, in place, and note it."""
    parameters = dict(network.named_parameters())
    masks = {name: mask for name, mask in singles.split(kept).items() if not mask.all()}
    for name, mask in masks.items():
        parameters[name].masked_fill_(torch.from_numpy(~mask).to(parameters[name].device), 0.0)
    record(network, Masked(tuple(masks)))
