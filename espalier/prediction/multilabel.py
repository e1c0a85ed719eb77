"""Multilabel classification: a set of labels for each example."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.settings.tasks import HEADLINES


class Multilabel:
    """The task `multilabel`: targets (N, labels) are 0 or 1, outputs are logits (N, labels).

    A label is in the answer if its logit is above 0, that is, if its probability is above one half.
    """

    name = "multilabel"
    headline = HEADLINES["multilabel"]
    output = "logits"
    disjoint = False

    def width(self, classes: Sequence[str]) -> int:
        """The number of labels."""
        return len(classes)

    def describe(self, classes: Sequence[str]) -> str:
        """The number of labels in words."""
        return f"sets of {len(classes)} labels"

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
        """Binary cross-entropy of logits (N, labels), averaged over the labels."""
        wanted = targets.float() * (1 - smoothing) + smoothing / 2
        each = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none").mean(1)
        return each.mean() if reduction == "mean" else each

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The Jaccard index of the answered and the true set."""
        scores = self.scores(self.answers(outputs.cpu().numpy()), targets.cpu().numpy())
        return torch.from_numpy(scores).float().to(outputs.device)

    def answers(self, outputs: NDArray[Any]) -> NDArray[np.int8]:
        """Sets (N, labels) of 0 and 1; a row of -1 where a logit is not finite."""
        finite = np.isfinite(outputs).all(1, keepdims=True)
        return np.where(finite, outputs > 0, -1).astype(np.int8)

    def scores(self, answers: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """The size of the intersection over that of the union; 1 if both sets are empty.

        Source: Jaccard (1912); as a score of label sets Godbole and Sarawagi (2004).

        Example:
            Answered {a, b}, true {b, c}: 1/3.
        """
        common = ((answers == 1) & (targets == 1)).sum(1)
        either = ((answers == 1) | (targets == 1)).sum(1)
        found = np.where(either == 0, 1.0, common / np.maximum(either, 1))
        return np.where((answers < 0).any(1), 0.0, found)

    def agree(self, answers: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether both give the same set."""
        same: NDArray[np.bool_] = ((answers == others) & (answers >= 0)).all(1)
        return same

    def groups(self, targets: NDArray[Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """The examples that have each label; an example with two labels is in two groups."""
        return {name: targets[:, number] == 1 for number, name in enumerate(classes)}

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The sets that occur, by number."""
        _, number = np.unique(targets, axis=0, return_inverse=True)
        return number.ravel()
