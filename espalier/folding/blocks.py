"""Blocks with similar outputs merged: one of a pair is removed."""

import copy
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.folding.similarity import (
    Images,
    Pair,
    cosine_of_weights,
    have_equal_tensors,
    most_similar,
    similarity_of_outputs,
)
from espalier.measures.macs import count_macs
from espalier.models.blocks import residual_blocks
from espalier.models.structure import masked_weights, remove, shared_weights

Validate = Callable[[nn.Module], float]
_CLOSE = 0.98  # of the target: a network with less is reported


def fold_blocks(
    network: nn.Module,
    example: Tensor,
    *,
    validate: Validate,
    images: Images | None = None,
    keep_macs: float | None = None,
    similarity: float | None = None,
    base_macs: int | None = None,
) -> nn.Module:
    """Merge the most similar blocks, pair by pair, until a target is reached.

    Blocks are compared by their outputs (linear CKA, Kornblith et al. 2019) or, without images, by their
    weights (cosine). Of the most similar pair one block is removed, and the other is kept or becomes the
    mean of both, whichever has the lowest validation loss. Then all blocks are compared again.

    Args:
        network: Network with residual blocks that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.
        validate: Loss of a candidate, which it may change: its batch norms can be recomputed.
        images: Yields batches of at least 4 images over which outputs are compared; None compares the
            weights of blocks whose tensors have equal shapes.
        keep_macs: Merge until this fraction of `base_macs` is left, in (0, 1]. Never exceeded.
        similarity: Merge only pairs of at least this CKA or cosine; without `keep_macs`, all of them.
        base_macs: Multiply-accumulates that the fraction refers to; those of `network` by default.

    Returns:
        A new network in evaluation mode, with `nn.Identity` instead of the removed blocks.

    Raises:
        BadInput: If an argument is out of range, neither target is given, the network cannot be
            traced, or `keep_macs` is out of reach.
    """
    _check(keep_macs, similarity)
    table = partial(similarity_of_outputs, images=images) if images else cosine_of_weights
    target = (keep_macs or 0) * (base_macs or count_macs(network, example))
    merged = copy.deepcopy(network).eval()
    shapes = residual_blocks(merged, example)
    before = reached = count_macs(merged, example)
    while reached > target:
        pair = most_similar(merged, shapes, table)
        if pair is None or pair.similarity < (similarity or 0):
            if keep_macs is not None:
                raise BadInput(_out_of_reach(target, reached, pair, similarity))
            break
        merged, removed = _merge(merged, pair, validate)
        del shapes[removed]
        reached = count_macs(merged, example)
    _report(reached, before, target)
    return merged


def _check(keep_macs: float | None, similarity: float | None) -> None:
    if keep_macs is None and similarity is None:
        raise BadInput("Expected `keep_macs` or `similarity` to fold blocks; found neither.")
    if keep_macs is not None and not 0 < keep_macs <= 1:
        raise BadInput(f"Expected `keep_macs` in (0, 1]; found {keep_macs}.")
    if similarity is not None and not 0 <= similarity <= 1:
        raise BadInput(f"Expected `similarity` in [0, 1]; found {similarity}.")


def _out_of_reach(target: float, reached: int, pair: Pair | None, similarity: float | None) -> str:
    if pair is None:
        reason = "no two blocks can be compared: their outputs or their weights differ in shape"
    else:
        allowed = "zero" if similarity is None else f"`similarity = {similarity}`"
        reason = (
            f"the most similar blocks, {pair.first} and {pair.second}, have a similarity of "
            f"{pair.similarity:.3f}, below {allowed}"
        )
    return (
        f"Expected at most {target:,.0f} multiply-accumulates after folding; found {reached:,} "
        "where "
        f"{reason}."
    )


def _report(reached: int, before: int, target: float) -> None:
    """Warn if nothing was merged, or far more than the target asks for."""
    if reached == before:
        message = f"Folding merged no blocks: {before:,} multiply-accumulates are left."
        warnings.warn(message, Notice, stacklevel=3)
    elif reached < _CLOSE * target:
        message = (
            f"Folding left {reached:,} multiply-accumulates where {target:,.0f} were allowed: "
            "blocks "
            "are removed as a whole."
        )
        warnings.warn(message, Notice, stacklevel=3)


def _merge(network: nn.Module, pair: Pair, validate: Validate) -> tuple[nn.Module, str]:
    """The network of the lowest loss without one of two blocks, and the name of that block."""
    choices = [(pair.first, pair.second, False), (pair.second, pair.first, False)]
    if _can_be_averaged(network, pair):
        choices.append((pair.first, pair.second, True))
    tried = []
    for kept, removed, averaged in choices:
        candidate = copy.deepcopy(network)
        if averaged:
            _average(candidate.get_submodule(kept), candidate.get_submodule(removed))
        remove(candidate, [removed])
        tried.append((validate(candidate), candidate.eval(), removed))
    _, best, removed = min(tried, key=lambda one: one[0])
    return best, removed


def _can_be_averaged(network: nn.Module, pair: Pair) -> bool:
    """Whether two blocks have tensors of the same names and shapes, none masked or shared."""
    inside = (f"{pair.first}.", f"{pair.second}.")
    held_weights = (*masked_weights(network), *shared_weights(network))
    if any(name.startswith(inside) for name in held_weights):
        return False
    return have_equal_tensors(network, pair.first, pair.second)


@torch.no_grad()
def _average(one: nn.Module, other: nn.Module) -> None:
    """Set a block's floating-point tensors to the mean with another's, in place."""
    held = other.state_dict()
    for name, value in one.state_dict().items():
        if value.is_floating_point():
            value.add_(held[name]).div_(2)
