"""The size of a network, to which the fractions of targets refer."""

from dataclasses import dataclass
from typing import Self

from torch import nn

from espalier.measures.macs import count_macs, count_parameters
from espalier.models.graph import Example


@dataclass(frozen=True)
class Size:
    """The size of a network that no pruning has touched, to which fractions refer.

    Attributes:
        macs: multiply-accumulates for one example.
        parameters: number of learned parameters.
    """

    macs: int
    parameters: int

    @classmethod
    def of(cls, network: nn.Module, example: Example) -> Self:
        """The size of a network for inputs like `example`."""
        return cls(count_macs(network, example), count_parameters(network))

    def unit(self, target: str) -> int:
        """The amount that a target's value of 1 stands for, by the name of the target."""
        return {"keep_macs": self.macs, "keep_parameters": self.parameters}.get(target, 1)
