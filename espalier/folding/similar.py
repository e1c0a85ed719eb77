"""Similar blocks merged: where two see nearly the same, one does."""

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
    """Merge the most similar blocks, pair by pair, until little enough work is left.

    Blocks are similar when their outputs are, by linear CKA (Kornblith et al. 2019). Of the most similar pair one
    block goes, and the other stays as it is or becomes the mean of both, whichever `validate` likes best. Then all are
    compared anew.

    Args:
        network: Any network with residual blocks that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.
        images: Yields batches of images, of at least 4 each, over which outputs are compared.
        validate: The loss of a candidate, which it may change: its batch norms can be measured anew.
        keep_macs: Merge until this fraction of `base_macs` is left, in (0, 1]. Never exceeded.
        similarity: Merge only pairs of at least this CKA; without `keep_macs`, all of them.
        base_macs: What the fraction is of; the network's own work by default.

    Returns:
        A new network in evaluation mode. In the places of blocks that are gone is `nn.Identity`.

    Raises:
        BadInput: If an argument is out of range, neither end is given, the network cannot be traced, or the work that
            is asked for is out of reach.
    """
    _check(keep_macs, similarity)
    shape = tuple(example.shape[1:])
    target = (keep_macs or 0) * (base_macs or count_macs(network, shape))
    merged = copy.deepcopy(network).eval()
    shapes = _shapes(merged, residual_blocks(merged, example), example)
    before = reached = count_macs(merged, shape)
    while reached > target:
        found = most_similar(merged, shapes, images())
        if found is None or found.similarity < (similarity or 0):
            if keep_macs is not None:
                raise BadInput(_out_of_reach(target, reached, found, similarity))
            break
        merged, gone = _merge(merged, found, validate)
        del shapes[gone]
        reached = count_macs(merged, shape)
    _tell(reached, before, target)
    return merged


@dataclass(frozen=True)
class Pair:
    """Two blocks, in their order, and the CKA of their outputs."""

    first: str
    second: str
    similarity: float


def most_similar(
    network: nn.Module, shapes: dict[str, tuple[int, ...]], images: Iterable[Tensor]
) -> Pair | None:
    """The two layers whose outputs are the most similar of those of equal shape; nothing if no two are of one shape.

    Args:
        network: Looked at in evaluation mode.
        shapes: Of the layers' outputs, by name, in their order.
        images: Batches of at least 4 images.
    """
    names = [name for name, shape in shapes.items() if list(shapes.values()).count(shape) > 1]
    if not names:
        return None
    table = batched_cka(outputs(network, names, images))
    pairs = [
        Pair(one, other, float(table[i, j]))
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if i < j and shapes[one] == shapes[other]
    ]
    return max(pairs, key=lambda pair: pair.similarity)


def _check(keep_macs: float | None, similarity: float | None) -> None:
    if keep_macs is None and similarity is None:
        raise BadInput(
            "Folding blocks should end at some `keep_macs` or `similarity`. Found neither."
        )
    if keep_macs is not None and not 0 < keep_macs <= 1:
        raise BadInput(f"`keep_macs` should lie in (0, 1]. Found `keep_macs = {keep_macs}`.")
    if similarity is not None and not 0 <= similarity <= 1:
        raise BadInput(f"`similarity` should lie in [0, 1]. Found `similarity = {similarity}`.")


def _out_of_reach(target: float, reached: int, found: Pair | None, similarity: float | None) -> str:
    reason = (
        "no two of its blocks have outputs of one shape"
        if found is None
        else f"the most similar blocks, {found.first} and {found.second}, have a CKA of {found.similarity:.3f}, below "
        f"`similarity = {similarity}`"
    )
    return f"Folding should leave at most {target:,.0f} multiply-accumulates. Found {reached:,} where {reason}."


def _tell(reached: int, before: int, target: float) -> None:
    """Tell of a fold that merged nothing, or left far less than it might have."""
    if reached == before:
        warnings.warn(
            f"Folding merged no blocks: {before:,} multiply-accumulates stay.", Notice, stacklevel=3
        )
    elif reached < 0.98 * target:
        warnings.warn(
            f"Folding left {reached:,} multiply-accumulates where {target:,.0f} were allowed: blocks go as a whole.",
            Notice,
            stacklevel=3,
        )


def _merge(network: nn.Module, pair: Pair, validate: Validate) -> tuple[nn.Module, str]:
    """The best network in which one of two blocks is gone, and which one that is."""
    choices = [(pair.first, pair.second, False), (pair.second, pair.first, False)]
    if _alike(network, pair):
        choices.append((pair.first, pair.second, True))
    tried = []
    for stays, goes, averaged in choices:
        candidate = copy.deepcopy(network)
        if averaged:
            _average(candidate.get_submodule(stays), candidate.get_submodule(goes))
        remove(candidate, [goes])
        tried.append((validate(candidate), candidate.eval(), goes))
    _, best, gone = min(tried, key=lambda one: one[0])
    return best, gone


def _alike(network: nn.Module, pair: Pair) -> bool:
    """Whether two blocks can be averaged: of the same shapes, and without numbers pruned or shared one by one."""
    inside = (f"{pair.first}.", f"{pair.second}.")
    if any(
        name.startswith(inside) for name in (*masked_weights(network), *shared_weights(network))
    ):
        return False
    states = [network.get_submodule(name).state_dict() for name in (pair.first, pair.second)]
    one, other = ({name: value.shape for name, value in state.items()} for state in states)
    return one == other


@torch.no_grad()
def _average(one: nn.Module, other: nn.Module) -> None:
    held = other.state_dict()
    for name, value in one.state_dict().items():
        if value.is_floating_point():
            value.add_(held[name]).div_(2)


def _shapes(network: nn.Module, names: list[str], example: Tensor) -> dict[str, tuple[int, ...]]:
    answers = next(outputs(network, names, [example]))
    return {name: tuple(answer.shape[1:]) for name, answer in zip(names, answers, strict=True)}


@torch.no_grad()
def outputs(
    network: nn.Module, names: list[str], images: Iterable[Tensor]
) -> Iterator[list[Tensor]]:
    """What the named layers answer to each batch."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda layer, given, answer: seen.__setitem__(
            name, answer.clone()
        )  # before others write into it

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        for batch in images:
            network(batch)
            yield [seen[name] for name in names]
    finally:
        for handle in handles:
            handle.remove()
