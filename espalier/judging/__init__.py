"""Judging: how much worse a model is than another, for whom, and how sure that is.

Pure functions of scores. A score in [0, 1] says how good the answer of a model to an example is; of
a classification it is 1 for the right class and 0 for any other.
"""

from espalier.judging.bounded import bounded_drop, bounded_mean
from espalier.judging.calibration import expected_calibration_error
from espalier.judging.comparison import Comparison, compare, forgotten
from espalier.judging.drop import drop_interval
from espalier.judging.drop_bounds import DropBounds, drop_bounds
from espalier.judging.front import front
from espalier.judging.groups import empty_groups, group_drops, worst
from espalier.judging.holm import holm
from espalier.judging.interval import LEVEL, Interval, non_inferior
from espalier.judging.judgement import judgement
from espalier.judging.mcnemar import mcnemar
from espalier.judging.mean_score import mean_score
from espalier.judging.multilabel import macro_f1, mean_average_precision
from espalier.judging.noise import ratio
from espalier.judging.question import Question
from espalier.judging.regression import determination, root_mean_squared_error
from espalier.judging.top import top

__all__ = [
    "LEVEL",
    "Comparison",
    "DropBounds",
    "Interval",
    "Question",
    "bounded_drop",
    "bounded_mean",
    "compare",
    "determination",
    "drop_bounds",
    "drop_interval",
    "empty_groups",
    "expected_calibration_error",
    "forgotten",
    "front",
    "group_drops",
    "holm",
    "judgement",
    "macro_f1",
    "mcnemar",
    "mean_average_precision",
    "mean_score",
    "non_inferior",
    "ratio",
    "root_mean_squared_error",
    "top",
    "worst",
]
