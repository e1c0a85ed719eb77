"""Augmentation of kinds of input that have none."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Unchanged:
    """The views of a data set whose examples are used as they are.

    Attributes:
        seed: seed of the training.
    """

    seed: int
    count: int = 1

    @property
    def key(self) -> list[int]:
        """Empty: a view depends on nothing."""
        return []

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """The inputs themselves."""
        del index, view
        return inputs
