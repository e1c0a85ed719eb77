"""Models beside networks of their shapes with new weights."""

from collections.abc import Mapping

import numpy as np

from espalier.judging import Question, compare
from espalier.params import Baseline, Params
from espalier.prediction import Task


def beside_baselines(
    params: Params,
    outputs: Mapping[str, np.ndarray],
    questions: Mapping[str, Question],
    task: Task,
) -> list[str]:
    """For each baseline, a line that compares its parent with it on the same examples.

    Args:
        params: content of `params.yaml`.
        outputs: outputs (N, ...) of each model for all test examples.
        questions: examples that each model answers, and their targets.
        task: task of the data.
    """
    baselines = {
        name: entry.parent for name, entry in params.models.items() if isinstance(entry, Baseline)
    }

    def scores(name: str) -> np.ndarray:
        question = questions[name]
        return task.scores(task.answers(outputs[name][question.examples]), question.targets)

    return [
        _compared(parent, name, scores(parent), scores(name), task)
        for name, parent in baselines.items()
    ]


def _compared(parent: str, name: str, scores: np.ndarray, theirs: np.ndarray, task: Task) -> str:
    gain, factor = compare(theirs, scores).drop, task.headline.factor
    verdict = "is as good as"
    if gain.low > 0:
        verdict = "beats"
    elif gain.high < 0:
        verdict = "is beaten by"
    value, low, high = (factor * bound for bound in gain)
    return (
        f"{parent} {verdict} {name}, its shape with new weights: {value:+.1f} points "
        f"({low:+.1f}..{high:+.1f})\n"
    )
