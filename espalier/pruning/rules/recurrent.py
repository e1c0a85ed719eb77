"""Rules of recurrent layers: LSTM, GRU and layers without gates."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn
from torch.fx import Node

from espalier.pruning.coupling import Dim, Indices, Label, Rule, Walk, integer

_LAYERS, _BIDIRECTIONAL = 4, 7  # positions of arguments, the same for all recurrent operators


def recurrent(gates: int) -> Rule:
    """A hidden unit goes with its rows of all gates, and with the columns that read its state.

    torch's layers have one number of hidden units. So unit j goes from every layer of a stack and
    from both directions together.

    Args:
        gates: number of rows of a weight for each hidden unit.

    Example:
        An LSTM of 2 units: unit 0 is rows 0, 2, 4 and 6 of `weight_ih_l0`, `weight_hh_l0` and the
        biases, and column 0 of `weight_hh_l0`. In both directions it is columns 0 and 2 of the
        layer that reads the outputs.
    """

    def rule(walk: Walk, node: Node) -> Label:
        if not _is_plain(walk, node):
            for operand in node.all_input_nodes:
                for dim in walk.label(operand):
                    walk.coupling.pin(dim, f"enters {node.name}, which is no plain layer of torch")
            return ()
        cells = list(_cells(node))
        units = walk.coupling.merge(_by_gate(walk.label(cells[0][0])[0], gates))
        directions = 2 if node.args[_BIDIRECTIONAL] else 1
        outputs = np.concatenate([units] * directions)
        x = walk.label(node.args[0])
        for number, cell in enumerate(cells):
            _join_cell(walk, cell, units, gates)
            columns = walk.label(cell[0])[1]
            inputs: Dim = x[-1] if number < directions else outputs
            walk.coupling.join(inputs, columns, "input of the network")
            for weight in cell[:2]:
                walk.add_steps(node, weight)
        state = _join_states(walk, node, units)
        walk.labels(node)[:] = [(*x[:-1], outputs), state, state]
        return ()

    return rule


def _is_plain(walk: Walk, node: Node) -> bool:
    """Whether a call is that of a layer of torch on padded sequences, without a projection."""
    module = walk.module(node)
    padded = str(node.target).endswith(".input")
    return padded and isinstance(module, nn.RNNBase) and not module.proj_size


def _cells(node: Node) -> Iterator[Sequence[Node]]:
    """The parameters of each direction of each layer: two weights, and two biases if there are any."""
    parameters: Any = node.args[2]
    directions = 2 if node.args[_BIDIRECTIONAL] else 1
    size = len(parameters) // (integer(node, _LAYERS) * directions)
    for start in range(0, len(parameters), size):
        yield parameters[start : start + size]


def _by_gate(rows: Dim, gates: int) -> Indices:
    """The rows (gates, units) of a parameter, which is stacked by gate."""
    assert isinstance(rows, np.ndarray)
    return rows.reshape(gates, -1)


def _join_cell(walk: Walk, cell: Sequence[Node], units: Indices, gates: int) -> None:
    """Join the rows of all parameters, and the columns that read the former state, with the units."""
    for parameter in cell:
        for rows in _by_gate(walk.label(parameter)[0], gates):
            walk.coupling.join(units, rows, "gate")
    walk.coupling.join(units, walk.label(cell[1])[1], "state")


def _join_states(walk: Walk, node: Node, units: Indices) -> Label:
    """The label of the states; first states that the layer itself makes have as many units as it."""
    given: Any = node.args[1]
    states: list[Node] = [given] if isinstance(given, Node) else list(given)
    label: Label = ()
    for state in states:
        label = (*(None for _ in walk.shape(state)[1:]), units)
        if walk.module(state) is walk.module(node):
            walk.relabel(state, label)
        else:
            walk.coupling.join(units, walk.label(state)[-1], f"first state of {node.name}")
    return label
