"""Figures beside the score, which each task has of its own."""

from collections.abc import Callable, Sequence

import numpy as np

from espalier.judging.calibration import expected_calibration_error
from espalier.judging.multilabel import macro_f1, mean_average_precision
from espalier.judging.regression import determination, root_mean_squared_error
from espalier.judging.top import top
from espalier.prediction import Task

_TOP = 5

Figures = dict[str, float]


def further_figures(
    task: Task, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> Figures:
    """The figures of a task beside its score, by the names of columns; none for an unknown task.

    Args:
        task: task of the data.
        targets: targets (N, ...).
        outputs: outputs (N, ...) of the deployed file.
        classes: names of the classes.
    """
    find = _FIGURES.get(task.name)
    return find(task, targets, outputs, classes) if find else {}


def _classification(
    task: Task, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> Figures:
    del task
    return {
        "top5": top(targets, outputs, _TOP) if len(classes) > _TOP else float("nan"),
        "ece": expected_calibration_error(targets, outputs),
    }


def _multilabel(
    task: Task, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> Figures:
    del classes
    return {
        "macro_f1": macro_f1(targets, task.answers(outputs)),
        "map": mean_average_precision(targets, outputs),
    }


def _regression(
    task: Task, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> Figures:
    del classes
    values = task.answers(outputs)
    error = root_mean_squared_error(targets, values)
    explained = determination(targets, values)
    return {
        "rmse": error.value,
        "rmse_low": error.low,
        "rmse_high": error.high,
        "r2": explained.value,
        "r2_low": explained.low,
        "r2_high": explained.high,
    }


_FIGURES: dict[str, Callable[[Task, np.ndarray, np.ndarray, Sequence[str]], Figures]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
}
