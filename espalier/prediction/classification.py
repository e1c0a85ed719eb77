"""Single-label classification: one class for each example."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.settings.tasks import HEADLINES

NO_ANSWER = -1


class Classification:
    """The task `classification`: targets are labels (N,) int64, outputs are logits (N, classes)."""

    name = "classification"
    headline = HEADLINES["classification"]
    output = "logits"
    disjoint = True

    def width(self, classes: Sequence[str]) -> int:
        """The number of classes."""
        return len(classes)

    def describe(self, classes: Sequence[str]) -> str:
        """The number of classes in words."""
        return f"{len(classes)} classes"

    def readout(self) -> nn.Module | None:
        """None: logits are deployed as they are."""
        return None

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        smoothing: float = 0.0,
        reduction: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """Cross-entropy of logits (N, classes) with labels (N,).

        Source: for the smoothing Szegedy et al. (2016), section 7.
        """
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction=reduction)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """1 for each example whose label has the largest logit, else 0."""
        return (outputs.argmax(1) == targets).float()

    def answers(self, outputs: NDArray[Any]) -> NDArray[np.int64]:
        """The label (N,) of the largest logit; `NO_ANSWER` where a logit is not finite."""
        return answers(outputs)

    def scores(self, answers: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """1 for each right answer, else 0."""
        right: NDArray[np.bool_] = answers == targets
        return right.astype(float)

    def agree(self, answers: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether both give the same label, right or wrong."""
        same: NDArray[np.bool_] = (answers == others) & (answers != NO_ANSWER)
        return same

    def groups(self, targets: NDArray[Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """The examples of each class."""
        return {name: targets == label for label, name in enumerate(classes)}

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The labels."""
        return targets


def answers(logits: NDArray[Any]) -> NDArray[np.int64]:
    """The label (N,) of the largest of the logits (N, classes); `NO_ANSWER` if one is not finite."""
    finite = np.isfinite(logits).all(1)
    return np.where(finite, logits.argmax(1), NO_ANSWER)
