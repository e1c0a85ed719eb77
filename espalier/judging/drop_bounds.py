"""Upper bounds of the drops of a model, at any level, for gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from espalier.judging.comparison import compare
from espalier.judging.groups import group_drops, largest_bound
from espalier.judging.interval import LEVEL
from espalier.prediction import Heads, Task


@dataclass(frozen=True)
class DropBounds:
    """Upper bounds of the mean score that a model has lost against its teacher.

    Attributes:
        drop: bound of all examples.
        worst_class_drop: largest bound of a group, corrected for the number of groups; 1 if one has no example.
        head_drops: bound of each head alone, by its name.
    """

    drop: float
    worst_class_drop: float
    head_drops: Mapping[str, float] = field(default_factory=dict)


def drop_bounds(
    task: Task,
    targets: np.ndarray,
    outputs: np.ndarray,
    reference: np.ndarray,
    classes: Sequence[str],
    level: float = LEVEL,
) -> DropBounds:
    """The bounds that gates compare with margins; at 95 % those of `judgement`.

    Args:
        task: task of the data.
        targets: targets (N, ...) of the examples.
        outputs: outputs (N, ...) of the model.
        reference: outputs (N, ...) of its teacher.
        classes: names of the classes, by label.
        level: level of the intervals; that of all groups together for the largest one.
    """
    scores = task.scores(task.answers(outputs), targets)
    former = task.scores(task.answers(reference), targets)
    drop = compare(scores, former, level).drop.high
    if not isinstance(task, Heads):
        return DropBounds(drop, _worst_group(task, targets, scores, former, classes, level))
    own_level = 1 - (1 - level) / len(task.heads)
    heads: dict[str, float] = {}
    worst = []
    for head in task.heads:
        own = head.answers_of(targets)
        answered = head.task.answers(head.outputs_of(outputs))
        expected = head.task.answers(head.outputs_of(reference))
        pair = head.task.scores(answered, own), head.task.scores(expected, own)
        heads[head.name] = compare(*pair, level).drop.high
        worst.append(_worst_group(head.task, own, *pair, head.classes, own_level))
    return DropBounds(drop, max(worst), heads)


def _worst_group(
    task: Task,
    targets: np.ndarray,
    scores: np.ndarray,
    former: np.ndarray,
    classes: Sequence[str],
    level: float,
) -> float:
    """The largest upper bound of a group of examples."""
    groups = task.groups(targets, classes)
    drops = group_drops(groups, scores, former, level, disjoint=task.disjoint)
    return largest_bound(groups, drops)
