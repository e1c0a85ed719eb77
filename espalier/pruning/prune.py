"""Structured pruning: channels are removed for real, with everything that depends on them."""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.measures.macs import count_macs
from espalier.pruning.budget import Cost, choose
from espalier.pruning.scores import SCORES, Losses
from espalier.pruning.surgery import cut
from espalier.pruning.units import Units, find_units


def prune(
    network: nn.Module,
    example: Tensor,
    *,
    keep_macs: float,
    score: str = "magnitude",
    align: int = 8,
    losses: Losses | None = None,
    base_macs: int | None = None,
    keep: tuple[str, ...] = (),
) -> nn.Module:
    """Remove the channels that matter least, until a fraction of the work is left.

    Args:
        network: Any classifier that `torch.export` can trace; it is left as it is.
        example: An image batch (N, C, H, W) as the network sees it.
        keep_macs: Multiply-accumulates to keep, as a fraction of `base_macs`, in (0, 1]. Never exceeded.
        score: One of `espalier.pruning.scores.SCORES`.
        align: Widths stay multiples of this where they are: runtimes compute in blocks.
        losses: For scores that look at data: yields the loss of each training batch.
        base_macs: What the fraction is of; the network's own work by default.
        keep: Names of layers whose outputs stay.

    Returns:
        A new, smaller network in evaluation mode, whose outputs have the same shape.

    Raises:
        BadInput: If an argument is out of range, the network cannot be traced or cut, or the target out of reach.
    """
    if not 0 < keep_macs <= 1:
        raise BadInput(f"`keep_macs` should lie in (0, 1]. Found `keep_macs = {keep_macs}`.")
    if align < 1:
        raise BadInput(f"`align` should be at least 1. Found `align = {align}`.")
    if score not in SCORES:
        raise BadInput(f"`score` should be one of {', '.join(SCORES)}. Found `score = {score!r}`.")
    training = network.training
    network.eval()
    try:
        example = example if len(example) > 1 else torch.cat([example, example])  # a batch of one is traced as fixed
        units = find_units(network, example, keep)
        cost = Cost(units, {name: tuple(value.shape) for name, value in network.state_dict().items()})
        everything = cost.macs(np.ones(units.count, bool))
        target = keep_macs * (base_macs or everything)
        kept = choose(units, SCORES[score](network, units, losses), cost, most_macs=target, align=align)
        smaller = cut(network, units, kept)
    finally:
        network.train(training)
    _check(network, smaller, units, example, reached=cost.macs(kept), before=everything, target=target)
    return smaller.eval()


def _check(
    network: nn.Module, smaller: nn.Module, units: Units, example: Tensor, *, reached: int, before: int, target: float
) -> None:
    """Refuse a cut that did not work, and tell of one that missed its target by more than 2 %."""
    if reached > target:
        fixed = ", ".join(f"{count} ({reason})" for reason, count in sorted(units.fixed.items(), key=lambda r: -r[1]))
        raise BadInput(
            f"Pruning should leave at most {target:,.0f} multiply-accumulates. Found {reached:,} when each of the "
            f"layers of {units.count} removable channels is down to its last block; fixed indices: {fixed or 'none'}."
        )
    if reached == before:
        warnings.warn(f"Pruning removed nothing: {before:,} of {target:,.0f} are allowed.", Notice, stacklevel=3)
    elif reached < 0.98 * target:
        warnings.warn(
            f"Pruning left {reached:,} multiply-accumulates where {target:,.0f} were allowed: the nearest aligned "
            f"widths are {100 * (1 - reached / target):.1f} % below. A smaller `align` comes nearer.",
            Notice,
            stacklevel=3,
        )
    try:
        with torch.no_grad():
            same = smaller(example).shape == network(example).shape
        counted = count_macs(smaller, tuple(example.shape[1:])) if same else -1
    except RuntimeError as error:
        raise BadInput(
            f"A pruned network should still run. Found: {error}. Its forward pass may spell a width; name the layer "
            "before it in `keep`."
        ) from error
    if counted < 0:
        raise BadInput("A pruned network should return what the whole one does. Found another shape of output.")
