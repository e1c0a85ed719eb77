"""The interface of tasks."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.settings.tasks import Headline


class Task(Protocol):
    """A question about an example.

    A network's outputs pass through the task's `readout`, if it has one, before they are in the
    units of the targets; the deployed file includes it. Scores and answers are of those units.

    Attributes:
        name: its name in `dataset.json`.
        headline: the figure of a model.
        output: name of the output of deployed files.
        disjoint: whether no example is in two groups.
    """

    name: str
    headline: Headline
    output: str
    disjoint: bool

    def width(self, classes: Sequence[str]) -> int:
        """The number of outputs of a network for one example."""

    def describe(self, classes: Sequence[str]) -> str:
        """The task in words, such as `10 classes`."""

    def readout(self) -> nn.Module | None:
        """The module from a network's outputs to those of the deployed file; None if they are equal."""

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
        """The score (N,) float32 of each example in [0, 1]; larger is better."""

    def answers(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The answers (N, ...) that outputs (N, ...) stand for."""

    def scores(self, answers: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """The score (N,) of each answer; 0 where an output was not finite."""

    def agree(self, answers: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether two models give the same answer to each example (N,)."""

    def groups(self, targets: NDArray[Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """The examples (N,) of each group that is judged by itself, by its name."""

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The stratum (N,) of each example; samples contain equal fractions of each stratum."""
