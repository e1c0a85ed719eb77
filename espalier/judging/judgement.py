"""The figures of one model in the reports."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from espalier.judging.accuracy import accuracy, top
from espalier.judging.calibration import expected_calibration_error
from espalier.judging.classes import class_drops, worst
from espalier.judging.comparison import compare
from espalier.prediction import answers

_TOP = 5


def judgement(
    labels: np.ndarray, logits: np.ndarray, reference: np.ndarray | None, classes: Sequence[str]
) -> tuple[dict[str, float | str], pd.DataFrame]:
    """Judge a model by its logits, beside a reference.

    Args:
        labels: labels (N,) of the examples.
        logits: logits (N, classes) of the model.
        reference: logits of its teacher; None for the teacher itself, which has lost nothing.
        classes: names of the classes, by label.

    Returns:
        Figures by the names of the columns of `reports/models.csv`, and a row per class, as `class_drops` gives it.
    """
    predicted = answers(logits)
    former = predicted if reference is None else answers(reference)
    own = accuracy(labels, predicted)
    comparison = compare(labels, predicted, former)
    drops = class_drops(labels, predicted, former, classes)
    figures: dict[str, float | str] = {
        "examples": len(labels),
        "not_finite": int((~np.isfinite(logits)).any(1).sum()),
        "accuracy": own.value,
        "accuracy_low": own.low,
        "accuracy_high": own.high,
        "top5": top(labels, logits, _TOP) if len(classes) > _TOP else float("nan"),
        "drop": comparison.drop.value,
        "drop_low": comparison.drop.low,
        "drop_high": comparison.drop.high,
        "drop_p": comparison.p,
        "agreement": comparison.agreement,
        "forgotten": comparison.lost,
        "worst_class": str(worst(drops)["class"]),
        "worst_class_drop": float(drops["drop"].max()),
        "worst_class_drop_high": float(drops["drop_high"].max()),
        "ece": expected_calibration_error(labels, logits),
    }
    if reference is None:  # its loss against itself is known
        figures |= {
            "drop_low": 0.0,
            "drop_high": 0.0,
            "worst_class": "",
            "worst_class_drop_high": 0.0,
        }
        drops[["drop_low", "drop_high"]] = 0.0
    return figures, drops
