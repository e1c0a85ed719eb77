"""What a cut is to reach."""

import math
from dataclasses import dataclass
from typing import Self

from torch import nn

from espalier.errors import BadInput
from espalier.measures.macs import Shape, count_macs, count_parameters


@dataclass(frozen=True)
class Size:
    """What fractions are of: the network that no pruning has touched.

    Attributes:
        macs: Its multiply-accumulates for one image.
        parameters: Its learned numbers.
    """

    macs: int
    parameters: int

    @classmethod
    def of(cls, network: nn.Module, shape: Shape) -> Self:
        """The size of a network for images of `shape` (C, H, W)."""
        return cls(count_macs(network, shape), count_parameters(network))


FRACTIONS = ("keep_macs", "keep_parameters", "sparsity")

NOUNS = {
    "keep_macs": "multiply-accumulates",
    "keep_parameters": "parameters",
    "bytes": "bytes",
    "milliseconds": "milliseconds",
    "sparsity": "zeros",
    "below": "weights",
}


@dataclass(frozen=True)
class Target:
    """A limit.

    Attributes:
        name: Of what: a key of `NOUNS`.
        value: A fraction, bytes, milliseconds, a fraction of zeros, or the size below which weights go.
    """

    name: str
    value: float

    @classmethod
    def of(cls, **asked: float | None) -> Self | None:
        """The one target that is given, if one is.

        Raises:
            BadInput: If several are given, or it is out of range.
        """
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) > 1:
            raise BadInput(
                f"A cut should have one target of {', '.join(NOUNS)}. Found {', '.join(given)}."
            )
        for name, value in given.items():
            if name in FRACTIONS and not 0 < value <= 1:
                raise BadInput(f"`{name}` should lie in (0, 1]. Found `{name} = {value}`.")
            if not 0 < value < math.inf:
                raise BadInput(f"`{name}` should be above 0. Found `{name} = {value}`.")
            return cls(name, value)
        return None

    @property
    def noun(self) -> str:
        """What is limited."""
        return NOUNS[self.name]

    def limit(self, base: Size) -> float:
        """How much may be left at most."""
        of = {"keep_macs": base.macs, "keep_parameters": base.parameters}
        return self.value * of.get(self.name, 1)
