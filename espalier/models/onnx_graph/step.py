"""One step of a graph: a layer of torch, or a function of the table of operators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from espalier.errors import BadInput

INPUT = "x0"
"""Name of the input of the network."""


@dataclass(frozen=True)
class Step:
    """One step of a graph.

    Attributes:
        operator: kind of the layer, one of `espalier.models.structure.layer_specs.KINDS`; or operator
            of ONNX, one of `OPERATORS`.
        inputs: operands: names of values and constants as strings; numbers, lists and None as they are.
        outputs: names of the results.
        attributes: arguments of the layer's constructor, or keyword arguments of the function.
        layer: name of the layer; None for a function.

    Example:
        `Step("Flatten", ("x3",), ("x4",), {"axis": 1})` is a function, and
        `Step("Linear", ("x4",), ("x5",), {"in_features": 8, ...}, "classifier")` a layer.
    """

    operator: str
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    layer: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The step as a JSON object."""
        own = {} if self.layer is None else {"layer": self.layer}
        return {
            "operator": self.operator,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "attributes": dict(self.attributes),
            **own,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a JSON object.

        Raises:
            BadInput: if a key is missing or unknown.
        """
        try:
            fields = dict(content)
            inputs = tuple(fields.pop("inputs"))
            outputs = tuple(fields.pop("outputs"))
            return cls(inputs=inputs, outputs=outputs, **fields)
        except (KeyError, TypeError) as error:
            raise BadInput(
                f"Expected a step with `operator`, `inputs` and `outputs`; found: {error}."
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values and constants that the step reads."""
        return tuple(one for one in self.inputs if isinstance(one, str))
