"""The traced graph of a network: its operators, the layers they belong to, and their values."""

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from espalier.errors import BadInput

Example = Tensor | tuple[Tensor, ...]
"""The inputs of a network: one tensor, or all of them; the first dimension of each is the batch."""


class Graph:
    """The operators that a network runs in evaluation mode, in their order.

    Attributes:
        nodes: calls of operators, in order.
        needed: nodes from which the outputs follow, in order; inputs and outputs included.
        batch: batch size of the example, which is at least 2.
        state: parameters and buffers of the network, by name.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        """Trace a network; its modules keep their modes.

        Args:
            network: any module that `torch.export` can trace.
            example: its inputs; a batch of one is doubled, because it would be traced as fixed.

        Raises:
            BadInput: if the network cannot be traced.
        """
        inputs = doubled(example)
        with evaluating(network):
            program = _export(network, inputs)
        signature = program.graph_signature
        self._names: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
        }
        self._layers = dict(network.named_modules())
        self.state = network.state_dict(keep_vars=True)
        self.batch = len(inputs[0])
        self.nodes = [node for node in program.graph.nodes if node.op == "call_function"]
        self.needed = _needed(list(program.graph.nodes))
        self._uses = self._count(self.nodes)

    def operator(self, node: Any) -> str:
        """The name of the operator that a node calls, `conv2d` for example; empty for no call."""
        if not isinstance(node, Node) or node.op != "call_function":
            return ""
        return operator_name(node)

    def name(self, operand: Any) -> str | None:
        """The name of the parameter or buffer that an operand is; None if it is none."""
        return self._names.get(operand.name) if isinstance(operand, Node) else None

    def owner(self, operand: Any) -> tuple[str, nn.Module] | None:
        """The layer, with its name, whose parameter or buffer an operand is.

        None if other calls use the same parameter or buffer.
        """
        name = self.name(operand)
        if name is None or name not in self.state or self._uses[id(self.state[name])] != 1:
            return None
        layer = name.rpartition(".")[0]
        return layer, self._layers[layer]

    def layer_of(
        self, node: Any, kinds: tuple[type[nn.Module], ...]
    ) -> tuple[str, nn.Module] | None:
        """The layer of one of these kinds whose weight and bias, and nothing else, a node applies."""
        if len(getattr(node, "args", ())) < 2:
            return None
        found = self.owner(node.args[1])
        if found is None or not isinstance(found[1], kinds):
            return None
        bias = node.args[2] if len(node.args) > 2 else None
        held = getattr(found[1], "bias", None)
        if (bias is None) != (held is None):
            return None
        return found if bias is None or self.owner(bias) == found else None

    def shape(self, operand: Any) -> tuple[int, ...]:
        """The sizes of a value that is one tensor, the batch first; empty for anything else."""
        value = operand.meta.get("val") if isinstance(operand, Node) else None
        if not isinstance(value, Tensor):
            return ()
        return tuple(int(size) for size in value.shape)

    def line(self, node: Node) -> str:
        """The line of the forward pass that a node comes from: file, number and code."""
        lines = str(node.meta.get("stack_trace") or "").strip().splitlines()
        frames = [place for place, line in enumerate(lines) if line.strip().startswith("File ")]
        if not frames:
            return node.name
        file = lines[frames[-1]].split('"')[1]
        number = lines[frames[-1]].split(",")[1]
        code = "".join(lines[frames[-1] + 1 : frames[-1] + 2]).strip()
        return f"{Path(file).name}:{number.removeprefix(' line ')} `{code}`"

    def places(self, node: Node) -> int:
        """The number of positions of one example at which a layer applies its weights."""
        shape = self.shape(node)
        channels = shape[-1] if self.operator(node) == "linear" else shape[1]
        return math.prod(shape[1:]) // channels

    def layers_around(self, node: Node) -> list[str]:
        """The names of the layers in whose forward passes a node stands, the innermost first."""
        stack = node.meta.get("nn_module_stack", {})
        return [name for name, _ in reversed(stack.values())]

    def layer(self, node: Node) -> nn.Module | None:
        """The innermost layer in whose forward pass a node stands."""
        around = self.layers_around(node)
        return self._layers.get(around[0]) if around else None

    def inside(self) -> dict[str, list[Node]]:
        """The calls inside each layer, by the layer's name."""
        calls: dict[str, list[Node]] = {}
        for node in self.nodes:
            for path in self.layers_around(node):
                calls.setdefault(path, []).append(node)
        return calls

    def alone(self, nodes: list[Node]) -> bool:
        """Whether no other call uses a parameter or buffer that these calls use."""
        return all(self._uses[key] == count for key, count in self._count(nodes).items())

    def _count(self, nodes: list[Node]) -> Counter[int]:
        """The number of calls that use each parameter or buffer, by identity."""
        names = (self.name(operand) for node in nodes for operand in node.all_input_nodes)
        return Counter(id(self.state[name]) for name in names if name in self.state)


def operator_name(node: Node) -> str:
    """The name of the operator of a call."""
    target = node.target
    return str(getattr(target, "_opname", "") or getattr(target, "__name__", target))


def doubled(example: Example) -> tuple[Tensor, ...]:
    """The inputs as a tuple, each with a batch of at least two."""
    inputs = example if isinstance(example, tuple) else (example,)
    return tuple(one if len(one) > 1 else torch.cat([one, one]) for one in inputs)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode inside the block, and in its former mode after it."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _export(network: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    try:
        with warnings.catch_warnings():
            # a recurrent layer keeps a second list of its parameters, which torch restores
            warnings.filterwarnings("ignore", message="The tensor attribute")
            return torch.export.export(network, inputs, strict=False)
    except Exception as error:  # anything that a user's forward pass does while it is traced
        reason = str(error).partition("\n")[0]
        raise BadInput(
            f"Expected a network that torch.export can trace; found: {reason}"
        ) from error


def _needed(nodes: list[Node]) -> list[Node]:
    """The nodes from which the outputs follow; operators that work in place are always needed."""
    needed: set[Node] = set()
    for node in reversed(nodes):
        in_place = node.op == "call_function" and operator_name(node).endswith("_")
        if node.op != "call_function" or in_place or not needed.isdisjoint(node.users):
            needed.add(node)
    return [node for node in nodes if node in needed]
