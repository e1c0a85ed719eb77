"""Similarity of blocks, by their outputs or by their weights."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from espalier.folding.cka import batched_cka

Images = Callable[[], Iterable[Tensor]]
Similarity = Callable[[nn.Module, list[str]], Tensor]
"""(layers, layers) similarities of named layers; NaN where two cannot be compared."""


@dataclass(frozen=True)
class Pair:
    """Two blocks, in their order.

    Attributes:
        first: name of the block that runs first.
        second: name of the other.
        similarity: CKA of their outputs, or cosine of their weights.
    """

    first: str
    second: str
    similarity: float


def most_similar(
    network: nn.Module, shapes: dict[str, tuple[int, ...]], similarity: Similarity
) -> Pair | None:
    """The two layers of equal output shape that are most similar; None without such two.

    Args:
        network: network in evaluation mode.
        shapes: shapes of the layers' outputs, by name, in their order.
        similarity: table of the layers' similarities.
    """
    every_shape = list(shapes.values())
    names = [name for name, shape in shapes.items() if every_shape.count(shape) > 1]
    if not names:
        return None
    table = similarity(network, names)
    pairs = [
        Pair(names[i], names[j], float(table[i, j]))
        for i, j in combinations(range(len(names)), 2)
        if shapes[names[i]] == shapes[names[j]] and not table[i, j].isnan()
    ]
    return max(pairs, key=lambda pair: pair.similarity, default=None)


def similarity_of_outputs(network: nn.Module, names: list[str], images: Images) -> Tensor:
    """(layers, layers) linear CKA of the outputs (Nguyen et al. 2021, eq. 2 and 3).

    Args:
        network: network in evaluation mode.
        names: names of the layers.
        images: yields batches of at least 4 images.
    """
    return batched_cka(outputs(network, names, images()))


def cosine_of_weights(network: nn.Module, names: list[str]) -> Tensor:
    """(layers, layers) cosines of the weights, each block's as one vector; no data are needed.

    Biases and the scales of norms are left out: they are alike in all blocks, 0 and 1 before training.
    The scale of a block does not count: weights [1, 2] and [2, 4] have a cosine of 1. Nor are channels
    matched: a block whose inner channels are another's in another order is not similar to it. Two blocks
    whose tensors differ in shape are not compared: their cosine is NaN.

    Args:
        network: network.
        names: names of the layers.
    """
    table = torch.full((len(names), len(names)), torch.nan, dtype=torch.float64)
    vectors = [_vector(network.get_submodule(name)) for name in names]
    for i, j in combinations(range(len(names)), 2):
        if have_equal_tensors(network, names[i], names[j]):
            table[i, j] = table[j, i] = torch.cosine_similarity(vectors[i], vectors[j], dim=0)
    return table


def have_equal_tensors(network: nn.Module, one: str, other: str) -> bool:
    """Whether two layers have tensors of the same names and shapes."""
    return _tensor_shapes(network, one) == _tensor_shapes(network, other)


def _tensor_shapes(network: nn.Module, name: str) -> dict[str, torch.Size]:
    state = network.get_submodule(name).state_dict()
    return {tensor: value.shape for tensor, value in state.items()}


@torch.no_grad()
def _vector(block: nn.Module) -> Tensor:
    weights = (parameter for parameter in block.parameters() if parameter.ndim > 1)
    values = [weight.double().flatten() for weight in weights]
    return torch.cat(values) if values else torch.zeros(1, dtype=torch.float64)


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
