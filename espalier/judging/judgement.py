"""The figures of one model in the reports."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from espalier.judging.comparison import compare
from espalier.judging.further import further_figures
from espalier.judging.groups import group_drops, largest_bound, worst
from espalier.judging.interval import LEVEL
from espalier.judging.mean_score import mean_score
from espalier.prediction import Heads, Task

# figures that stand for all heads together
_TOGETHER = ("examples", "not_finite", "worst_class", "worst_class_drop", "worst_class_drop_high")


def judgement(
    task: Task,
    targets: np.ndarray,
    outputs: np.ndarray,
    reference: np.ndarray | None,
    classes: Sequence[str],
    level: float = LEVEL,
) -> tuple[dict[str, float | str], pd.DataFrame]:
    """Judge a model by its outputs, beside a reference.

    Each of several heads is also judged by itself: its figures have the prefix `NAME.`, and the
    groups are those of every head, by the scores of that head.

    Args:
        task: task of the data.
        targets: targets (N, ...) of the examples.
        outputs: outputs (N, ...) of the model.
        reference: outputs of its teacher; None for the teacher itself, which has lost nothing.
        classes: names of the classes, by label.
        level: level of the intervals of all groups together.

    Returns:
        Figures by the names of the columns of `reports/models.csv`, and a row per group, as
        `group_drops` gives it. The column of the mean score has the name of the task's headline.
    """
    answered = task.answers(outputs)
    former = answered if reference is None else task.answers(reference)
    scores = task.scores(answered, targets)
    former_scores = task.scores(former, targets)
    headline, own = task.headline.name, mean_score(scores)
    comparison = compare(scores, former_scores)
    if isinstance(task, Heads):
        further, drops, bound = _heads(task, targets, outputs, reference, level)
    else:
        further = further_figures(task, targets, outputs, classes)
        groups = task.groups(targets, classes)
        drops = group_drops(groups, scores, former_scores, level, disjoint=task.disjoint)
        bound = largest_bound(groups, drops)
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
        "worst_class_drop_high": bound,
        **further,
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


def _heads(
    task: Heads,
    targets: np.ndarray,
    outputs: np.ndarray,
    reference: np.ndarray | None,
    level: float,
) -> tuple[Mapping[str, float | str], pd.DataFrame, float]:
    """The figures of every head, the rows of its groups, and the drop that no group exceeds.

    Groups of different heads share examples, so each head has an equal part of the error.
    """
    figures: dict[str, float | str] = {}
    tables, bounds = [], []
    for head in task.heads:
        found, drops = judgement(
            head.task,
            head.answers_of(targets),
            head.outputs_of(outputs),
            None if reference is None else head.outputs_of(reference),
            head.classes,
            1 - (1 - level) / len(task.heads),
        )
        bounds.append(float(found["worst_class_drop_high"]))
        own = {key: value for key, value in found.items() if key not in _TOGETHER}
        figures |= {f"{head.name}.{key}": value for key, value in own.items()}
        drops["class"] = f"{head.name}: " + drops["class"].astype(str)
        tables.append(drops.rename(columns={head.task.headline.name: "score"}))
    return figures, pd.concat(tables, ignore_index=True), max(bounds)
