"""Reconstruction: the kept channels take over what the removed ones did."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.models.attention import with_prunable_attention
from espalier.models.layer_inputs import LayerInput, LayerInputs
from espalier.models.structure import masked_weights, shared_weights
from espalier.pruning.groups import DependencyGroups, stay_with
from espalier.pruning.scores.score import Losses

_RIDGE = 1e-3  # of the mean square of the kept channels
_ROWS = 4096  # of one call: more are drawn from it, at least two for each channel
_PER_CHANNEL = 4  # rows for each kept channel; with fewer, chance would be fitted
_MOST = 2**30  # bytes of moments at a time; what is beyond takes another pass


@torch.no_grad()
def reconstruct(
    network: nn.Module,
    smaller: nn.Module,
    groups: DependencyGroups,
    kept: NDArray[np.bool_],
    losses: Losses,
) -> None:
    """Add to the weights of the kept channels what predicts the removed ones best, in place.

    A layer that reads channels x computes W x. Without the removed channels r it gets only the kept
    ones k. The least squares over training data predict r as D k; `W_k + W_r D` then computes what
    is nearest to W x, if only channels at one position are compared (linear least squares, He et al.
    2017, section 3.1, here without a new choice of channels; merged into the next layer as by Kim et
    al. 2020, section 3). Where the layer has a bias, the prediction has a constant that goes there.

    Layers with masked or shared weights stay as they are, and so do grouped convolutions, the
    states of recurrent layers, and weights that other operators, or several biases, go with.

    Args:
        network: network before the cut, in evaluation mode.
        smaller: network after the cut; its weights are changed.
        groups: dependency groups of the network before the cut.
        kept: (count,) whether each group stays.
        losses: yields the loss of each batch of training examples, which runs the network.

    Example:
        A layer reads (x, 2 x) by the weights (1, 1), and the second channel is removed: its weight
        for the first one becomes 3.
    """
    own = with_prunable_attention(network)
    free = set(groups.where) - {*masked_weights(network), *shared_weights(network)}
    columns = {name: _Columns.of(groups, name, kept) for name in free if (name, 1) in groups.reads}
    narrowed = {name: one for name, one in columns.items() if len(one.removed)}
    for some in _portions(narrowed):
        for moments in _measure(own, some, losses):
            _take_over(own, smaller, some[moments.weight], moments)


@dataclass(frozen=True)
class _Columns:
    """Rows and columns of a weight, before and after a cut.

    Attributes:
        rows: indices of the kept outputs; None for all.
        kept: indices of the kept inputs.
        removed: indices of the removed inputs.
    """

    rows: Tensor | None
    kept: Tensor
    removed: Tensor

    @classmethod
    def of(cls, groups: DependencyGroups, name: str, kept: NDArray[np.bool_]) -> "_Columns":
        dims = groups.where[name]
        rows = np.flatnonzero(stay_with(dims[0], kept)) if 0 in dims else None
        stays = stay_with(dims[1], kept)
        return cls(
            None if rows is None else torch.from_numpy(rows),
            torch.from_numpy(np.flatnonzero(stays)),
            torch.from_numpy(np.flatnonzero(~stays)),
        )

    @property
    def bytes(self) -> int:
        """The size of the moments."""
        wide = len(self.kept) + 1
        return 8 * wide * (wide + len(self.removed))


@dataclass
class _Moments:
    """Sums over the inputs of a weight.

    Attributes:
        weight: name of the weight.
        bias: name of its bias; empty if there is none.
        count: number of rows.
        among: (kept, kept) products of the kept channels, and of the constant if there is a bias.
        between: (kept, removed) their products with the removed ones.
    """

    weight: str
    bias: str
    count: int
    among: Tensor
    between: Tensor


def _portions(columns: dict[str, _Columns]) -> Iterator[dict[str, _Columns]]:
    """Weights whose moments fit into the memory together; one that does not fit is left out."""
    portion: dict[str, _Columns] = {}
    for name, one in sorted(columns.items()):
        if one.bytes > _MOST:
            continue
        if sum(other.bytes for other in portion.values()) + one.bytes > _MOST:
            yield portion
            portion = {}
        portion[name] = one
    if portion:
        yield portion


def _measure(
    network: nn.Module, columns: dict[str, _Columns], losses: Losses
) -> Iterator[_Moments]:
    """The moments of the inputs of some weights, over all batches."""
    found: dict[tuple[str, str], _Moments] = {}

    def add(given: LayerInput) -> None:
        one = columns.get(given.weight)
        is_grouped = one and given.channels != len(one.kept) + len(one.removed)
        if one and not is_grouped:
            _add(found, given, one)

    with LayerInputs(network, add) as inputs:
        for _ in losses(network):
            pass
    biases = Counter(weight for weight, _ in found)
    for (weight, _), moments in found.items():
        is_plain = biases[weight] == 1 and weight not in inputs.also_used
        if is_plain and _is_enough(moments):
            yield moments


def _is_enough(moments: _Moments) -> bool:
    is_finite = torch.isfinite(moments.among).all() and torch.isfinite(moments.between).all()
    return bool(is_finite) and moments.count >= _PER_CHANNEL * len(moments.among)


def _add(found: dict[tuple[str, str], _Moments], given: LayerInput, columns: _Columns) -> None:
    """Add some rows of an input to the moments of its weight and bias."""
    key = given.weight, given.bias
    former = found.get(key)
    values = _some(given.rows(), former.count if former else 0).float()
    left = values[:, columns.kept.to(values.device)]
    if given.bias:
        left = torch.cat([left, left.new_ones(len(left), 1)], 1)
    gone = values[:, columns.removed.to(values.device)]
    among, between = (left.T @ left).double(), (left.T @ gone).double()
    if former is None:
        found[key] = _Moments(given.weight, given.bias, len(values), among, between)
        return
    former.count += len(values)
    former.among += among
    former.between += between


def _some(rows: Tensor, seed: int) -> Tensor:
    """Rows that are drawn from all, if there are more than the moments need."""
    most = max(_ROWS, 2 * rows.shape[1])
    if len(rows) <= most:
        return rows
    drawn = torch.Generator().manual_seed(seed)
    return rows[torch.randint(len(rows), (most,), generator=drawn).to(rows.device)]


def _take_over(
    network: nn.Module, smaller: nn.Module, columns: _Columns, moments: _Moments
) -> None:
    """Add the weights of the removed channels to those of the kept ones, as these predict them."""
    width = len(columns.kept)
    squares = moments.among.diagonal()[:width]
    ridge = torch.zeros_like(moments.among.diagonal())
    ridge[:width] = (_RIDGE * squares.mean()).clamp(min=torch.finfo(squares.dtype).tiny)
    predicted = torch.linalg.solve(moments.among + ridge.diag(), moments.between)
    weight = network.get_parameter(moments.weight).detach()
    if columns.rows is not None:
        weight = weight.index_select(0, columns.rows.to(weight.device))
    gone = weight.index_select(1, columns.removed.to(weight.device)).double()
    added = torch.tensordot(gone, predicted[:width], dims=([1], [1])).movedim(-1, 1)
    left = smaller.get_parameter(moments.weight)
    left.copy_(left.double() + added)
    if moments.bias:
        bias = smaller.get_parameter(moments.bias)
        constant = gone.flatten(2).sum(2) if gone.ndim > 2 else gone
        bias.copy_(bias.double() + constant @ predicted[width])
