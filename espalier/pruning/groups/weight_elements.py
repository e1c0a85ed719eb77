"""Single weights, each a group of its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class WeightElements:
    """Every element of some weights, one weight after another.

    Attributes:
        shapes: sizes of each weight, by name.
    """

    shapes: dict[str, tuple[int, ...]]

    @property
    def count(self) -> int:
        """The number of elements."""
        return sum(self._sizes())

    @property
    def layer(self) -> NDArray[np.int64]:
        """(count,) the position of each element's weight among all weights."""
        return np.repeat(np.arange(len(self.shapes)), self._sizes())

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) the elements of `values`; zero where none are given."""
        parts = [np.zeros(0)]
        for name, shape in self.shapes.items():
            if name in values:
                parts.append(values[name].detach().double().cpu().numpy().ravel())
            else:
                parts.append(np.zeros(math.prod(shape)))
        return np.concatenate(parts)

    sum_over_consumers = sum_over_producers

    def producers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The number of each element, in the shape of its weight."""
        del shape
        return self.split(np.arange(self.count)).get(name)

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Values (count,) of all elements, as an array in the shape of each weight, by name."""
        ends = np.cumsum(self._sizes())
        parts = np.split(values, ends[:-1]) if self.shapes else []
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.reshape(shape) for (name, shape), part in named}

    def _sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes.values()]
