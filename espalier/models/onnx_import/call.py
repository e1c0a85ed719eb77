"""One operator of a file, with its operands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.models.onnx_import.graph import GraphInReading
from espalier.models.onnx_import.values import Activation, Array, Known, Unsupported, Value


@dataclass(frozen=True)
class Call:
    """One operator of a file.

    Attributes:
        graph: the steps so far.
        operator: name of the operator.
        name: name of the node; empty for none.
        operands: values that it reads; None for an absent one.
        attributes: its attributes, as numbers, strings and lists of them.
        outputs: number of its outputs.
    """

    graph: GraphInReading
    operator: str
    name: str
    operands: Sequence[Value]
    attributes: Mapping[str, Any]
    outputs: int

    @property
    def x(self) -> Activation:
        """The first operand.

        Raises:
            Unsupported: if it does not depend on the input.
        """
        value = self.operands[0]
        if not isinstance(value, Activation):
            raise Unsupported("an operator that is applied to a constant")
        return value

    def known(self, place: int) -> Known | None:
        """An operand that does not depend on the numbers in the input; None if it is absent.

        Raises:
            Unsupported: if it does.
        """
        if place >= len(self.operands):
            return None
        value = self.operands[place]
        if isinstance(value, Activation):
            raise Unsupported("weights or sizes that are computed from the input")
        return value

    def optional(self, place: int) -> Array | None:
        """A constant operand; None if it is absent."""
        value = self.known(place)
        return None if value is None else value.constant()

    def array(self, place: int) -> Array:
        """A constant operand.

        Raises:
            Unsupported: if it is absent.
        """
        value = self.optional(place)
        if value is None:
            raise Unsupported(f"no operand {place}")
        return value

    def numbers(self, place: int) -> Any:
        """A constant operand as a number or a list of numbers; None if it is absent."""
        value = self.optional(place)
        return None if value is None else value.tolist()

    @property
    def weight_name(self) -> str:
        """The name of the second operand in the file; empty for a computed one."""
        value = self.operands[1]
        return value.name if isinstance(value, Known) else ""

    def add(self, operands: Sequence[Any], attributes: Mapping[str, Any]) -> list[Activation]:
        """Add the function of the operator, with these operands and attributes."""
        return self.graph.add_function(self.operator, operands, attributes, self.outputs)
