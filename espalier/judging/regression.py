"""Errors of regressions, with intervals that are shown and never gated."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from espalier.judging.interval import LEVEL, Interval

_RESAMPLES = 2000


def root_mean_squared_error(targets: np.ndarray, values: np.ndarray) -> Interval:
    """The root of the mean squared error, in the unit of the targets, with its interval.

    Args:
        targets: targets (N,).
        values: predicted values (N,).
    """

    def error(targets: np.ndarray, values: np.ndarray, axis: int = -1) -> Any:
        return np.sqrt(((targets - values) ** 2).mean(axis))

    return _with_interval(error, targets, values)


def determination(targets: np.ndarray, values: np.ndarray) -> Interval:
    """The coefficient of determination R², with its interval; 0 for the mean of the targets.

    Args:
        targets: targets (N,), not all equal.
        values: predicted values (N,).
    """

    def explained(targets: np.ndarray, values: np.ndarray, axis: int = -1) -> Any:
        residual = ((targets - values) ** 2).sum(axis)
        total = ((targets - targets.mean(axis, keepdims=True)) ** 2).sum(axis)
        return 1 - residual / total

    return _with_interval(explained, targets, values)


def _with_interval(
    statistic: Callable[..., Any], targets: np.ndarray, values: np.ndarray
) -> Interval:
    """A statistic with its bootstrap interval (Efron 1987, bias-corrected and accelerated)."""
    samples = (targets.astype(float), values.astype(float))
    value = float(statistic(*samples))
    if not np.isfinite(value) or len(targets) < 2:
        return Interval(value, float("nan"), float("nan"))
    found = bootstrap(
        samples,
        statistic,
        n_resamples=_RESAMPLES,
        batch=100,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))
