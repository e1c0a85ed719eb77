"""Refitting: one layer after another, a cut network learns the outputs of the whole one by least squares."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.models.attention import with_prunable_attention
from espalier.models.layer_inputs import LayerInput, LayerInputs
from espalier.models.structure import masked_weights, shared_weights
from espalier.pruning.groups import DependencyGroups, stay_with
from espalier.pruning.scores.score import Losses
from espalier.pruning.surgery.patches import draw_places, inputs_at, outputs_at

_RIDGE = 1e-3  # of the mean square of the inputs
_ROWS = 1024  # of one call, or as many as the layer has inputs
_PER_INPUT = 4  # rows for each input in all; with fewer, chance would be fitted
_WIDEST = 8192  # inputs, whose moments take half a gigabyte
_MOST = 2**30  # bytes of outputs at a time; what is beyond takes another pass


@torch.no_grad()
def refit(
    network: nn.Module,
    smaller: nn.Module,
    groups: DependencyGroups,
    kept: NDArray[np.bool_],
    losses: Losses,
) -> None:
    """Fit each layer of a cut network to what the whole one computes there, in place.

    In the order of the network, each layer gets the weights of the least squared error between what it
    computes of its own inputs, which come from the layers fitted before, and the outputs of the same layer
    of the whole network; all positions of a filter together (He et al. 2017, eq. 4 and section 3.3, without
    the choice of channels). A ridge leaves the former weights where the data do not say.

    Statistics of norms stay those of the whole network, whose outputs the layers compute again. Each layer
    takes a pass over the data. Layers with masked or shared weights stay as they are, and so do recurrent
    ones, and weights that other operators, or several biases, go with.

    Args:
        network: network before the cut, in evaluation mode.
        smaller: network after the cut, in evaluation mode; its weights are changed.
        groups: dependency groups of the network before the cut.
        kept: (count,) whether each group stays.
        losses: yields the loss of each batch of training examples, which runs the network; the same
            batches each time.
    """
    left_out = {*masked_weights(network), *shared_weights(network)}
    halting = _Halting(smaller)
    layers = [one for one in _layers(smaller, halting, losses) if one.weight not in left_out]
    own = with_prunable_attention(network)
    for portion in _portions(layers):
        wanted = _outputs(own, portion, losses)
        for layer in portion:
            rows = _kept_rows(groups, layer.weight, kept)
            outputs = [one[:, rows] for one in wanted[layer.weight]]
            if len(outputs) != layer.calls:
                continue
            problem = _Problem(smaller, layer, outputs)
            halting.run(losses, problem.add)
            problem.solve()


class _Halt(Exception):
    """The rest of a pass is not needed."""


class _Halting(nn.Module):
    """A network that need not run to its end: then it answers as in the same call of its first pass.

    Attributes:
        batches: number of calls of this pass.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._answers: list[Any] = []
        self.batches = 0

    def run(self, losses: Losses, see: Callable[[LayerInput], None]) -> LayerInputs:
        """A pass over all batches, with the inputs of each layer seen."""
        self.batches = 0
        inputs = LayerInputs(self._network, see)
        with inputs:
            for _ in losses(self):
                pass
        return inputs

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """The answer of the network, or that of its first pass, if it was halted."""
        self.batches += 1
        try:
            answer = self._network(*inputs, **keywords)
        except _Halt:
            return self._answers[self.batches - 1]
        self._answers[self.batches - 1 : self.batches] = [answer]
        return answer


@dataclass
class _Layer:
    """A multiplication by a weight, as its calls were seen.

    Attributes:
        weight: name of the weight.
        shape: shape of the weight.
        groups: number of groups of a convolution.
        biases: names of its biases in all calls; empty for none.
        calls: number of calls.
        batches: the batches that it was called in.
        is_plain: whether all are convolutions or linear layers, of whole batches.
    """

    weight: str
    shape: torch.Size
    groups: int
    biases: set[str] = field(default_factory=set)
    calls: int = 0
    batches: set[int] = field(default_factory=set)
    is_plain: bool = True

    @property
    def width(self) -> int:
        """The number of inputs of an output."""
        return self.shape[1:].numel()

    @property
    def rows(self) -> int:
        """The rows that are read of one call, at most."""
        return max(_ROWS, self.width)

    @property
    def bytes(self) -> int:
        """The size of the outputs that are read."""
        return 4 * self.calls * self.rows * self.shape[0]


def _layers(network: nn.Module, halting: _Halting, losses: Losses) -> list[_Layer]:
    """The layers that can be fitted, in the order of their first use, from a whole pass."""
    found: dict[str, _Layer] = {}

    def see(given: LayerInput) -> None:
        shape = network.get_parameter(given.weight).shape
        groups = int(given.settings.get("groups", 1))
        layer = found.setdefault(given.weight, _Layer(given.weight, shape, groups))
        layer.biases.add(given.bias)
        layer.batches.add(halting.batches)
        layer.calls += 1
        layer.is_plain &= given.output is not None and given.tensor.ndim >= len(shape)

    inputs = halting.run(losses, see)
    return [
        layer
        for layer in found.values()
        if layer.is_plain
        and layer.width <= _WIDEST
        and len(layer.biases) == 1
        and layer.weight not in inputs.also_used
    ]


def _portions(layers: list[_Layer]) -> Iterator[list[_Layer]]:
    """Layers in their order, whose outputs fit into the memory together."""
    portion: list[_Layer] = []
    for layer in layers:
        if portion and sum(one.bytes for one in portion) + layer.bytes > _MOST:
            yield portion
            portion = []
        portion.append(layer)
    if portion:
        yield portion


def _kept_rows(groups: DependencyGroups, weight: str, kept: NDArray[np.bool_]) -> Tensor | slice:
    """The outputs of a weight that stay."""
    dims = groups.where.get(weight, {})
    return torch.from_numpy(np.flatnonzero(stay_with(dims[0], kept))) if 0 in dims else slice(None)


def _outputs(network: nn.Module, layers: list[_Layer], losses: Losses) -> dict[str, list[Tensor]]:
    """(rows, outputs) of each call of some layers of the whole network."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    rows = {layer.weight: layer.rows for layer in layers}

    def see(given: LayerInput) -> None:
        if given.weight in rows:
            calls = found[given.weight]
            calls.append(outputs_at(given, draw_places(given, rows[given.weight], len(calls))))

    with LayerInputs(network, see):
        for _ in losses(network):
            pass
    return found


class _Problem:
    """The least squares of a layer: its weights, and its bias as that of a constant input."""

    def __init__(self, network: nn.Module, layer: _Layer, wanted: list[Tensor]) -> None:
        """Begin with the present weights; `wanted` are the outputs (rows, outputs) of each call."""
        (name,) = layer.biases
        self._layer, self._wanted = layer, wanted
        self._weight = network.get_parameter(layer.weight)
        self._bias = network.get_parameter(name) if name else None
        former = self._weight.reshape(layer.groups, -1, layer.width)
        if self._bias is not None:
            former = torch.cat([former, self._bias.reshape(layer.groups, -1, 1)], 2)
        groups, outputs, width = former.shape
        self._former = former  # (groups, outputs of each, inputs)
        self._among = former.new_zeros(groups, width, width, dtype=torch.float64)
        self._between = former.new_zeros(groups, width, outputs, dtype=torch.float64)
        self._rows = self._calls = 0

    def add(self, given: LayerInput) -> None:
        """Add the inputs of a call, and what the present weights leave wanting of its outputs.

        Raises:
            _Halt: if the layer is not called again in this batch.
        """
        layer = self._layer
        if given.weight != layer.weight:
            return
        places = draw_places(given, layer.rows, self._calls)
        inputs = inputs_at(given, layer.shape, layer.groups, places).movedim(0, 1)
        if self._bias is not None:
            inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], 2)
        wanted = self._wanted[self._calls].reshape(len(places[0]), layer.groups, -1).movedim(0, 1)
        self._among += (inputs.mT @ inputs).double()
        self._between += (inputs.mT @ (wanted - inputs @ self._former.mT)).double()
        self._rows += len(places[0])
        self._calls += 1
        if layer.calls == len(layer.batches):
            raise _Halt

    def solve(self) -> None:
        """Replace the weights, if the data determine them and are finite."""
        is_finite = torch.isfinite(self._among).all() and torch.isfinite(self._between).all()
        if not is_finite or self._rows < _PER_INPUT * self._former.shape[2]:
            return
        width = self._layer.width
        squares = self._among.diagonal(dim1=1, dim2=2)
        ridge = torch.zeros_like(squares)
        mean = squares[:, :width].mean(1, keepdim=True)
        ridge[:, :width] = (_RIDGE * mean).clamp(min=torch.finfo(squares.dtype).tiny)
        change = torch.linalg.solve(self._among + ridge.diag_embed(), self._between)
        fitted = self._former + change.mT.to(self._former.dtype)
        self._weight.copy_(fitted[..., :width].reshape(self._weight.shape))
        if self._bias is not None:
            self._bias.copy_(fitted[..., width].flatten())
