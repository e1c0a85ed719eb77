"""The network that runs the steps of a graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.onnx_graph.operators import OPERATORS
from espalier.models.onnx_graph.step import INPUT, Step
from espalier.models.structure.layer_specs import KINDS, LayerSpec

CONSTANTS = "constants"
"""Name of the submodule whose buffers are the constants."""

_PREFIX = f"{CONSTANTS}."


class OnnxNetwork(nn.Module):
    """A network whose forward pass is a list of steps.

    Layers are submodules under their own names, so pruning, folding, quantization and training treat
    them as those of any network. Constants of other operators are buffers: no training changes them.
    """

    def __init__(self, steps: Sequence[Step], constants: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.constants = nn.Module()
        for name, value in constants.items():
            self.constants.register_buffer(name, value)
        for step in steps:
            if step.layer is not None:
                _place(self, step.layer, _layer(step))
        self._steps = tuple(steps)
        self._finished = _finished(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (N, ...) to outputs (N, classes)."""
        values = {INPUT: x}
        for step, finished in zip(self._steps, self._finished, strict=True):
            operands = [self._operand(values, one) for one in step.inputs]
            results = self._results(step, operands)
            named = zip(step.outputs, results, strict=False)
            values |= dict(named)
            for name in finished:
                del values[name]
        return values[self._steps[-1].outputs[0]]

    def _operand(self, values: Mapping[str, Tensor], operand: Any) -> Any:
        if not isinstance(operand, str):
            return operand
        if operand.startswith(_PREFIX):
            return getattr(self.constants, operand.removeprefix(_PREFIX))
        return values[operand]

    def _results(self, step: Step, operands: list[Any]) -> Sequence[Tensor]:
        if step.layer is not None:
            return (self.get_submodule(step.layer)(*operands),)
        results: Tensor | Sequence[Tensor] = OPERATORS[step.operator](*operands, **step.attributes)
        return (results,) if isinstance(results, Tensor) else results


def onnx_network(
    *,
    classes: int,
    shape: tuple[int, ...],
    steps: Sequence[Mapping[str, Any]],
    constants: Mapping[str, Mapping[str, Any]] | None = None,
) -> nn.Module:
    """Build the network of an ONNX file, with random weights.

    Args:
        classes: number of outputs.
        shape: shape of an input; the sizes in the steps belong to it.
        steps: steps in the form of `Step.as_json`.
        constants: shape and type of each constant, by its name.

    Raises:
        BadInput: if a step is unknown, or reads a value that no earlier step computes.
    """
    del shape, classes  # both are in the steps
    own = {name: _empty(name, content) for name, content in (constants or {}).items()}
    read = [Step.from_json(step) for step in steps]
    _check(read, {INPUT, *(f"{_PREFIX}{name}" for name in own)})
    return OnnxNetwork(read, own)


def _empty(name: str, content: Mapping[str, Any]) -> Tensor:
    kind = getattr(torch, str(content.get("type")), None)
    if not isinstance(kind, torch.dtype) or "shape" not in content:
        raise BadInput(f"Expected the constant {name} to have a shape and a type; found {content}.")
    return torch.zeros(content["shape"], dtype=kind)


def _check(steps: Sequence[Step], known: set[str]) -> None:
    if not steps:
        raise BadInput("Expected at least one step of espalier:onnx; found none.")
    for step in steps:
        table: Mapping[str, Any] = OPERATORS if step.layer is None else KINDS
        if step.operator not in table:
            raise BadInput(
                f"Expected an operator of espalier:onnx among {', '.join(table)}; found "
                f"{step.operator!r}."
            )
        unknown = [name for name in step.names if name not in known]
        if unknown:
            raise BadInput(
                f"Expected {step.operator} to read values of earlier steps; found {unknown[0]!r}."
            )
        known |= set(step.outputs)


def _layer(step: Step) -> nn.Module:
    """The layer of a step, whose weights are drawn from torch's generator."""
    spec = LayerSpec.from_json({"kind": step.operator, "arguments": step.attributes})
    return KINDS[spec.kind](**spec.arguments)


def _place(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Add a submodule under a dotted name; modules on the way that are missing are empty ones."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, layer)


def _finished(steps: Sequence[Step]) -> tuple[tuple[str, ...], ...]:
    """For each step, the values that no later step reads, so that their memory is freed."""
    later = set(steps[-1].outputs[:1])
    finished: list[tuple[str, ...]] = []
    for step in reversed(steps):
        named = (*step.names, *step.outputs)
        values = {one for one in named if not one.startswith(_PREFIX)}
        last_read = sorted(values - later)
        finished.append(tuple(last_read))
        later |= values
    return tuple(reversed(finished))
