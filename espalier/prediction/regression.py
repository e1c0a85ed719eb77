"""Regression: one number for each example."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.settings.tasks import HEADLINES, Headline

_NAMES = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


class Rescale(nn.Module):
    """Maps standardised values (N, 1) to values in the unit of the targets.

    Args:
        mean: mean of the targets of the train split.
        std: their standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, outputs: Tensor) -> Tensor:
        """The values in the unit of the targets."""
        return outputs * self.std + self.mean


@dataclass(frozen=True)
class Regression:
    """The task `regression`: targets (N,) float32; a network outputs standardised values (N, 1).

    An answer is right if it is within a tolerance of the target: a score of 0 or 1, which rare large
    errors cannot move, and which has an exact comparison of two models.

    Attributes:
        tolerance: largest error of a right answer, in the unit of the targets.
        mean: mean of the targets of the train split.
        std: their standard deviation.
        bounds: quartiles of these targets, which bound the groups that are judged by themselves.
    """

    tolerance: float = 0.5
    mean: float = 0.0
    std: float = 1.0
    bounds: tuple[float, float, float] = (-0.67, 0.0, 0.67)

    name: ClassVar[str] = "regression"
    headline: ClassVar[Headline] = HEADLINES["regression"]
    output: ClassVar[str] = "value"
    disjoint: ClassVar[bool] = True

    @classmethod
    def of(cls, targets: NDArray[Any], tolerance: float | None) -> "Regression":
        """The task for the targets (N,) of a train split.

        Args:
            targets: the targets.
            tolerance: largest error of a right answer; None takes half a standard deviation.
        """
        values = targets.astype(float)
        # of equal targets, rounding leaves a rest of a deviation
        std = float(values.std()) if values.min() < values.max() else 1.0
        low, middle, high = (float(bound) for bound in np.quantile(values, (0.25, 0.5, 0.75)))
        chosen = tolerance if tolerance is not None else float(f"{std / 2:.2g}")
        return cls(chosen, float(values.mean()), std, (low, middle, high))

    def width(self, classes: Sequence[str]) -> int:
        """One."""
        return 1

    def describe(self, classes: Sequence[str]) -> str:
        """The value and its tolerance in words."""
        return f"predicting {classes[0]}, right within {self.tolerance:g}"

    def readout(self) -> Rescale:
        """The module from standardised values to values in the unit of the targets."""
        return Rescale(self.mean, self.std)

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        smoothing: float = 0.0,
        reduction: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """The squared error of standardised values (N, 1); there is nothing to smooth."""
        del smoothing
        wanted = (targets - self.mean) / self.std
        each = (outputs.flatten(1)[:, 0] - wanted).square()
        return each.mean() if reduction == "mean" else each

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 for each value (N, 1) within the tolerance of its target, else 0."""
        return ((outputs.flatten(1)[:, 0] - targets).abs() <= self.tolerance).float()

    def answers(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """The values (N,)."""
        values: NDArray[np.float32] = outputs.reshape(len(outputs), -1)[:, 0]
        return values

    def scores(self, answers: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """1 for each answer within the tolerance, else 0; a NaN is never within."""
        within: NDArray[np.bool_] = np.abs(answers - targets) <= self.tolerance
        return within.astype(float)

    def agree(self, answers: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether the answers differ by at most the tolerance."""
        same: NDArray[np.bool_] = np.abs(answers - others) <= self.tolerance
        return same

    def groups(self, targets: NDArray[Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """The examples of each quarter of the targets, by the quartiles of the train split."""
        quarter = self.strata(targets)
        return {name: quarter == number for number, name in enumerate(_NAMES)}

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The quarter of each target, from 0 to 3."""
        quarters: NDArray[Any] = np.searchsorted(self.bounds, targets)
        return quarters
