"""Structured pruning: channels are removed for real, with everything that depends on them."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.measures.macs import count_macs
from espalier.pruning.budget import Cost, choose
from espalier.pruning.scores import SCORES, Losses
from espalier.pruning.surgery import cut
from espalier.pruning.units import Units, find_units, traced_shapes


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
    unknown = sorted(set(keep) - {name for name, _ in network.named_modules()})
    if unknown:
        raise BadInput(f"`keep` should name layers of the network. Found {unknown[0]!r}.")
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        example = example if len(example) > 1 else torch.cat([example, example])  # a batch of one is traced as fixed
        units = find_units(network, example, keep)
        cost = Cost(units, {name: tuple(value.shape) for name, value in network.state_dict().items()})
        before = count_macs(network, tuple(example.shape[1:]))
        rest = before - cost.macs(np.ones(units.count, bool))  # products of activations, as in attention
        target = keep_macs * (base_macs or before)
        kept = choose(units, SCORES[score].function(network, units, losses), cost, most_macs=target - rest, align=align)
        _tell(units, reached=cost.macs(kept) + rest, before=before, target=target)
        smaller = cut(network, units, kept)
        _check(smaller, units, kept, example)
    finally:
        for module, training in modes.items():
            module.training = training
    return smaller


def _tell(units: Units, *, reached: int, before: int, target: float) -> None:
    """Refuse a target that is out of reach, and tell of one that is missed by more than 2 %."""
    if reached > target:
        reasons = sorted(units.fixed.items(), key=lambda reason: -reason[1])
        fixed = ", ".join(f"{count} ({reason})" for reason, count in reasons if reason != "kernel")
        raise BadInput(
            f"Pruning should leave at most {target:,.0f} multiply-accumulates. Found {reached:,} when every layer is "
            "down to a quarter of its channels and one block of `align`: a smaller `align` or a larger `keep_macs` may "
            f"be in reach. Removable channels: {units.count}; what must stay: {fixed or 'nothing'}."
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


def _check(smaller: nn.Module, units: Units, kept: NDArray[np.bool_], example: Tensor) -> None:
    """Refuse a cut that did not work: where a forward pass spells a width, it may even run, and mean something else."""
    try:
        found = traced_shapes(smaller, example)
    except BadInput as error:
        raise BadInput(
            f"A pruned network should still run. Found: {error.__cause__}. Its forward pass may spell a width; name "
            "the layer before it in `keep`."
        ) from error
    for (name, shape), (_, wanted) in zip(found, units.shapes(kept), strict=False):
        if shape != wanted:
            raise BadInput(
                f"Inside a pruned network the value {name} should be of the shape {list(wanted)}. Found {list(shape)}: "
                "its forward pass may spell a width; name the layer before it in `keep`."
            )
    if len(found) != len(units.flow):
        raise BadInput(
            f"A pruned network should compute {len(units.flow)} values like the whole one. Found {len(found)}: its "
            "forward pass may ask for a width; name the layer before it in `keep`."
        )
