"""The steps of a network while they are collected from a file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espalier.models.onnx_graph import OPERATORS, Step
from espalier.models.onnx_graph.network import CONSTANTS
from espalier.models.onnx_graph.step import INPUT
from espalier.models.onnx_import.naming import layer_name
from espalier.models.onnx_import.values import (
    BATCHES,
    Activation,
    Array,
    Known,
    Unsupported,
    Value,
)
from espalier.models.structure.layer_specs import LayerSpec, build_layer
from espalier.models.without_memory import without_memory


class GraphInReading:
    """Steps, weights and constants that were collected so far, and the values by their names in the file.

    Attributes:
        values: values by their names in the file.
        uses: number of operators that read each of them.
        steps: steps so far.
        tensors: weights and constants so far, by their names in the network.
        opset: version of ONNX's operators.
        batch: number of examples to which the file is fixed; None if it takes any.
    """

    def __init__(
        self, shape: tuple[int, ...], uses: Counter[str], opset: int, batch: int | None
    ) -> None:
        self.values: dict[str, Value] = {"": None}
        self.uses = uses
        self.steps: list[Step] = []
        self.tensors: dict[str, Tensor] = {}
        self.opset = opset
        self.batch = batch
        self._taken: set[str] = set()
        self._held: dict[int, tuple[str, Array]] = {}  # the array is kept: its number is its key
        one, other = (torch.empty(size, *shape, device="meta") for size in BATCHES)
        self.input = Activation(INPUT, (one, other))
        self._metas = {INPUT: self.input.metas}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each activation at the first batch size."""
        return {name: tuple(metas[0].shape) for name, metas in self._metas.items()}

    def add_function(
        self,
        operator: str,
        operands: Sequence[Any],
        attributes: Mapping[str, Any],
        outputs: int = 1,
    ) -> list[Activation]:
        """Add a function of activations, constants, numbers and lists; returns its results.

        Raises:
            Unsupported: if the function does not accept them.
        """
        inputs = tuple(self._operand(one) for one in operands)
        first = self._results(operator, inputs, attributes, 0)
        second = self._results(operator, inputs, attributes, 1)
        if len(first) < outputs:
            raise Unsupported(f"{outputs} outputs instead of {len(first)}")
        values = [self._new_value(metas) for metas in zip(first, second, strict=True)]
        names = tuple(one.name for one in values)
        self.steps.append(Step(operator, inputs, names, dict(attributes)))
        return values

    def add_layer(
        self,
        spec: LayerSpec,
        value: Activation,
        tensors: Mapping[str, Array],
        names: tuple[str, str],
    ) -> Activation:
        """Add a layer of torch with its weights.

        Args:
            spec: description of the layer.
            value: its input.
            tensors: its parameters and buffers, by their attribute names.
            names: names of the weight and of the node in the file.
        """
        layer = layer_name(*names, spec.kind, self._taken)
        with without_memory():
            module = build_layer(spec).eval()
            one, other = (module(meta) for meta in value.metas)
        result = self._new_value((one, other))
        arguments = dict(spec.arguments)
        self.steps.append(Step(spec.kind, (value.name,), (result.name,), arguments, layer))
        for attribute, array in tensors.items():
            self.tensors[f"{layer}.{attribute}"] = as_tensor(array)
        return result

    def producer(self, value: Activation) -> int | None:
        """The place of the step that computes a value; None for the input."""
        for place, step in enumerate(self.steps):
            if value.name in step.outputs:
                return place
        return None

    def readers(self, value: Activation) -> int:
        """The number of operators of the file that read a value."""
        return sum(self.uses[name] for name, held in self.values.items() if held is value)

    def give_bias(self, place: int, bias: Array) -> None:
        """Give the layer of a step a bias."""
        step = self.steps[place]
        self.steps[place] = replace(step, attributes={**step.attributes, "bias": True})
        self.tensors[f"{step.layer}.bias"] = as_tensor(bias)

    def _new_value(self, metas: tuple[Tensor, Tensor]) -> Activation:
        name = f"x{len(self._metas)}"
        self._metas[name] = metas
        return Activation(name, metas)

    def _results(
        self, operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], place: int
    ) -> list[Tensor]:
        """The results of a function at one of the two batch sizes."""
        operands = [self._meta(one, place) for one in inputs]
        found = OPERATORS[operator](*operands, **attributes)
        return [found] if isinstance(found, Tensor) else list(found)

    def _meta(self, operand: Any, place: int) -> Any:
        """An operand with its shape alone, at one of the two batch sizes."""
        if not isinstance(operand, str):
            return operand
        if operand in self.tensors:
            return self.tensors[operand].to("meta")
        return self._metas[operand][place]

    def _operand(self, value: Any) -> Any:
        """An operand as a step has it: a name, a number, a list or None."""
        if isinstance(value, Activation):
            return value.name
        if not isinstance(value, Known):  # a number, a list, None, or the name of a constant
            return value
        if value.is_constant and value.arrays[0].ndim == 0:
            return value.arrays[0].item()
        if value.is_constant:
            return self._hold(value.arrays[0], value.name)
        return self._repeated(value)

    def _repeated(self, value: Known) -> str:
        """A constant that the file repeats for every example: it is held once, and repeated here."""
        one, other = value.arrays
        sizes = list(zip(one.shape, other.shape, strict=True))
        if sizes.count(BATCHES) != 1:
            raise Unsupported("a constant that depends on the batch size")
        axis = sizes.index(BATCHES)
        once = one.take([0], axis)
        if (one != once).any() or (other != once).any():
            raise Unsupported("a constant that differs between examples")
        name = self._hold(once, value.name)
        return self.add_function("RepeatBatch", (name, self.input), {"axis": axis})[0].name

    def _hold(self, array: Array, name: str) -> str:
        """Hold an array as a buffer, once; returns its name among the operands."""
        if id(array) not in self._held:
            unique = self._constant_name(name)
            self.tensors[unique] = as_tensor(array)
            self._held[id(array)] = (unique, array)
        return self._held[id(array)][0]

    def _constant_name(self, name: str) -> str:
        """A name of a buffer that no other has."""
        letters = [letter if letter.isalnum() else "_" for letter in name]
        base = "".join(letters) or "constant"
        unique = base
        number = 0
        while f"{CONSTANTS}.{unique}" in self.tensors or hasattr(torch.nn.Module(), unique):
            number += 1
            unique = f"{base}_{number}"
        return f"{CONSTANTS}.{unique}"


def as_tensor(array: Array) -> Tensor:
    """An array as a tensor: numbers in float32, integers in int64.

    Raises:
        Unsupported: if it has another type.
    """
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    if array.dtype.kind not in kinds:
        raise Unsupported(f"a constant of type {array.dtype}")
    return torch.from_numpy(np.array(array, kinds[array.dtype.kind]))
