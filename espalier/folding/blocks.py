"""Blocks with similar outputs merged: one of a pair is removed."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from espalier.errors import BadInput, Notice
from espalier.folding.cka import batched_cka
from espalier.measures.macs import count_macs
from espalier.models.blocks import residual_blocks
from espalier.models.structure import masked_weights, remove, shared_weights

Images = Callable[[], Iterable[Tensor]]
Validate = Callable[[nn.Module], float]
_CLOSE = 0.98  # of the target: a network with less is reported


def fold_blocks(
    network: nn.Module,
    example: Tensor,
    *,
    images: Images,
    validate: Validate,
    keep_macs: float | None = None,
    similarity: float | None = None,
    base_macs: int | None = None,
) -> nn.Module:
    """Merge the most similar blocks, pair by pair, until a target is reached.

    Blocks are similar if their outputs are, by linear CKA (Kornblith et al. 2019). Of the most
    similar pair one block is removed, and the other is kept or becomes the mean of both, whichever
    has the lowest validation loss. Then all blocks are compared again.

    Args:
        network: Network with residual blocks that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.
        images: Yields batches of at least 4 images over which outputs are compared.
        validate: Loss of a candidate, which it may change: its batch norms can be recomputed.
        keep_macs: Merge until this fraction of `base_macs` is left, in (0, 1]. Never exceeded.
        similarity: Merge only pairs of at least this CKA; without `keep_macs`, all of them.
        base_macs: Multiply-accumulates that the fraction refers to; those of `network` by default.

    Returns:
        A new network in evaluation mode, with `nn.Identity` instead of the removed blocks.

    Raises:
        BadInput: If an argument is out of range, neither target is given, the network cannot be
            traced, or `keep_macs` is out of reach.
    """
    _check(keep_macs, similarity)
    target = (keep_macs or 0) * (base_macs or count_macs(network, example))
    merged = copy.deepcopy(network).eval()
    shapes = residual_blocks(merged, example)
    before = reached = count_macs(merged, example)
    while reached > target:
        pair = most_similar(merged, shapes, images())
        if pair is None or pair.similarity < (similarity or 0):
            if keep_macs is not None:
                raise BadInput(_out_of_reach(target, reached, pair, similarity))
            break
        merged, removed = _merge(merged, pair, validate)
        del shapes[removed]
        reached = count_macs(merged, example)
    _report(reached, before, target)
    return merged


@dataclass(frozen=True)
class Pair:
    """Two blocks, in their order.

    Attributes:
        first: Name of the block that runs first.
        second: Name of the other.
        similarity: CKA of their outputs.
    """

    first: str
    second: str
    similarity: float


def most_similar(
    network: nn.Module, shapes: dict[str, tuple[int, ...]], images: Iterable[Tensor]
) -> Pair | None:
    """The two layers of equal output shape whose outputs are most similar; None without such two.

    Args:
        network: Network in evaluation mode.
        shapes: Shapes of the layers' outputs, by name, in their order.
        images: Batches of at least 4 images.
    """
    every_shape = list(shapes.values())
    names = [name for name, shape in shapes.items() if every_shape.count(shape) > 1]
    if not names:
        return None
    table = batched_cka(outputs(network, names, images))
    pairs = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            second = names[j]
            if shapes[first] == shapes[second]:
                pairs.append(Pair(first, second, float(table[i, j])))
    return max(pairs, key=lambda pair: pair.similarity)


def _check(keep_macs: float | None, similarity: float | None) -> None:
    if keep_macs is None and similarity is None:
        raise BadInput("Expected `keep_macs` or `similarity` to fold blocks; found neither.")
    if keep_macs is not None and not 0 < keep_macs <= 1:
        raise BadInput(f"Expected `keep_macs` in (0, 1]; found {keep_macs}.")
    if similarity is not None and not 0 <= similarity <= 1:
        raise BadInput(f"Expected `similarity` in [0, 1]; found {similarity}.")


def _out_of_reach(target: float, reached: int, pair: Pair | None, similarity: float | None) -> str:
    if pair is None:
        reason = "no two blocks have outputs of one shape"
    else:
        reason = (
            f"the most similar blocks, {pair.first} and {pair.second}, have a CKA of "
            f"{pair.similarity:.3f}, below `similarity = {similarity}`"
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
    return _tensor_shapes(network, pair.first) == _tensor_shapes(network, pair.second)


def _tensor_shapes(network: nn.Module, name: str) -> dict[str, torch.Size]:
    state = network.get_submodule(name).state_dict()
    return {tensor: value.shape for tensor, value in state.items()}


@torch.no_grad()
def _average(one: nn.Module, other: nn.Module) -> None:
    """Set a block's floating-point tensors to the mean with another's, in place."""
    held = other.state_dict()
    for name, value in one.state_dict().items():
        if value.is_floating_point():
            value.add_(held[name]).div_(2)


@torch.no_grad()
def outputs(
    network: nn.Module, names: list[str], images: Iterable[Tensor]
) -> Iterator[list[Tensor]]:
    """The outputs of the named layers for each batch."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
            found[name] = output.clone()  # a later layer may work in place

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        for batch in images:
            network(batch)
            yield [found[name] for name in names]
    finally:
        for handle in handles:
            handle.remove()
