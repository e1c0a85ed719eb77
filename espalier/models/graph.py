"""A traced network: which value comes from which layer, and who else uses it."""

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from espalier.errors import BadInput


class Graph:
    """The operators that a network runs in evaluation mode, in their order.

    Attributes:
        nodes: The calls of operators.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        """Trace a network in evaluation mode; its modes are left as they were.

        Raises:
            BadInput: If it cannot be traced.
        """
        modes = {module: module.training for module in network.modules()}
        network.eval()
        example = (
            example if len(example) > 1 else torch.cat([example, example])
        )  # a batch of one is traced as fixed
        try:
            program = torch.export.export(network, (example,), strict=False)
        except Exception as error:  # whatever the user's network does while it is traced
            reason = str(error).partition("\n")[0]
            raise BadInput(
                f"A network to be folded or cut by blocks should be traceable by torch.export. Found: {reason}"
            ) from error
        finally:
            for module, training in modes.items():
                module.training = training
        signature = program.graph_signature
        self._names: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
        }
        self._layers = dict(network.named_modules())
        self._state = network.state_dict(keep_vars=True)
        self.nodes: list[Node] = [
            node for node in program.graph.nodes if node.op == "call_function"
        ]
        self._uses = self._count(self.nodes)

    def operator(self, node: Any) -> str:
        """The name of what a node calls, `conv2d` for one; nothing for what is no call."""
        if not isinstance(node, Node) or node.op != "call_function":
            return ""
        return str(
            getattr(node.target, "_opname", "") or getattr(node.target, "__name__", node.target)
        )

    def name(self, operand: Any) -> str | None:
        """The name of the parameter or buffer that an operand is, if it is one."""
        return self._names.get(operand.name) if isinstance(operand, Node) else None

    def owner(self, operand: Any) -> tuple[str, nn.Module] | None:
        """The layer, by name, whose parameter or buffer an operand is, if only this one call uses it."""
        name = self.name(operand)
        if name is None or name not in self._state or self._uses[id(self._state[name])] != 1:
            return None
        layer = name.rpartition(".")[0]
        return layer, self._layers[layer]

    def layer_of(
        self, node: Any, kinds: tuple[type[nn.Module], ...]
    ) -> tuple[str, nn.Module] | None:
        """The layer of one of these kinds whose own weight and bias, and nothing else, a node multiplies and adds."""
        if len(getattr(node, "args", ())) < 2:
            return None
        found = self.owner(node.args[1])
        if found is None or not isinstance(found[1], kinds):
            return None
        bias = node.args[2] if len(node.args) > 2 else None
        held = getattr(found[1], "bias", None)
        if (bias is None) != (held is None) or (bias is not None and self.owner(bias) != found):
            return None
        return found

    def shape(self, node: Any) -> tuple[int, ...]:
        """The sizes of the value of a node, if it is one tensor; the first is the batch."""
        value = node.meta.get("val") if isinstance(node, Node) else None
        return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else ()

    def places(self, node: Node) -> int:
        """How many values each output channel of a layer's call has for one image: at each its weights are used."""
        shape = self.shape(node)
        channels = shape[-1] if self.operator(node) == "linear" else shape[1]
        return math.prod(shape[1:]) // channels

    def inside(self) -> dict[str, list[Node]]:
        """The calls that each layer makes, by the layer's name."""
        calls: dict[str, list[Node]] = {}
        for node in self.nodes:
            for path, _ in node.meta.get("nn_module_stack", {}).values():
                calls.setdefault(path, []).append(node)
        return calls

    def alone(self, nodes: list[Node]) -> bool:
        """Whether no other call uses a parameter or buffer that these use."""
        return all(self._uses[key] == count for key, count in self._count(nodes).items())

    def _count(self, nodes: list[Node]) -> Counter[int]:
        names = (self.name(operand) for node in nodes for operand in node.all_input_nodes)
        return Counter(id(self._state[name]) for name in names if name in self._state)
