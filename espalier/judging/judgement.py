"""The figures of one model in the reports."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from espalier.judging.comparison import compare
from espalier.judging.further import further_figures
from espalier.judging.groups import group_drops, worst
from espalier.judging.mean_score import mean_score
from espalier.prediction import Task


def judgement(
    task: Task,
    targets: np.ndarray,
    outputs: np.ndarray,
    reference: np.ndarray | None,
    classes: Sequence[str],
) -> tuple[dict[str, float | str], pd.DataFrame]:
    """Judge a model by its outputs, beside a reference.

    Args:
        task: task of the data.
        targets: targets (N, ...) of the examples.
        outputs: outputs (N, ...) of the model.
        reference: outputs of its teacher; None for the teacher itself, which has lost nothing.
        classes: names of the classes, by label.

    Returns:
        Figures by the names of the columns of `reports/models.csv`, and a row per group, as
        `group_drops` gives it. The column of the mean score has the name of the task's headline.
    """
    answered = task.answers(outputs)
    former = answered if reference is None else task.answers(reference)
    scores, former_scores = task.scores(answered, targets), task.scores(former, targets)
    headline, own = task.headline.name, mean_score(scores)
    comparison = compare(scores, former_scores)
    groups = task.groups(targets, classes)
    drops = group_drops(groups, scores, former_scores, disjoint=task.disjoint)
    drops = drops.rename(columns={"score": headline})
    figures: dict[str, float | str] = {
        "examples": len(targets),
        "not_finite": int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(1).sum()),
        headline: own.value,
        f"{headline}_low": own.low,
        f"{headline}_high": own.high,
        "drop": comparison.drop.value,
        "drop_low": comparison.drop.low,
        "drop_high": comparison.drop.high,
        "drop_p": comparison.p,
        "agreement": float(task.agree(answered, former).mean()),
        "forgotten": comparison.lost,
        "worst_class": str(worst(drops)["class"]),
        "worst_class_drop": float(drops["drop"].max()),
        "worst_class_drop_high": float(drops["drop_high"].max()),
        **further_figures(task, targets, outputs, classes),
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
