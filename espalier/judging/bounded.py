"""Bounds of the mean of bounded scores, valid for every number of examples.

Scores of 0 and 1 have Tango's interval. For others (label sets, overlaps) intervals that lean on
the normal distribution fail where losses are rare and large: at 1 % of disasters a nominal 2.5 %
becomes 7 to 27 %. Betting intervals hold for every distribution in [0, 1].
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from espalier.judging.interval import LEVEL, Interval

_CAP = 0.75  # of the bet, as a fraction of the largest that cannot ruin (the paper: 1/2 or 3/4)
_ORDERS = 8  # random orders of the examples, over which the capital is averaged
_HALVINGS = 40  # of the interval in which a bound is searched

Values = NDArray[np.float64]


def bounded_mean(values: Values, level: float = LEVEL) -> Interval:
    """The mean of values in [0, 1] with its hedged betting interval.

    Two gamblers bet against the mean `m`, one that values lie above it, one that they lie below. If
    `m` is the true mean, neither can be expected to win, so an `m` against which one has multiplied
    its capital by 2 / (1 - level) is outside of the interval.

    Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
    betting": the hedged capital of theorem 3, with the bets for a fixed number of values. The
    capital is averaged over random orders of the values: an average of fair games is fair, and a
    sorted split does no harm.

    Args:
        values: values (N,), N at least 1.
        level: level of the interval. Each of its bounds alone has half of the error.

    Raises:
        ValueError: if a value is not in [0, 1].
    """
    values = as_scores(values)
    if not len(values):
        raise ValueError("Expected values in [0, 1], at least one; found none.")
    orders = _orders(values)
    return _interval(float(values.mean()), orders, _bets(orders, level), level)


def _interval(mean: float, orders: Values, bets: Values, level: float) -> Interval:
    """The interval of a mean of values in several orders (orders, N), by bets of the same shape."""
    limit = 2 / (1 - level)
    low = _lowest(orders, bets, limit, mean)
    high = 1 - _lowest(1 - orders, bets, limit, 1 - mean)
    return Interval(mean, low, high)


def bounded_drop(scores: Values, reference: Values, level: float = LEVEL) -> tuple[Interval, float]:
    """The mean score that a model loses against a reference on the same examples, and its p-value.

    Args:
        scores: scores (N,) of the model in [0, 1].
        reference: scores (N,) of the reference.
        level: level of the interval.

    Returns:
        The drop with its interval in [-1, 1], and the p-value of the hypothesis that it is 0.
    """
    scaled = (as_scores(reference) - as_scores(scores) + 1) / 2  # a drop of -1 is 0, of 1 is 1
    orders = _orders(scaled)
    bets = _bets(orders, level)
    found = _interval(float(scaled.mean()), orders, bets, level)
    won = (_capital(orders, bets, 0.5) + _capital(1 - orders, bets, 0.5)) / 2
    return Interval(*(2 * bound - 1 for bound in found)), min(1.0, 1 / won)


def as_scores(values: ArrayLike) -> Values:
    """Scores as floating-point numbers: differences of unsigned ones wrap around, and truths have none.

    Raises:
        ValueError: if a value is not in [0, 1].
    """
    scores = np.asarray(values, np.float64)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("Expected values in [0, 1]; found others.")
    return scores


def _orders(values: Values) -> Values:
    """The values in several random orders (orders, N)."""
    random = np.random.default_rng(0)
    return np.stack([random.permutation(values) for _ in range(_ORDERS)])


def _bets(orders: Values, level: float) -> Values:
    """The bet on each value (orders, N), from the variance of those before it."""
    count = orders.shape[1]
    seen = np.arange(2, count + 2)
    means = (0.5 + orders.cumsum(1)) / seen
    variances = (0.25 + ((orders - means) ** 2).cumsum(1)) / seen
    before = np.concatenate([np.full((len(orders), 1), 0.25), variances[:, :-1]], axis=1)
    bets: Values = np.sqrt(2 * np.log(2 / (1 - level)) / (count * before))
    return bets


def _capital(orders: Values, bets: Values, mean: float) -> float:
    """The capital of the gambler who bets that values lie above a mean, from a capital of 1.

    It falls as the mean rises, because every factor does.
    """
    stakes = np.minimum(bets, _CAP / max(mean, 1e-12))
    logarithms = np.log1p(stakes * (orders - mean)).sum(1)
    return float(np.exp(np.minimum(logarithms, 700)).mean())


def _lowest(orders: Values, bets: Values, limit: float, mean: float) -> float:
    """The lower bound: the smallest mean against which less than a limit was won."""
    outside, inside = 0.0, mean
    if _capital(orders, bets, outside) < limit:
        return outside
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        if _capital(orders, bets, middle) < limit:
            inside = middle
        else:
            outside = middle
    return outside
