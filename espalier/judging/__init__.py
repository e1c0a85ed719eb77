"""Judging: how much worse a model is than another, for whom, and how sure that is.

Pure functions of answers.

An answer is the label that a model gives to an example, or `NO_ANSWER`, which is never right.
"""

from espalier.judging.accuracy import accuracy, top
from espalier.judging.calibration import expected_calibration_error
from espalier.judging.classes import class_drops, worst
from espalier.judging.comparison import Comparison, compare, forgotten
from espalier.judging.drop import drop_interval
from espalier.judging.front import front
from espalier.judging.interval import Interval, non_inferior
from espalier.judging.judgement import judgement
from espalier.judging.mcnemar import mcnemar
from espalier.judging.noise import ratio

__all__ = [
    "Comparison",
    "Interval",
    "accuracy",
    "class_drops",
    "compare",
    "drop_interval",
    "expected_calibration_error",
    "forgotten",
    "front",
    "judgement",
    "mcnemar",
    "non_inferior",
    "ratio",
    "top",
    "worst",
]
