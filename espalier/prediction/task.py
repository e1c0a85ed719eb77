"""The interface of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Headline:
    """The figure that a task is known by: the mean score of a model.

    Attributes:
        name: its name, which is also that of the columns of tables.
        unit: unit in which people read it.
        factor: factor from the mean score to that unit.
    """

    name: str
    unit: str
    factor: float

    def text(self, score: float) -> str:
        """A mean score as people read it, such as `98.33 %`."""
        return f"{self.factor * score:.2f} {self.unit}"


class Task(Protocol):
    """A question about an example.

    Attributes:
        name: its name in `dataset.json`.
        headline: the figure of a model.
        bounded: whether every score lies in [0, 1], so that gates may use it.
        teacher_losses: kinds of distillation losses that make sense: of `outputs`, `features`.
    """

    name: str
    headline: Headline
    bounded: bool
    teacher_losses: frozenset[str]

    def width(self, classes: Sequence[str]) -> int:
        """The number of outputs of a network for one example."""

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        smoothing: float = 0.0,
        reduction: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """The loss that training minimises.

        Args:
            outputs: outputs (N, ...) of a network.
            targets: targets (N, ...).
            smoothing: fraction of the target that is spread over all outputs, where that has a
                meaning.
            reduction: `mean`, or `none` for the losses (N,) of the examples.
        """

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The score (N,) float32 of each example; larger is better."""

    def answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The predictions (N, ...) that outputs (N, ...) stand for."""

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The stratum (N,) of each example, of which samples contain equal fractions."""
